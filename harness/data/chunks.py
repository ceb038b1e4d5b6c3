"""One stretch of a source in one process: parsed, looked at by the filters that take records one by one, sketched for
those that survey, and stored as a folder that is there whole or not at all.

    00007/rows.jsonl       what is kept, as it will be written, a line a record ("null" for what no row can express)
          rejects.jsonl    what is not, with its remarks
          flagged.jsonl    remarks on what is kept, rewritten or flagged: [index among the kept, remark ...]
          sketches-0.bin   of the kept records, for the first surveying filter; lengths in sketches-0.npy
          index.npy        places of the kept records
          answers.json     {index among the kept: numbers, in the group as it came, of the answers that are left}, of
                           groups that lost some
          summary.json     counts
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.filtering import FilterUse, Remark, Sieve, checked, make_sieve, sketched
from harness.data.layouts import row_of
from harness.data.reading import BadRow, RawRow, Source
from harness.data.record import Record
from harness.durable import written_aside
from harness.plugins import Sources, load_registry
from harness.protocols import RunContext

EXAMPLES = 3
"""Of each reason, for the report."""
UNREADABLE = "unreadable"
"""Stands for the filter where no record could be made of a row."""


@dataclass(frozen=True)
class Job:
    """What every chunk of a source is put through; it travels to worker processes."""

    source: Source
    digest: str
    uses: tuple[FilterUse, ...]
    plugins: Sources
    folder: Path
    writes: bool
    """Whether rows are kept to be written, or only counted."""


@dataclass
class Worker:
    """A job in this process, with the filters made."""

    job: Job
    sieve: Sieve = field(init=False)

    def __post_init__(self) -> None:
        job = self.job
        registry = load_registry(
            local_files=job.plugins.local_files, disabled=job.plugins.disabled, third_party=job.plugins.third_party
        )
        self.sieve = make_sieve(job.uses, registry, RunContext(components=registry))

    def process(self, number: int, rows: Sequence[RawRow]) -> None:
        """Make chunk `number` of these rows."""
        kept: list[Record] = []
        said: dict[int, list[Remark]] = {}
        thinned: dict[int, list[int | None]] = {}
        rejects: list[dict[str, Any]] = []
        tally = Tally()
        for raw in rows:
            record = self.job.source.parse(raw)
            if isinstance(record, BadRow):
                remark = Remark(UNREADABLE, record.reason, "dropped", record.detail)
                rejects.append(rejected(record.place, [remark], record.raw))
                tally.add(record.place, [remark])
                continue
            found = checked(record, self.sieve)
            tally.add(record.place, found.remarks)
            if found.record is None:
                rejects.append(rejected(record.place, found.remarks, self._row(record)))
                continue
            if found.remarks:
                said[len(kept)] = found.remarks
            if len(found.answers) < len(record.answers):
                thinned[len(kept)] = found.answers
            kept.append(found.record)
        with written_aside(self.job.folder / f"{number:05d}") as folder:
            write_lines(folder / "rejects.jsonl", rejects)
            write_lines(folder / "flagged.jsonl", ([index, *map(asdict, said[index])] for index in sorted(said)))
            written = (self._written(record, said.get(index, ())) for index, record in enumerate(kept))
            write_lines(folder / "rows.jsonl", written)
            np.save(folder / "index.npy", np.array([record.place for record in kept], dtype=np.int64))
            (folder / "answers.json").write_text(json.dumps(thinned))
            for at, seat in enumerate(self.sieve.surveying):
                write_sketches(folder, at, sketched(seat, kept))
            summary = {"rows": len(rows), "kept": len(kept), "tally": tally.as_json()}
            (folder / "summary.json").write_text(json.dumps(summary))

    def _row(self, record: Record) -> dict[str, Any] | None:
        return row_of(record) if self.job.writes else None

    def _written(self, record: Record, remarks: Sequence[Remark]) -> dict[str, Any] | None:
        """A row that says where it comes from. What an earlier cleaning said of that stands."""
        row = self._row(record)
        if row is None:
            return None
        before = record.extra.get("origin", {})
        origin = {"source": self.job.source.name, "place": record.place, "sha256": self.job.digest, **before}
        passed = [*before.get("filters", []), *(use.name for use in self.job.uses)]
        origin["filters"] = list(dict.fromkeys(passed))
        return flagged({**row, "origin": origin}, remarks)


@dataclass
class Tally:
    """How many records (not flaws) have each filter, reason and outcome, and where the first of them are."""

    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    examples: dict[tuple[str, str, str], list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, place: int, remarks: Sequence[Remark]) -> None:
        for key in dict.fromkeys((r.filter, r.reason, r.outcome) for r in remarks):
            self.counts[key] += 1
            if len(shown := self.examples.setdefault(key, [])) < EXAMPLES:
                first = next(r for r in remarks if (r.filter, r.reason, r.outcome) == key)
                shown.append(_example(place, first))

    def merge(self, other: Sequence[Mapping[str, Any]]) -> None:
        for entry in other:
            key = (entry["filter"], entry["reason"], entry["outcome"])
            self.counts[key] += entry["records"]
            shown = self.examples.setdefault(key, [])
            shown += entry["examples"][: EXAMPLES - len(shown)]

    def as_json(self) -> list[dict[str, Any]]:
        return [
            {"filter": key[0], "reason": key[1], "outcome": key[2], "records": n, "examples": self.examples[key]}
            for key, n in self.counts.items()
        ]


def _example(place: int, remark: Remark) -> dict[str, Any]:
    return {"place": place, "answer": remark.answer, "detail": remark.detail, "other": remark.other}


def rejected(place: int, remarks: Sequence[Remark], row: Any) -> dict[str, Any]:
    return {"place": place, "remarks": [_brief(remark) for remark in remarks], "row": row}


def flagged(row: dict[str, Any], remarks: Sequence[Remark]) -> dict[str, Any]:
    """With what filters have remarked on the row and let pass, or mended, in its origin."""
    notes = [f"{r.filter}/{r.reason}" for r in remarks if r.outcome in ("flagged", "rewritten")]
    if not notes:
        return row
    origin = dict(row["origin"])
    origin["flags"] = list(dict.fromkeys([*origin.get("flags", []), *notes]))
    return {**row, "origin": origin}


def _brief(remark: Remark) -> dict[str, Any]:
    return {key: value for key, value in asdict(remark).items() if value not in ("", None)}


# ---------------------------------------------------------------- files of a chunk


def write_lines(path: Path, values: Any) -> None:
    with path.open("w", encoding="utf-8") as handle:
        handle.writelines(json.dumps(value, ensure_ascii=False) + "\n" for value in values)


def write_sketches(folder: Path, at: int, sketches: Sequence[bytes]) -> None:
    (folder / f"sketches-{at}.bin").write_bytes(b"".join(sketches))
    np.save(folder / f"sketches-{at}.npy", np.array([len(sketch) for sketch in sketches], dtype=np.int32))


def read_sketches(folder: Path, at: int) -> list[bytes]:
    blob = (folder / f"sketches-{at}.bin").read_bytes()
    ends = np.cumsum(np.load(folder / f"sketches-{at}.npy"), dtype=np.int64).tolist()
    return [blob[start:end] for start, end in zip([0, *ends], ends, strict=False)]
