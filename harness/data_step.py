"""The data step of a round, between judging and updating: its scored groups pass through filters, all of them at once.

What was sampled is trained on by its tokens, so nothing is rewritten: an answer that a filter would rewrite is dropped,
and so is a group whose prompt it would rewrite.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.config import LoopConfig, Stage
from harness.data.filtering import (
    FilterUse,
    Remark,
    Seat,
    Sieve,
    counts,
    figures_of,
    make_sieve,
    renumbered,
    settled,
    sift,
)
from harness.data.record import Answer, Flaw, Record
from harness.errors import StoreError
from harness.jsonl import as_jsonl
from harness.leakage import LeakIndex
from harness.origins import FileLine, row_origin, unranged
from harness.plugins import Registry
from harness.protocols import Progress, RunContext, SilentProgress, Suite, SurveyingFilter
from harness.records import read_groups, write_groups
from harness.store import RunStore
from harness.types import ScoredGroup

GROUPS, REMARKS, KEPT = "groups.parquet", "remarks.jsonl", "kept.json"


@dataclass(frozen=True)
class SiftedGroups:
    """What is left of groups, by `kept` indices, and what was said of them all, by index."""

    groups: list[ScoredGroup]
    kept: list[int]
    remarks: Mapping[int, Sequence[Remark]]
    figures: Mapping[str, float]


@dataclass(frozen=True)
class DataStep:
    """The data steps of a run's rounds."""

    config: LoopConfig
    suites: Sequence[Suite]
    store: RunStore
    registry: Registry
    context: RunContext

    def sifted(self, index: int, stage: Stage, groups: Sequence[ScoredGroup]) -> Sequence[ScoredGroup]:
        """What of a round's groups is trained on: all of them where nothing is to be done."""
        if not self.config.data.sifts(stage):
            return groups

        def make(path: Path) -> Mapping[str, Any]:
            wheres = group_places(self.store, index, len(groups))
            refused = self._refused(wheres, groups) if stage.data is not None else {}
            found = sift_groups(groups, wheres, self.sieve, refused=refused, progress=self.context.progress)
            path.mkdir()
            write_groups(path / GROUPS, found.groups)
            (path / REMARKS).write_text(as_jsonl(_remark_rows(groups, wheres, found.remarks)))
            (path / KEPT).write_text(json.dumps(found.kept))
            self._note(found, stage)
            return found.figures

        return self.store.step(index, "data", "data", make=make, read=lambda path: read_groups(path / GROUPS))

    @cached_property
    def sieve(self) -> Sieve:
        return loop_sieve(self.config.data.filters, self.registry, self.context)

    def _refused(self, wheres: Sequence[FileLine], groups: Sequence[ScoredGroup]) -> dict[int, Remark]:
        """Rows of a file that are excluded, or that suites evaluate on, by index."""
        refused: dict[int, Remark] = {}
        index = LeakIndex(self.suites) if self.config.data.leakage == "drop" else None
        for at, (where, scored) in enumerate(zip(wheres, groups, strict=True)):
            origin = row_origin(scored.group.prompt, where.file, where.line)
            entry = next((entry for entry in self.config.data.exclude if origin.is_of(entry)), None)
            answers = [completion.text for completion in scored.group.completions]
            if entry is not None:
                refused[at] = Remark("exclude", "excluded", "dropped", entry)
            elif index is not None and (leaks := index.leaks(scored.group.prompt, answers)):
                said = f"item {leaks[0].item} of {leaks[0].suite}"
                refused[at] = Remark("leakage", leaks[0].kind, "dropped", said)
        return refused

    def _note(self, found: SiftedGroups, stage: Stage) -> None:
        note, figures = self.context.progress.note, found.figures
        note(f"  data: {figures['data/kept']:.0f} groups kept, {figures['data/dropped']:.0f} dropped")
        if stage.data is not None and figures["data/rewritable"]:
            note(
                f"  {figures['data/rewritable']:.0f} rows could be mended, and a loop does not rewrite: clean the file "
                f"first with `harness data clean {Path(stage.data).name}`"
            )


def loop_sieve(uses: Sequence[FilterUse], registry: Registry, context: RunContext) -> Sieve:
    """The filters of a loop, which drops what they would rewrite."""
    return make_sieve([_without_mending(use) for use in uses], registry, context)


def _without_mending(use: FilterUse) -> FilterUse:
    return use.model_copy(update={"action": "drop"}) if use.action == "mend" else use


def group_places(store: RunStore, index: int, count: int) -> list[FileLine]:
    """Where each of a round's judged groups is from: the line of its stage's file, else `round I` and its number. Lines
    are None for rounds that were read before lines were kept."""
    data = store.identity["config"]["stages"][_stage_number(store, index)].get("data")
    if data is None:
        return [FileLine(f"round {index}", number) for number in range(1, count + 1)]
    places = store.entries[index, "sample"].data.get("places")
    lines = [None] * count if places is None else unranged(places)
    return [FileLine(data, line) for line in lines]


def _stage_number(store: RunStore, index: int) -> int:
    rounds = [n for n, stage in enumerate(store.identity["config"]["stages"]) for _ in range(stage["rounds"])]
    return rounds[index - 1]


def handed_over(store: RunStore, index: int) -> list[ScoredGroup]:
    """The groups of a round that its updater is given. Raises StoreError where they are not settled yet."""
    if store.entry(index, "data") is not None:
        return store.load(index, "data", lambda path: read_groups(path / GROUPS))
    if store.identity["config"].get("data", {}).get("filters"):
        raise StoreError(
            f"round {index} has not passed its filters yet", where=str(store.folder), remedy="Continue it: --resume."
        )
    return store.load(index, "judge", read_groups)


def kept_indices(store: RunStore, index: int, count: int) -> list[int]:
    """Of the groups that `handed_over` gives, among the round's `count` judged ones."""
    if store.entry(index, "data") is None:
        return list(range(count))
    kept: list[int] = store.load(index, "data", lambda path: json.loads((path / KEPT).read_text()))
    return kept


def read_remarks(folder: Path) -> list[dict[str, Any]]:
    """What a round's filters said: a dict a remark, with `group` (from 1), `prompt`, `where` and the remark's own."""
    return [json.loads(line) for line in (folder / REMARKS).read_text().splitlines()]


# ---------------------------------------------------------------- groups through filters


def sift_groups(
    groups: Sequence[ScoredGroup],
    wheres: Sequence[FileLine],
    sieve: Sieve,
    *,
    refused: Mapping[int, Remark] | None = None,
    progress: Progress | None = None,
) -> SiftedGroups:
    """Groups, of which those that are `refused` are out, through a sieve that does not mend. Surveying filters see what
    is left of all groups."""
    remarks: dict[int, list[Remark]] = {index: [remark] for index, remark in (refused or {}).items()}
    left: dict[int, Record] = {}
    answers: dict[int, list[int]] = {}
    rewritable: set[int] = set()
    for index, scored in enumerate((progress or SilentProgress()).track(groups, description="data")):
        if index in remarks:
            continue
        found = _checked(_record(scored, wheres[index]), sieve.checking)
        if found.remarks:
            remarks[index] = found.remarks
        if found.rewritable:
            rewritable.add(index)
        if found.record is not None:
            left[index], answers[index] = found.record, found.answers
    alive = list(left)
    last = sift(list(left.values()), Sieve((), sieve.surveying))
    for at, said in last.remarks.items():
        index = alive[at]
        remarks.setdefault(index, []).extend(renumbered(remark, answers[index]) for remark in said)
    kept = [alive[at] for at in last.indices]
    trained = [with_answers(groups[index], answers[index]) for index in kept]
    figures = {
        "data/kept": float(len(kept)),
        "data/dropped": float(len(groups) - len(kept)),
        "data/answers_dropped": float(sum(len(groups[i].rewards) - len(answers[i]) for i in kept)),
        "data/rewritable": float(len(rewritable)),
    }
    for (name, reason, _), count in counts(remarks).items():
        figures[f"data/{name}/{reason}"] = figures.get(f"data/{name}/{reason}", 0.0) + count
    figures |= {f"data/figures/{name}": float(value) for name, value in figures_of(sieve).items()}
    return SiftedGroups(trained, kept, dict(sorted(remarks.items())), figures)


def _record(scored: ScoredGroup, where: FileLine) -> Record:
    pairs = zip(scored.group.completions, scored.rewards, strict=True)
    answers = tuple(Answer(completion.text, reward) for completion, reward in pairs)
    return Record(scored.group.prompt, answers, "group", where.file, where.line or 0)


@dataclass(frozen=True)
class _Checked:
    record: Record | None
    answers: list[int]
    """Of what is left, in the group."""
    remarks: list[Remark]
    rewritable: bool


def _checked(record: Record, seats: Sequence[Seat]) -> _Checked:
    """A group through the filters that look at records one by one. Each numbers the answers that those before it left;
    remarks number those of the group."""
    answers = list(range(len(record.answers)))
    remarks: list[Remark] = []
    rewritable = False
    for seat in seats:
        assert not isinstance(seat.filter, SurveyingFilter)
        said = seat.filter.check(record)
        rewritable = rewritable or (seat.use.action == "drop" and any(flaw.rewritten is not None for flaw in said))
        flaws = [one for flaw in said for one in _by_answer(record, flaw)]
        left, new = settled(record, flaws, seat.use)
        remarks += [renumbered(remark, answers) for remark in new]
        if left is None:
            return _Checked(None, [], remarks, rewritable)
        if left is not record:
            gone = {flaw.answer for flaw in flaws}
            answers = [number for at, number in enumerate(answers) if at not in gone]
        record = left
    return _Checked(record, answers, remarks, rewritable)


def _by_answer(record: Record, flaw: Flaw) -> list[Flaw]:
    """A flaw for each answer that would be rewritten, or one for the whole record where more would be."""
    offered = flaw.rewritten
    if offered is None:
        return [flaw]
    if offered.prompt != record.prompt or len(offered.answers) != len(record.answers):
        return [replace(flaw, answer=None)]
    pairs = enumerate(zip(record.answers, offered.answers, strict=True))
    changed = [at for at, (old, new) in pairs if old != new]
    return [flaw] if flaw.answer is not None or not changed else [replace(flaw, answer=at) for at in changed]


def with_answers(scored: ScoredGroup, answers: Sequence[int]) -> ScoredGroup:
    """A group with only these of its completions, and the preferences among them."""
    place = {index: at for at, index in enumerate(answers)}
    if len(place) == len(scored.rewards):
        return scored
    return ScoredGroup(
        replace(scored.group, completions=tuple(scored.group.completions[i] for i in answers)),
        tuple(scored.scores[i] for i in answers),
        tuple(scored.rewards[i] for i in answers),
        tuple(
            replace(p, better=place[p.better], worse=place[p.worse])
            for p in scored.preferences
            if p.better in place and p.worse in place
        ),
    )


def _remark_rows(
    groups: Sequence[ScoredGroup], wheres: Sequence[FileLine], remarks: Mapping[int, Sequence[Remark]]
) -> list[dict[str, Any]]:
    return [
        {"group": index + 1, "prompt": groups[index].group.prompt.id, "where": str(wheres[index]), **asdict(remark)}
        for index, said in remarks.items()
        for remark in said
    ]
