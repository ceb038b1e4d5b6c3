"""The `cascade` judge: cheap judges first, costly ones only for what those leave undecided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from harness.protocols import RunContext
from harness.types import Group, Score
from harness_judges.seated import paid, seat_all, tell
from harness_judges.settings import CascadeConfig, CascadeStage

NAME = "cascade"


class CascadeJudge:
    """The verdict of the first stage that decides: one whose value is at most its `low` or at least its `high`, or the
    last. A stage that abstains passes on; where one fails the cascade has failed.

    Stages after the first are shown groups of the undecided completions alone: a judge that compares siblings there
    compares only these.
    """

    def __init__(self, config: CascadeConfig, context: RunContext) -> None:
        self.rules = config.stages
        self.stages = seat_all(
            config.stages, [stage.name for stage in config.stages], context, where="judge cascade, stage"
        )
        self.judged = 0
        self.decided = Counter[str]()

    def score(self, groups: Sequence[Group]) -> list[tuple[Score, ...]]:
        given: list[list[dict[str, Score]]] = [[{} for _ in group.completions] for group in groups]
        final: list[list[Score | None]] = [[None for _ in group.completions] for group in groups]
        for number, (stage, rule) in enumerate(zip(self.stages, self.rules, strict=True)):
            last = number == len(self.stages) - 1
            left = {g: places for g, row in enumerate(final) if (places := [c for c, s in enumerate(row) if s is None])}
            shown = [_part(groups[g], places) for g, places in left.items()]
            for (g, places), scores in zip(left.items(), stage.score(shown) if shown else (), strict=True):
                for c, score in zip(places, scores, strict=True):
                    given[g][c][stage.label] = score
                    if last or score.status == "failed" or _decides(rule, score):
                        final[g][c] = self._conclude(given[g][c], score, stage.label)
        return [tuple(score for score in row if score is not None) for row in final]

    def figures(self) -> dict[str, float]:
        """`STAGE/decided` is the share of completions to which a stage gave the value; the rest of `STAGE/...` is what
        it says of itself."""
        found: dict[str, float] = {}
        for stage in self.stages:
            found |= stage.figures()
            if self.judged:
                found[f"{stage.label}/decided"] = self.decided[stage.label] / self.judged
        return found

    def close(self) -> None:
        for stage in self.stages:
            stage.close()

    def _conclude(self, given: dict[str, Score], score: Score, stage: str) -> Score:
        self.judged += 1
        if score.value is not None:
            self.decided[stage] += 1
        return Score(NAME, score.value, score.status, score.label, tell(given), **paid(given))


def _decides(rule: CascadeStage, score: Score) -> bool:
    if score.value is None:
        return False
    return (rule.low is not None and score.value <= rule.low) or (rule.high is not None and score.value >= rule.high)


def _part(group: Group, places: Sequence[int]) -> Group:
    """The group with some of its completions: prompt, ids and sampling are those of the whole."""
    return replace(group, completions=tuple(group.completions[place] for place in places))
