"""Preference optimization: pairs of better and worse completions of one prompt, which share its forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.errors import ConfigError, UpdateError
from harness.pairs import choose_pairs, judged_margins, reward_margins
from harness.protocols import Objective, RunContext
from harness.types import Preference, ScoredGroup
from harness_plugins.models.packing import TrainingCompletion, TrainingGroup
from harness_plugins.training.configs import Reference
from harness_plugins.training.updater import AdapterUpdater, Pass, Selection
from harness_plugins.updaters.configs import PairsConfig, PreferenceConfig


class PreferenceUpdater(AdapterUpdater):
    """Trains on pairs built from each group's rewards."""

    name = "preference"

    def __init__(self, config: PreferenceConfig, context: RunContext, *, objective: Objective | None = None) -> None:
        super().__init__(config, context, objective=objective)
        self.reference = resolve_reference(config, needs=getattr(self.objective, "needs_reference", True))

    def select(self, groups: Sequence[ScoredGroup]) -> Selection:
        return select_pairs(groups, self.config, where=self.name)

    def prepare(self, model: Any, groups: Sequence[TrainingGroup], how: Pass) -> list[TrainingGroup]:
        from harness_plugins.training.reference import with_reference

        return with_reference(model, groups, self.reference, self.config, self.context, how)


def select_pairs(groups: Sequence[ScoredGroup], config: PairsConfig, *, where: str) -> Selection:
    """The groups with their pairs. Raises UpdateError when there is none."""
    found = build_pairs(groups, config)
    if not found.groups:
        raise UpdateError(
            f"none of {len(groups)} groups holds two completions to prefer one of",
            where=where,
            remedy="Sample more completions a prompt, lower min_margin, or use finer rewards.",
        )
    first = found.groups[0]
    return Selection(
        found.groups,
        {
            "update/groups": float(len(groups)),
            "update/groups_without_pair": float(len(groups) - len(found.groups)),
            "update/pairs": float(sum(len(group.pairs) for group in found.groups)),
            "update/unscored": float(found.unscored),
            "update/empty": float(found.empty),
            "update/equal_texts": float(found.equal),
        },
        first.prompt_token_ids + first.completions[first.pairs[0][0]].token_ids,
    )


@dataclass(frozen=True, slots=True)
class Pairs:
    """What is trained on, how many completions could not be in a pair and why, and how many pairs had equal texts."""

    groups: tuple[TrainingGroup, ...]
    unscored: int
    empty: int
    equal: int


def build_pairs(groups: Sequence[ScoredGroup], config: PairsConfig) -> Pairs:
    """The groups that hold a pair, with the completions of their pairs only.

    Equal completions make no pair, and one that was cut off is never chosen: to learn it would be to learn not to end.
    """
    found, unscored, empty, equal = [], 0, 0, 0
    for scored in groups:
        unscored += sum(reward is None for reward in scored.rewards)
        kept = [i for i, completion in enumerate(scored.group.completions) if completion.token_ids]
        empty += len(scored.rewards) - len(kept)
        completions = [scored.group.completions[i] for i in kept]
        contents = [completion.token_ids for completion in completions]
        if config.pairs == "judged":
            margins = judged_margins(among(scored.preferences, kept))
        else:
            margins = reward_margins([scored.rewards[i] for i in kept])
        equal += sum(contents[better] == contents[worse] for better, worse in margins)
        pairs = choose_pairs(
            margins,
            contents,
            best_only=config.pairs == "best_worst",
            min_margin=config.min_margin,
            never_chosen={i for i, completion in enumerate(completions) if completion.finish_reason == "length"},
        )
        if pairs:
            learnt = tuple(TrainingCompletion(token_ids) for token_ids in contents)
            found.append(TrainingGroup(scored.group.prompt_token_ids, learnt).only(pairs))
    return Pairs(tuple(found), unscored, empty, equal)


def among(preferences: Sequence[Preference], kept: Sequence[int]) -> list[Preference]:
    """The preferences among the completions that are kept, by their places there."""
    place = {index: i for i, index in enumerate(kept)}
    return [
        replace(p, better=place[p.better], worse=place[p.worse])
        for p in preferences
        if p.better in place and p.worse in place
    ]


def resolve_reference(config: PreferenceConfig, *, needs: bool) -> Reference:
    if config.reference == "auto":
        return "previous" if needs else "none"
    if needs != (config.reference != "none"):
        verb = "needs a reference policy" if needs else "uses no reference policy"
        raise ConfigError(
            f"reference = {config.reference!r}, and the objective {config.objective!r} {verb}",
            where="preference",
            remedy="Leave reference at 'auto'.",
        )
    return config.reference
