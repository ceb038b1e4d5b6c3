"""Judges that look at one completion at a time: prepare once for the prompt, then score each of its completions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.types import Completion, Group, Prompt, Score

ScoreCompletion = Callable[[Completion], Score]


def for_every_prompt(score: ScoreCompletion) -> Callable[[Prompt], ScoreCompletion]:
    """For judges that look at the answer alone."""
    return lambda prompt: score


@dataclass(frozen=True)
class PointwiseJudge:
    """A `Judge` from a function of a prompt that returns a function of a completion.

    The outer call is made once per group, so what is costly and depends on the prompt alone (reading its target,
    compiling its schema) belongs there.
    """

    for_prompt: Callable[[Prompt], ScoreCompletion]

    def score(self, groups: Sequence[Group]) -> list[tuple[Score, ...]]:
        return [self._score_group(group) for group in groups]

    def _score_group(self, group: Group) -> tuple[Score, ...]:
        score = self.for_prompt(group.prompt)
        return tuple(score(completion) for completion in group.completions)
