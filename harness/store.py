"""A run on disk: one folder, an fsync'd journal, and artifacts that exist whole or not at all.

    runs/NAME/
      run.json                    format, identity (config, model, suites, components), written once
      config.toml                 the resolved config, for people
      journal.jsonl               one line a finished step: what was written, its sha256, figures
      rounds/001/groups.parquet   rounds/001/adapter/   rounds/001/report.json   rounds/001/decision.json

An artifact is written aside, fsync'd and renamed; then its journal line is appended and fsync'd. The line is what makes
it real: a crash before it leaves something that the next run throws away and makes again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import time
from bisect import bisect_right, insort
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from harness.durable import append_line, fsync, fsync_tree, make_folder, write_text
from harness.errors import StoreError
from harness.types import BASE_POLICY, digest

FORMAT = 1
T = TypeVar("T")
OBSERVED = frozenset({"frozen", "monitors"})
"""Steps that look on: what they change stands in the commit, and judges that are asked again need not say the same."""


@dataclass(frozen=True)
class Entry:
    """A journal line. `data` belongs to the outcome; `seconds` and `at` (UTC) do not and stay out of digests."""

    round: int
    step: str
    artifact: str | None
    sha256: str | None
    data: Mapping[str, Any]
    seconds: float
    at: str


class RunStore:
    """Steps of a run, each done once. Use `create` or `open`; hold `lock()` while writing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: dict[tuple[int, str], Entry] = {}
        # What follows from the entries is kept beside them: every round asks for it, and a journal may be long.
        self._promoted: list[int] = []  # rounds, ascending
        self._committed = -1
        self._stopped = self._refuted = False
        self._lines = self._bytes = 0  # of the journal, as far as it has been read
        self._read_journal()

    # ------------------------------------------------------------ opening

    @classmethod
    def create(cls, folder: Path, identity: Mapping[str, Any], config_toml: str) -> RunStore:
        """A new run folder. `run.json` is written last: without it there is no run."""
        if (folder / "journal.jsonl").exists():
            remedy = "Restore run.json, or start anew with --run NAME."
            raise StoreError("a journal is here but run.json is missing", where=str(folder), remedy=remedy)
        with _space(folder):
            make_folder(folder)
            write_text(folder / "config.toml", config_toml)
            write_text(folder / "run.json", json.dumps({"format": FORMAT, "identity": identity}, indent=1) + "\n")
        return cls(folder)

    @classmethod
    def open(cls, folder: Path) -> RunStore:
        """An existing run. Raises StoreError if there is none, or if another version of the format wrote it."""
        run_format = cls._header(folder)["format"]
        if run_format != FORMAT:
            raise StoreError(
                f"written in run format {run_format}; this version reads format {FORMAT}",
                where=str(folder),
                remedy="Use the version of harness that wrote it, or start a new run.",
            )
        return cls(folder)

    @classmethod
    def exists(cls, folder: Path) -> bool:
        return (folder / "run.json").is_file()

    @staticmethod
    def _header(folder: Path) -> dict[str, Any]:
        try:
            header = json.loads((folder / "run.json").read_text())
            if not isinstance(header, dict) or not {"format", "identity"} <= set(header):
                raise ValueError("format or identity is missing")
        except (FileNotFoundError, NotADirectoryError):
            raise StoreError(
                "no run here (run.json is missing)", where=str(folder), remedy="See `harness runs`."
            ) from None
        except ValueError as error:
            raise StoreError(
                f"run.json is damaged ({error})", where=str(folder), remedy="Restore it or start anew."
            ) from None
        return header

    @property
    def identity(self) -> dict[str, Any]:
        identity: dict[str, Any] = self._header(self.folder)["identity"]
        return identity

    def require_identity(self, identity: Mapping[str, Any]) -> None:
        """Refuse to go on under other settings, naming every difference (old -> new)."""
        # Through JSON, so that tuples and lists, which are one thing on disk, compare equal.
        differences = list(_differences(self.identity, json.loads(json.dumps(identity)), ""))
        if differences:
            shown = "; ".join(differences[:5]) + ("; ..." if len(differences) > 5 else "")
            remedy = "Undo the change to resume, or give the new run another name with --run."
            raise StoreError(f"this run was started differently: {shown}", where=str(self.folder), remedy=remedy)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One process a run. Raises StoreError if another one holds it; released when the process dies."""
        from filelock import FileLock, Timeout

        lock = FileLock(self.folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise StoreError(
                "another process is working on this run", where=str(self.folder), remedy="Wait for it, or stop it."
            ) from None
        try:
            self._read_journal()
            yield
        finally:
            lock.release()

    # ------------------------------------------------------------ steps

    def round_folder(self, index: int) -> Path:
        return self.folder / "rounds" / f"{index:03d}"

    def entry(self, index: int, step: str) -> Entry | None:
        return self.entries.get((index, step))

    def step(
        self,
        index: int,
        step: str,
        filename: str,
        *,
        make: Callable[[Path], Mapping[str, Any] | None],
        read: Callable[[Path], T],
    ) -> T:
        """`make(path)` writes the artifact unless the journal has it; `read(path)` gives it back either way.

        Reading back even what was just made means that a resumed run sees the very same values. What `make` returns
        is kept as the entry's data. Raises StoreError if a journalled artifact is gone or changed, or the disk is full.
        """
        if self.entry(index, step) is not None:
            return self.load(index, step, read)
        final = self.round_folder(index) / filename
        started = time.monotonic()
        draft = final.with_name(f"{filename}.tmp")
        with _space(self.folder):
            make_folder(final.parent)
            _remove(draft)
            _remove(final)  # renamed but never journalled: the crash came between the two
            try:
                data = make(draft)
                fsync_tree(draft)
                draft.rename(final)
                fsync(final.parent)
            finally:
                _remove(draft)
            relative = str(final.relative_to(self.folder))
            self._append(index, step, relative, artifact_digest(final), data or {}, time.monotonic() - started)
        return read(final)

    def load(self, index: int, step: str, read: Callable[[Path], T]) -> T:
        """What a finished step left. Raises StoreError if the artifact is gone or is not what was stored."""
        done = self.entries[index, step]
        assert done.artifact is not None, f"step {step} has no artifact"
        path = self.folder / done.artifact
        if not path.exists() or artifact_digest(path) != done.sha256:
            raise StoreError(
                "the artifact is missing or not the one that was stored",
                where=str(path),
                remedy="Restore it, or start a new run with --run.",
            )
        return read(path)

    def record(self, index: int, step: str, data: Mapping[str, Any], seconds: float = 0.0) -> None:
        """A step without an artifact: its journal line is all there is."""
        with _space(self.folder):
            self._append(index, step, None, None, data, seconds)

    # ------------------------------------------------------------ state

    def committed(self) -> int:
        """The last round whose outcome stands; -1 before the starting point is evaluated."""
        return self._committed

    @property
    def stopped(self) -> bool:
        """Whether a monitor, or having done enough, has ended the loop before its last round."""
        return self._stopped

    def finished(self, rounds: int) -> bool:
        """Whether nothing is left to do of a run of so many rounds."""
        return self.stopped or self.committed() == rounds

    def incumbent_round(self, upto: int | None = None) -> int:
        """The round last promoted; 0 is the starting point. Promotion is this pointer. With `upto` as it stood after
        that round, which fresh items may have refuted at the end."""
        if upto is None and self._refuted:
            return 0
        before = len(self._promoted) if upto is None else bisect_right(self._promoted, upto)
        return self._promoted[before - 1] if before else 0

    def incumbent_version(self) -> str:
        entry = self.entry(self.incumbent_round(), "commit")
        return entry.data["version"] if entry is not None else BASE_POLICY

    def digest(self) -> str:
        """sha256 (hex) over what every step produced, without times and what only looks on: equal runs have equal
        digests."""
        return digest(
            [
                [e.round, e.step, e.sha256, e.data if e.step == "commit" else None]
                for _, e in sorted(self.entries.items())
                if e.step not in OBSERVED
            ]
        )

    # ------------------------------------------------------------ the journal

    def _read_journal(self) -> None:
        """What has been added to it since it was last read."""
        path = self.folder / "journal.jsonl"
        if not path.exists():
            return
        with path.open("rb") as handle:
            handle.seek(self._bytes)
            lines = handle.read().split(b"\n")
        for line in lines[:-1]:  # a line without its newline was never finished
            number = self._lines + 1
            try:
                entry = Entry(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise StoreError(
                    f"line {number} is damaged ({error})",
                    where=str(path),
                    remedy="Restore the file or start a new run.",
                ) from None
            self._add(entry)
            self._lines, self._bytes = number, self._bytes + len(line) + 1

    def _add(self, entry: Entry) -> None:
        self.entries[entry.round, entry.step] = entry
        if entry.step == "commit":
            self._committed = max(self._committed, entry.round)
            self._stopped = self._stopped or bool(entry.data.get("stopped"))
            if entry.data["outcome"] == "promoted":
                insort(self._promoted, entry.round)
        elif entry.step == "confirmation":
            self._refuted = entry.data["outcome"] == "rejected"

    def _append(
        self, index: int, step: str, artifact: str | None, sha256: str | None, data: Mapping[str, Any], seconds: float
    ) -> None:
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        entry = Entry(index, step, artifact, sha256, data, round(seconds, 3), at)
        line = json.dumps(vars(entry), ensure_ascii=False)
        append_line(self.folder / "journal.jsonl", line)
        self._lines, self._bytes = self._lines + 1, self._bytes + len(line.encode()) + 1
        self._add(Entry(**json.loads(line)))


def artifact_digest(path: Path) -> str:
    """sha256 (hex) of a file, or of a folder's files by relative name and content."""
    if path.is_file():
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return digest([[str(file.relative_to(path)), artifact_digest(file)] for file in files])


def _differences(old: Any, new: Any, path: str) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from _differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (a, b) in enumerate(zip(old, new, strict=True)):
            yield from _differences(a, b, f"{path}.{index}")
    elif old != new:
        yield f"{path}: {old!r} -> {new!r}"


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _space(folder: Path) -> Iterator[None]:
    """A full disk is the user's to mend, so it is said plainly. Libraries report it in different ways."""
    try:
        yield
    except Exception as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if isinstance(error, PermissionError | NotADirectoryError | FileExistsError):
            what = f"cannot write here ({error.strerror})"
            raise StoreError(what, where=str(folder), remedy="Choose a writable folder with --runs.") from error
        if full or "No space left on device" in str(error):
            raise StoreError(
                "no space left on the disk", where=str(folder), remedy="Free some and continue with --resume."
            ) from error
        raise
