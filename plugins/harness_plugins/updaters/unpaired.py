"""Preference optimization from single verdicts: thumbs up or down, no pairs needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.errors import UpdateError
from harness.pairs import desirable
from harness.protocols import Objective, RunContext
from harness.types import ScoredGroup
from harness_plugins.models.packing import TrainingCompletion, TrainingGroup
from harness_plugins.training.updater import AdapterUpdater, Pass, Selection
from harness_plugins.updaters.configs import UnpairedConfig


class UnpairedUpdater(AdapterUpdater):
    """Trains on every completion that its reward calls good or bad."""

    name = "unpaired"

    def __init__(self, config: UnpairedConfig, context: RunContext, *, objective: Objective | None = None) -> None:
        super().__init__(config, context, objective=objective)
        self.needs_mismatched = getattr(self.objective, "step_baseline", "none") == "kl"

    def select(self, groups: Sequence[ScoredGroup]) -> Selection:
        selection = select_labelled(groups, self.config.desirable, where=self.name)
        self.require_others(selection.groups)
        return selection

    def require_others(self, groups: Sequence[TrainingGroup]) -> None:
        if self.needs_mismatched:
            require_others(groups, self.config.objective, where=self.name)

    def prepare(self, model: Any, groups: Sequence[TrainingGroup], how: Pass) -> list[TrainingGroup]:
        from harness_plugins.training.reference import with_reference

        self.require_others(groups)
        others = mismatch(groups) if self.needs_mismatched else []
        known = with_reference(model, [*groups, *others], self.config.reference, self.config, self.context, how)
        if not others:
            return known
        pairs = zip(known[: len(groups)], known[len(groups) :], strict=True)
        return [replace(one, mismatched=other.completions) for one, other in pairs]


def select_labelled(groups: Sequence[ScoredGroup], threshold: Any, *, where: str) -> Selection:
    """The completions that are known to be good or bad. Raises UpdateError when there is none."""
    labelled = label(groups, threshold)
    if not labelled.groups:
        raise UpdateError(
            f"no completion of {len(groups)} groups is known to be good or bad",
            where=where,
            remedy="Look at the judges' verdicts, or set desirable to a number.",
        )
    first = labelled.groups[0]
    return Selection(
        labelled.groups,
        {
            "update/groups": float(len(groups)),
            "update/desirable": float(labelled.good),
            "update/undesirable": float(labelled.bad),
            "update/unknown": float(labelled.unknown),
            "update/empty": float(labelled.empty),
            "update/truncated": float(labelled.truncated),
        },
        first.prompt_token_ids + first.completions[0].token_ids,
    )


def require_others(groups: Sequence[TrainingGroup], objective: str, *, where: str) -> None:
    """Raises UpdateError where all groups have one prompt: the KL divergence is estimated from other prompts."""
    if len({group.prompt_token_ids for group in groups}) < 2:
        raise UpdateError(
            f"{objective} compares completions with those of other prompts, and there is one prompt",
            where=where,
            remedy="Sample more prompts, or use apo_zero_unpaired.",
        )


@dataclass(frozen=True, slots=True)
class Labelled:
    """What is trained on, and how many completions are good, bad, of unknown worth, empty, or good but cut off.

    To learn the last would be to learn not to end.
    """

    groups: tuple[TrainingGroup, ...]
    good: int
    bad: int
    unknown: int
    empty: int
    truncated: int


def label(groups: Sequence[ScoredGroup], threshold: Any) -> Labelled:
    """The completions that are known to be good or bad, by group."""
    found, labels, empty, truncated = [], [], 0, 0
    for scored in groups:
        kept = []
        for completion, good in zip(scored.group.completions, desirable(scored.rewards, threshold), strict=True):
            if not completion.token_ids:
                empty += 1
                continue
            if good and completion.finish_reason == "length":
                truncated += 1
                continue
            labels.append(good)
            if good is not None:
                kept.append(TrainingCompletion(completion.token_ids, desirable=good))
        if kept:
            found.append(TrainingGroup(scored.group.prompt_token_ids, tuple(kept)))
    return Labelled(tuple(found), labels.count(True), labels.count(False), labels.count(None), empty, truncated)


def mismatch(groups: Sequence[TrainingGroup]) -> list[TrainingGroup]:
    """Each group's prompt with the completions of the nearest group before it, going round, that has another prompt."""
    result = []
    for index, group in enumerate(groups):
        others = (groups[index - step] for step in range(1, len(groups)))
        other = next(o for o in others if o.prompt_token_ids != group.prompt_token_ids)
        result.append(replace(group, completions=other.completions))
    return result
