"""Supervised fine-tuning on completions that the judges accept: gold answers, or the policy's own best samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from harness.errors import UpdateError
from harness.types import ScoredGroup
from harness_plugins.models.packing import TrainingCompletion, TrainingGroup, TrainingStep, make_step, shuffled_batches
from harness_plugins.training.updater import AdapterUpdater, Selection


class SftUpdater(AdapterUpdater):
    """Trains on every completion whose reward is at least `min_reward`, or on the best of those of each group."""

    name = "sft"

    def batches(self, groups: Sequence[TrainingGroup], random_order: Random) -> Iterator[Sequence[TrainingGroup]]:
        return shuffled_batches(groups, self.config.batch, random_order)

    def select(self, groups: Sequence[ScoredGroup]) -> Selection:
        best = self.config.select == "best"
        return select_demonstrations(groups, self.config.min_reward, best_of_group=best, where=self.name)

    def step(self, groups: Sequence[TrainingGroup], *, max_completion: int, max_tokens: int) -> TrainingStep:
        return make_step(by_prompt(groups), max_completion=max_completion, max_tokens=max_tokens)


def select_demonstrations(
    groups: Sequence[ScoredGroup], min_reward: float, *, where: str, best_of_group: bool = False
) -> Selection:
    """The accepted completions, each a group. Raises UpdateError when there is none."""
    chosen = choose(groups, min_reward, best_of_group=best_of_group)
    if not chosen.demonstrations:
        raise UpdateError(
            f"none of {chosen.seen} completions has a reward of at least {min_reward} "
            f"({chosen.unscored} are unscored, {chosen.truncated} have it and are cut off)",
            where=where,
            remedy="Lower min_reward, or look at the judges' verdicts.",
        )
    first = chosen.demonstrations[0]
    return Selection(
        chosen.demonstrations,
        {
            "update/demonstrations": float(len(chosen.demonstrations)),
            "update/unscored": float(chosen.unscored),
            "update/below_min_reward": float(chosen.below),
            "update/truncated": float(chosen.truncated),
            "update/not_best": float(chosen.not_best),
        },
        first.prompt_token_ids + first.completions[0].token_ids,
        max_completion=max(group.group.sampling.max_tokens for group in groups),
    )


@dataclass(frozen=True, slots=True)
class Choice:
    """What is trained on, one completion a group, and how many completions are not and why."""

    demonstrations: tuple[TrainingGroup, ...]
    unscored: int
    below: int
    truncated: int
    not_best: int

    @property
    def seen(self) -> int:
        return len(self.demonstrations) + self.unscored + self.below + self.truncated + self.not_best


def choose(groups: Sequence[ScoredGroup], min_reward: float, *, best_of_group: bool = False) -> Choice:
    """`best_of_group` keeps one of a group's completions that are good enough, the first of those with most reward."""
    demonstrations, unscored, below, truncated, not_best = [], 0, 0, 0, 0
    for scored in groups:
        accepted: list[tuple[float, TrainingCompletion]] = []
        for completion, reward in zip(scored.group.completions, scored.rewards, strict=True):
            if reward is None:
                unscored += 1
            elif completion.finish_reason == "length":
                truncated += 1  # it lacks the end of turn: learning it is learning to run on
            elif reward < min_reward or not completion.token_ids:
                below += 1
            else:
                accepted.append((reward, TrainingCompletion(completion.token_ids)))
        if best_of_group and accepted:
            not_best += len(accepted) - 1
            accepted = [max(accepted, key=lambda pair: pair[0])]
        demonstrations += [TrainingGroup(scored.group.prompt_token_ids, (completion,)) for _, completion in accepted]
    return Choice(tuple(demonstrations), unscored, below, truncated, not_best)


def by_prompt(demonstrations: Sequence[TrainingGroup]) -> list[TrainingGroup]:
    """Demonstrations of one prompt as one group, so that they share its computation."""
    completions: dict[tuple[int, ...], list[TrainingCompletion]] = {}
    for demonstration in demonstrations:
        completions.setdefault(demonstration.prompt_token_ids, []).extend(demonstration.completions)
    return [TrainingGroup(prompt, tuple(several)) for prompt, several in completions.items()]
