"""From what filters have against records to what is kept: first the filters that look at records one by one, in the
order in which they are named, then those that survey what is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import Field

from harness.data.record import Flaw, Record
from harness.plugins import Registry
from harness.protocols import BatchSketching, Filter, ReportingFilter, RunContext, SurveyingFilter
from harness.specs import Config

Action = Literal["mend", "drop", "flag"]
Outcome = Literal["dropped", "rewritten", "flagged"]


class FilterUse(Config):
    """A filter, its settings, and what follows from its flaws."""

    name: str
    config: dict[str, Any] = Field(default_factory=dict, description="the filter's own settings")
    action: Action = Field(
        default="mend",
        description="`mend` (rewrite where the filter can, else drop), `drop`, or `flag` (keep and note)",
    )


@dataclass(frozen=True, slots=True)
class Remark:
    """A flaw, whose it is, and what followed from it. `other` is the place of the record that it names."""

    filter: str
    reason: str
    outcome: Outcome
    detail: str = ""
    answer: int | None = None
    other: str = ""


@dataclass(frozen=True)
class Seat:
    """A filter that was made, with its use."""

    use: FilterUse
    filter: Filter | SurveyingFilter


@dataclass(frozen=True)
class Sieve:
    """All filters of a use of data: `checking` ones look at records by themselves, `surveying` ones at all of them."""

    checking: tuple[Seat, ...]
    surveying: tuple[Seat, ...]


@dataclass
class Sifted:
    """What is left, and why the rest is not: `remarks` by index into what was given."""

    kept: list[Record]
    indices: list[int]
    """Of the kept records, in what was given."""
    remarks: dict[int, list[Remark]]
    figures: dict[str, float] = field(default_factory=dict)


def make_sieve(uses: Sequence[FilterUse], registry: Registry, context: RunContext) -> Sieve:
    """Raises HarnessError for a filter that is unknown, or settings that are wrong."""
    seats = [Seat(u, registry.create("filter", u.name, u.config, context, where=f"filter {u.name}")) for u in uses]
    surveying = tuple(seat for seat in seats if isinstance(seat.filter, SurveyingFilter))
    return Sieve(tuple(seat for seat in seats if seat not in surveying), surveying)


@dataclass(frozen=True)
class Checked:
    """What filters that look at records one by one leave of one, and what they said."""

    record: Record | None
    remarks: list[Remark]
    answers: list[int | None]
    """Numbers, in the record as it came, of the answers that are left. None after a rewriting that changed how many
    there are."""


def checked(record: Record, sieve: Sieve) -> Checked:
    """A record through the filters that look at records one by one. Each numbers the answers that those before it left;
    remarks number those of the record as it came."""
    answers: list[int | None] = list(range(len(record.answers)))
    remarks: list[Remark] = []
    for seat in sieve.checking:
        assert not isinstance(seat.filter, SurveyingFilter)
        flaws = seat.filter.check(record)
        kept, said = settled(record, flaws, seat.use)
        remarks += [renumbered(remark, answers) for remark in said]
        if kept is None:
            return Checked(None, remarks, [])
        if len(kept.answers) != len(record.answers):
            gone = {flaw.answer for flaw in flaws}
            left = [number for at, number in enumerate(answers) if at not in gone]
            answers = left if len(left) == len(kept.answers) else [None] * len(kept.answers)
        record = kept
    return Checked(record, remarks, answers)


def renumbered(remark: Remark, answers: Sequence[int | None]) -> Remark:
    """A remark on what is left of a record, with the answer's number in the record as it came."""
    return remark if remark.answer is None else replace(remark, answer=answers[remark.answer])


def settled(record: Record, flaws: Sequence[Flaw], use: FilterUse) -> tuple[Record | None, list[Remark]]:
    """What is left of a record with these flaws of one filter, which may offer one rewritten record at most."""
    if not flaws:
        return record, []
    if use.action == "flag":
        return record, [_remark(flaw, use, "flagged") for flaw in flaws]
    offered = next((flaw.rewritten for flaw in flaws if flaw.rewritten is not None), None)
    if use.action == "mend" and offered is not None and all(flaw.rewritten is not None for flaw in flaws):
        return offered, [_remark(flaw, use, "rewritten") for flaw in flaws]
    answers = {flaw.answer for flaw in flaws if flaw.answer is not None}
    left = without(record, answers) if all(flaw.answer is not None for flaw in flaws) else None
    return left, [_remark(flaw, use, "dropped") for flaw in flaws]


def without(record: Record, answers: Iterable[int]) -> Record | None:
    """A group without these answers, if one is left; of everything else nothing is left without them."""
    gone = set(answers)
    left = tuple(answer for index, answer in enumerate(record.answers) if index not in gone)
    return replace(record, answers=left) if record.kind == "group" and left else None


def surveyed(
    seat: Seat, sketches: Sequence[bytes], alive: Sequence[int], wheres: Sequence[str]
) -> dict[int, list[Remark]]:
    """What a surveying filter says of the records that are `alive`, of which `sketches` are; by index of record.
    `wheres` are the places of all records."""
    assert isinstance(seat.filter, SurveyingFilter)
    outcome: Outcome = "flagged" if seat.use.action == "flag" else "dropped"
    return {
        alive[at]: [_remark(flaw, seat.use, outcome, "" if flaw.other is None else wheres[alive[flaw.other]])]
        for at, flaw in seat.filter.survey(sketches).items()
    }


def sketched(seat: Seat, records: Sequence[Record]) -> list[bytes]:
    """What a surveying filter needs of these records."""
    if isinstance(seat.filter, BatchSketching):
        return list(seat.filter.sketches(records))
    assert isinstance(seat.filter, SurveyingFilter)
    return [seat.filter.sketch(record) for record in records]


def figures_of(sieve: Sieve) -> dict[str, float]:
    """What surveying filters say of the whole, by `FILTER/NAME`."""
    return {
        f"{seat.use.name}/{name}": value
        for seat in sieve.surveying
        if isinstance(seat.filter, ReportingFilter)
        for name, value in seat.filter.figures().items()
    }


def sift(records: Sequence[Record], sieve: Sieve) -> Sifted:
    """All of it in this process, for data that memory holds."""
    remarks: dict[int, list[Remark]] = {}
    left: dict[int, Record] = {}
    answers: dict[int, list[int | None]] = {}
    for index, record in enumerate(records):
        found = checked(record, sieve)
        if found.remarks:
            remarks[index] = found.remarks
        if found.record is not None:
            left[index], answers[index] = found.record, found.answers
    wheres = [record.where for record in records]
    for seat in sieve.surveying:
        alive = list(left)
        for index, said in surveyed(seat, sketched(seat, list(left.values())), alive, wheres).items():
            remarks.setdefault(index, []).extend(renumbered(remark, answers[index]) for remark in said)
            if dropped(said):
                del left[index]
    return Sifted(list(left.values()), list(left), remarks, figures_of(sieve))


def dropped(remarks: Iterable[Remark]) -> bool:
    return any(remark.outcome == "dropped" for remark in remarks)


def counts(remarks: Mapping[int, Sequence[Remark]]) -> dict[tuple[str, str, Outcome], int]:
    """How many records (not flaws) each filter, reason and outcome has."""
    found: dict[tuple[str, str, Outcome], int] = {}
    for said in remarks.values():
        for key in {(remark.filter, remark.reason, remark.outcome): None for remark in said}:
            found[key] = found.get(key, 0) + 1
    return found


def _remark(flaw: Flaw, use: FilterUse, outcome: Outcome, other: str = "") -> Remark:
    return Remark(use.name, flaw.reason, outcome, flaw.detail, flaw.answer, other)
