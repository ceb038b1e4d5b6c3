"""A source through filters: in chunks, in several processes, and so that what was interrupted goes on.

    source -> chunks of rows -> workers: parse, check, sketch -> survey of all sketches -> rows, rejects, report

Memory holds some chunks, and the sketches of one surveying filter at a time. What comes out does not depend on how many
processes there were, nor on how often it was interrupted.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.chunks import UNREADABLE, Job, Tally, flagged, read_sketches, rejected
from harness.data.filtering import FilterUse, Remark, Sieve, dropped, figures_of, make_sieve, renumbered, surveyed
from harness.data.pool import batches, submitting
from harness.data.reading import Source
from harness.data.row_files import require_jsonl_name
from harness.durable import NOT_WRITABLE, make_folder, require_new, write_text
from harness.errors import ConfigError, StoreError
from harness.jsonl import require_absent
from harness.plugins import Registry, load_registry
from harness.protocols import Progress, RunContext, SilentProgress
from harness.types import digest

CHUNK = 10_000
"""Rows that one process takes at a time: enough that handing them over costs nothing, few enough to hold several."""
FORMAT = 2


@dataclass(frozen=True)
class CleanReport:
    """What became of a source's rows. `tally` has a line for each filter, reason and outcome, with examples."""

    source: str
    sha256: str
    rows: int
    unreadable: int
    kept: int
    dropped: int
    changed: int
    """Kept, but rewritten or flagged."""
    tally: Sequence[dict[str, Any]]
    figures: dict[str, float]
    filters: Sequence[dict[str, Any]]
    out: str | None = None
    seconds: float = field(default=0.0, compare=False)
    peak_memory: int = field(default=0, compare=False)
    """Bytes, of the process that needed most."""

    @property
    def found(self) -> bool:
        """Whether there was anything to say."""
        return bool(self.tally)


def check(
    source: Source,
    uses: Sequence[FilterUse],
    *,
    work: Path,
    workers: int | None = None,
    registry: Registry | None = None,
    progress: Progress | None = None,
) -> CleanReport:
    """What filters have against a source. `work` is a folder that does not exist, and does not afterwards."""
    with _removed_at_end(work):
        cleaning = Cleaning(
            source, uses, None, work, workers, registry or load_registry(), progress or SilentProgress()
        )
        return cleaning.run()


def clean(
    source: Source,
    uses: Sequence[FilterUse],
    *,
    out: Path,
    resume: bool = False,
    workers: int | None = None,
    registry: Registry | None = None,
    progress: Progress | None = None,
) -> CleanReport:
    """Write what filters leave of a source to `out` (JSONL), with `OUT.rejects.jsonl` and `OUT.report.json` beside it.

    What was interrupted lies in `OUT.partial`; with `resume` the same call goes on from there. Raises ConfigError if
    one of the three is there already or nothing is left, StoreError for an `OUT.partial` that may not be gone on with.
    """
    if source.kind in ("group", "run"):
        raise ConfigError(
            "these are groups that a policy sampled, token by token, and no rows",
            where=source.name,
            remedy="Clean them in the loop, with `[data]`; or make pairs of them first: `harness data pairs`.",
        )
    require_absent(out)
    require_jsonl_name(out)
    require_absent(*beside(out))
    work = out.with_name(f"{out.name}.partial")
    if work.exists() and not resume:
        raise StoreError(
            "an interrupted cleaning is here", where=str(work), remedy="Go on with --resume, or remove the folder."
        )
    cleaning = Cleaning(source, uses, out, work, workers, registry or load_registry(), progress or SilentProgress())
    try:
        return cleaning.run()
    except OSError as error:
        if error.errno not in NOT_WRITABLE:
            raise
        remedy = "Make room, or name another file with --out; --resume goes on."
        raise StoreError(f"cannot be written ({error.strerror})", where=str(out), remedy=remedy) from error


def beside(out: Path) -> tuple[Path, Path]:
    """The files of rejects and of the report that go with a cleaned file."""
    return out.with_name(f"{out.stem}.rejects.jsonl"), out.with_name(f"{out.stem}.report.json")


@dataclass
class Cleaning:
    """One source on its way through filters. Its folder `work` holds finished chunks."""

    source: Source
    uses: Sequence[FilterUse]
    out: Path | None
    work: Path
    workers: int | None
    registry: Registry
    progress: Progress

    def run(self) -> CleanReport:
        started = time.monotonic()
        uses = self._resolved()
        sieve = make_sieve(uses, self.registry, RunContext(progress=self.progress, components=self.registry))
        job = Job(self.source, self.source.digest(), uses, self.registry.sources, self.work, self.out is not None)
        self._open(job)
        count = self._chunks(job)
        tally, verdicts = Tally(), self._survey(sieve, count)
        rows, kept = 0, 0
        for number in range(count):
            summary = json.loads((self._chunk(number) / "summary.json").read_text())
            tally.merge(summary["tally"])
            rows, kept = rows + summary["rows"], kept + summary["kept"]
        places = self._places(count)
        for index in sorted(verdicts):
            tally.add(int(places[index]), verdicts[index])
        gone = sum(dropped(said) for said in verdicts.values())
        unreadable = sum(n for (name, _, _), n in tally.counts.items() if name == UNREADABLE)
        report = CleanReport(
            source=self.source.name,
            sha256=job.digest,
            rows=rows,
            unreadable=unreadable,
            kept=kept - gone,
            dropped=rows - unreadable - (kept - gone),
            changed=self._changed(count, verdicts),
            tally=sorted(tally.as_json(), key=lambda line: (line["filter"], line["reason"], line["outcome"])),
            figures=figures_of(sieve),
            filters=[use.model_dump(mode="json") for use in uses],
            out=None if self.out is None else str(self.out),
            seconds=time.monotonic() - started,
            peak_memory=_peak_memory(),
        )
        if self.out is not None:
            self._write(self.out, report, count, verdicts)
        return report

    def _resolved(self) -> tuple[FilterUse, ...]:
        """With every default of the filters' settings filled in."""
        return tuple(
            use.model_copy(
                update={
                    "config": self.registry.config(
                        "filter", use.name, use.config, where=f"filter {use.name}"
                    ).model_dump(mode="json")
                }
            )
            for use in self.uses
        )

    # ------------------------------------------------------------ chunks

    def _open(self, job: Job) -> None:
        """The work folder, new or that of the very same job."""
        versions = {use.name: str(self.registry.get("filter", use.name).origin) for use in job.uses}
        identity = {
            "format": FORMAT,
            "source": self.source.name,
            "layout": self.source.layout,
            "sha256": job.digest,
            "chunk": CHUNK,
            "filters": [use.model_dump(mode="json") for use in job.uses],
            "versions": versions,
        }
        plan = self.work / "plan.json"
        if plan.is_file() and digest(json.loads(plan.read_text())) != digest(identity):
            raise StoreError(
                "it was begun with another file, or with other filters or settings",
                where=str(self.work),
                remedy="Undo the change to resume, or remove the folder.",
            )
        if not plan.is_file():
            make_folder(self.work)
            write_text(plan, json.dumps(identity, indent=1) + "\n")

    def _chunk(self, number: int) -> Path:
        return self.work / f"{number:05d}"

    def _chunks(self, job: Job) -> int:
        """Makes every chunk that is not there; how many there are."""
        workers = self.workers or os.cpu_count() or 1
        number = 0
        named = f"filters on {self.source.name}"
        with self.progress.task(named, total=self.source.bytes) as advance, submitting(job, workers) as submit:
            at = 0
            for number, rows in enumerate(batches(self.source.raw(), CHUNK), start=1):
                if not self._chunk(number - 1).is_dir():
                    submit(number - 1, rows)
                advance(rows[-1].end - at)
                at = rows[-1].end
        return number

    def _places(self, count: int) -> np.ndarray:
        """Places of all records that checks have kept, in order."""
        found = [np.load(self._chunk(number) / "index.npy") for number in range(count)]
        return np.concatenate(found) if found else np.empty(0, dtype=np.int64)

    def _answers(self, count: int) -> dict[int, list[int | None]]:
        """Numbers of the answers of groups that lost some to checks, by index among the records that these kept."""
        found: dict[int, list[int | None]] = {}
        start = 0
        for number in range(count):
            chunk = self._chunk(number)
            thinned = json.loads((chunk / "answers.json").read_text())
            found |= {start + int(index): numbers for index, numbers in thinned.items()}
            start += json.loads((chunk / "summary.json").read_text())["kept"]
        return found

    def _survey(self, sieve: Sieve, count: int) -> dict[int, list[Remark]]:
        """What surveying filters say of the records that checks have kept, by index among these."""
        verdicts: dict[int, list[Remark]] = {}
        if not sieve.surveying:
            return verdicts
        places = self._places(count)
        alive = np.ones(len(places), dtype=bool)
        wheres, answers = _Wheres(self.source.name, places), self._answers(count)
        with self.progress.task("surveys", total=len(sieve.surveying)) as advance:
            for at, seat in enumerate(sieve.surveying):
                sketches = [s for number in range(count) for s in read_sketches(self._chunk(number), at)]
                left = np.flatnonzero(alive)
                if len(left) < len(sketches):
                    sketches = [sketches[index] for index in left]
                for index, said in surveyed(seat, sketches, left.tolist(), wheres).items():
                    numbers = answers.get(index)
                    numbered = said if numbers is None else [renumbered(remark, numbers) for remark in said]
                    verdicts.setdefault(index, []).extend(numbered)
                    alive[index] &= not dropped(said)
                advance()
        return verdicts

    # ------------------------------------------------------------ writing

    def _changed(self, count: int, verdicts: dict[int, list[Remark]]) -> int:
        """Records that are kept and of which something was said."""
        changed, start = 0, 0
        for number in range(count):
            said = {start + line[0] for line in _lines(self._chunk(number) / "flagged.jsonl")}
            end = start + json.loads((self._chunk(number) / "summary.json").read_text())["kept"]
            said |= {index for index in verdicts if start <= index < end}
            changed += sum(not dropped(verdicts.get(index, ())) for index in said)
            start = end
        return changed

    def _write(self, out: Path, report: CleanReport, count: int, verdicts: dict[int, list[Remark]]) -> None:
        """Rejects, report, and last the rows: when they are there, all is."""
        if not report.kept:
            raise ConfigError(
                f"nothing is left of {report.rows} rows", where=self.source.name, remedy="See `harness data check`."
            )
        rejects_file, report_file = beside(out)
        drafts = {path: path.with_name(f"{path.name}.tmp") for path in (rejects_file, report_file, out)}
        places, index = self._places(count), 0
        with (
            drafts[out].open("w", encoding="utf-8") as rows,
            drafts[rejects_file].open("w", encoding="utf-8") as rejects,
        ):
            for number in range(count):
                chunk = self._chunk(number)
                rejects.write((chunk / "rejects.jsonl").read_text(encoding="utf-8"))
                with (chunk / "rows.jsonl").open(encoding="utf-8") as lines:
                    for line in lines:
                        said = verdicts.get(index)
                        if said is None:
                            rows.write(line)
                        elif dropped(said):
                            rejects.write(_json(rejected(int(places[index]), said, json.loads(line))))
                        else:
                            rows.write(_json(flagged(json.loads(line), said)))
                        index += 1
        drafts[report_file].write_text(json.dumps(asdict(report), indent=1, ensure_ascii=False) + "\n")
        for path, draft in drafts.items():
            with draft.open("rb") as handle:
                os.fsync(handle.fileno())
            draft.rename(path)
        shutil.rmtree(self.work)


@dataclass(frozen=True)
class _Wheres(Sequence[str]):
    """`FILE:LINE` of records, made when one is asked for."""

    name: str
    places: np.ndarray

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: Any) -> Any:
        return f"{self.name}:{self.places[index]}"


@contextmanager
def _removed_at_end(folder: Path) -> Iterator[None]:
    require_new(folder)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _lines(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8") as handle:
        yield from map(json.loads, handle)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"


def _peak_memory() -> int:
    """Of this process and of the largest of its children, in bytes."""
    kib = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return kib * 1024
