"""Evaluations on disk: a folder with `report.json` and each suite's scored completions (`SUITE.parquet`).

    evals/NAME/
      evaluation.json          format, identity, the suites as they were named, versions; written first
      journal.jsonl            one line an artifact: its name, sha256, and what else is known of it
      parts/SUITE/000.parquet  completions as they were sampled; gone when all is done
      SUITE.parquet            a suite's scored completions
      report.json              last

As in a run, an artifact is written aside, renamed and then journalled: what a crash leaves without its line is made
again. Every round of a run holds such a folder under `rounds/NNN/eval`, without the journal, which the run has.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from harness.durable import NOT_WRITABLE, append_line, fsync, make_folder, write_text
from harness.errors import ConfigError, StoreError
from harness.measuring import LOOKS, STEPS, round_looks, round_report, slug
from harness.records import read_groups, read_report
from harness.store import RunStore, artifact_digest
from harness.types import EvalReport, ScoredGroup

EVALS = Path("evals")
FORMAT = 1
HEADER = "evaluation.json"
REPORT = "report.json"
T = TypeVar("T")
ANEW = "Restore it, or evaluate anew with --out."


@dataclass(frozen=True)
class Evaluation:
    """One policy on suites. `identity` is what was evaluated and how, as JSON; a run's rounds have the run's."""

    name: str
    folders: tuple[Path, ...]
    """Of its parts: a run's round may have been looked at twice."""
    report: EvalReport
    identity: Mapping[str, Any] = field(default_factory=dict)
    named: Mapping[str, str] = field(default_factory=dict)
    """Of each suite the name or folder that it was asked for by, where that is known."""
    model: str = ""
    """What the model was asked for by; its identity is its fingerprint."""

    def groups(self, suite: str) -> list[ScoredGroup]:
        """The scored completions of a suite, in the order of its items. Raises StoreError where they are damaged, and
        ConfigError where only the report was kept."""
        return [group for path in self.files(suite) for group in _read(path, read_groups)]

    def files(self, suite: str) -> list[Path]:
        """Where they lie."""
        name = scored_file(suite)
        if EvalStore.exists(self.folders[0]):
            return [EvalStore.open(self.folders[0]).path(name)]
        found = [folder / name for folder in self.folders if (folder / name).is_file()]
        if not found:
            what, remedy = f"it keeps no completions of suite {suite}, only scores", "Name the one it was taken from."
            raise ConfigError(what, where=str(self.folders[0]), remedy=remedy)
        return found


def find_evaluation(name: str, *, evals: Path = EVALS, runs: Path = Path("runs")) -> Evaluation:
    """An evaluation by its folder, by its name under `evals`, by `RUN:ROUND`, or of what stands in `RUN`.

    Raises StoreError where there is none, or where what is there is unfinished or damaged.
    """
    for folder in (Path(name), evals / name):
        if EvalStore.exists(folder):
            return EvalStore.open(folder).evaluation(name)
        if (folder / REPORT).is_file():
            return Evaluation(name, (folder,), _read(folder / REPORT, read_report))
    run, _, index = name.rpartition(":") if name.rpartition(":")[2].isdigit() else (name, "", "")
    for folder in (Path(run), runs / run):
        if RunStore.exists(folder):
            return _of_round(name, RunStore.open(folder), int(index) if index else None)
    raise StoreError(
        f"no evaluation {name!r}",
        where="evaluation",
        remedy=f"Give a folder that `harness eval --out` wrote, a name under {evals}, or RUN:ROUND.",
    )


def _of_round(name: str, store: RunStore, index: int | None) -> Evaluation:
    index = store.incumbent_round() if index is None else index
    if store.entry(index, "evaluate") is None:
        raise StoreError(f"round {index} was not evaluated", where=str(store.folder), remedy="See `harness show RUN`.")
    report, config = round_report(store, index), store.identity["config"]
    folders = tuple(store.round_folder(index) / STEPS[step] for step in LOOKS[: round_looks(store, index)])
    asked = [config["suite"], *config["beside"]]
    named = {suite.suite: given for suite, given in zip(report.suites, asked, strict=True)}
    return Evaluation(name, folders, report, store.identity, named, config["model"])


def _read(path: Path, read: Callable[[Path], T]) -> T:
    try:
        return read(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"missing or damaged ({error})", where=str(path), remedy=ANEW) from None


def scored_file(suite: str) -> str:
    """The name of the file with a suite's scored completions."""
    return f"{slug(suite)}.parquet"


class EvalStore:
    """Artifacts of an evaluation, each made once. Use `create` or `open`; hold `lock()` while writing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lines: dict[str, dict[str, Any]] = {}
        self._read_journal()

    @classmethod
    def create(
        cls,
        folder: Path,
        identity: Mapping[str, Any],
        *,
        named: Mapping[str, str],
        versions: Mapping[str, str],
        model: str = "",
    ) -> EvalStore:
        """A new folder. Raises StoreError where something else lies there, or nothing can be written."""
        if folder.is_dir() and any(path.name != f"{HEADER}.tmp" for path in folder.iterdir()):
            what = f"this folder holds something else ({HEADER} is missing)"
            raise StoreError(what, where=str(folder), remedy="Name another.")
        header = {"format": FORMAT, "identity": identity, "model": model, "suites": named, "versions": versions}
        with _writing(folder):
            make_folder(folder)
            write_text(folder / HEADER, json.dumps(header, indent=1, ensure_ascii=False) + "\n")
        return cls(folder)

    @classmethod
    def open(cls, folder: Path) -> EvalStore:
        """Raises StoreError where another version of the format wrote it, or its journal is damaged."""
        store = cls(folder)
        if (found := store.header["format"]) != FORMAT:
            what = f"written in evaluation format {found}; this version reads format {FORMAT}"
            remedy = "Use the version of harness that wrote it, or evaluate anew with --out."
            raise StoreError(what, where=str(folder), remedy=remedy)
        return store

    @staticmethod
    def exists(folder: Path) -> bool:
        return (folder / HEADER).is_file()

    @property
    def header(self) -> dict[str, Any]:
        def read(path: Path) -> dict[str, Any]:
            header = json.loads(path.read_text(encoding="utf-8"))
            return {"model": "", **{key: header[key] for key in ("format", "identity", "suites")}, **header}

        return _read(self.folder / HEADER, read)

    @property
    def identity(self) -> dict[str, Any]:
        identity: dict[str, Any] = self.header["identity"]
        return identity

    def require_identity(self, identity: Mapping[str, Any]) -> None:
        """Raises StoreError where the folder belongs to another evaluation, naming what differs."""
        stored, given = self.identity, json.loads(json.dumps(identity))  # tuples are lists on the disk
        if differing := [key for key in sorted({*stored, *given}) if stored.get(key) != given.get(key)]:
            what = f"this is another evaluation: its {', '.join(differing)} differ"
            raise StoreError(what, where=str(self.folder), remedy="Name another folder with --out.")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One process an evaluation. Raises StoreError if another one holds it; released when the process dies."""
        from filelock import FileLock, Timeout

        lock = FileLock(self.folder / ".lock")
        try:
            with _writing(self.folder):
                lock.acquire(timeout=0)
        except Timeout:
            what = "another process is working on this evaluation"
            raise StoreError(what, where=str(self.folder), remedy="Wait for it, or stop it.") from None
        try:
            self._read_journal()
            yield
        finally:
            lock.release()

    @property
    def started(self) -> bool:
        """Whether anything is kept: until then there is nothing to go on with."""
        return bool(self._lines)

    @property
    def finished(self) -> bool:
        return self.has(REPORT)

    def has(self, name: str) -> bool:
        return name in self._lines

    def put(self, name: str, write: Callable[[Path], object], data: Mapping[str, Any] | None = None) -> None:
        """What `write(path)` makes becomes the artifact, whole and on the disk, with `data` beside it."""
        final, draft = self.folder / name, self.folder / f"{name}.tmp"
        with _writing(self.folder):
            make_folder(final.parent)
            write(draft)
            fsync(draft)
            draft.rename(final)
            fsync(final.parent)
            line = json.dumps({"artifact": name, "sha256": artifact_digest(final), "data": dict(data or {})})
            append_line(self.folder / "journal.jsonl", line)
        self._lines[name] = json.loads(line)

    def path(self, name: str) -> Path:
        """Where an artifact lies. Raises StoreError if it is gone or is not what was stored."""
        path = self.folder / name
        if not self.has(name) or not path.is_file() or artifact_digest(path) != self._lines[name]["sha256"]:
            raise StoreError("missing, or not what was stored", where=str(path), remedy=ANEW)
        return path

    def data(self, name: str) -> dict[str, Any]:
        """What was stored beside an artifact."""
        return dict(self._lines[name]["data"])

    def evaluation(self, name: str) -> Evaluation:
        """Of a finished one. Raises StoreError where it is not, or where its report is damaged."""
        if not self.finished:
            remedy = "Go on with it: the same `harness eval` with --resume."
            raise StoreError("this evaluation is unfinished", where=str(self.folder), remedy=remedy)
        report = _read(self.path(REPORT), read_report)
        for suite in report.suites:
            self.path(scored_file(suite.suite))  # scores whose answers are damaged are worth no more than these
        header = self.header
        return Evaluation(name, (self.folder,), report, self.identity, header["suites"], header["model"])

    def _read_journal(self) -> None:
        self._lines = {}
        path = self.folder / "journal.jsonl"
        lines = path.read_bytes().split(b"\n") if path.exists() else []
        for number, line in enumerate(lines[:-1], start=1):  # a line without its newline was never finished
            try:
                entry = json.loads(line)
                self._lines[entry["artifact"]] = {"sha256": entry["sha256"], "data": entry["data"]}
            except (ValueError, TypeError, KeyError) as error:
                raise StoreError(f"line {number} is damaged ({error})", where=str(path), remedy=ANEW) from None


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in NOT_WRITABLE:
            raise
        remedy = "Make room and continue with --resume, or name another folder with --out."
        raise StoreError(f"cannot be written ({error.strerror})", where=str(folder), remedy=remedy) from error
