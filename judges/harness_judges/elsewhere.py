"""The judge `elsewhere`: verdicts that people, or a model out of reach, gave on what was exported."""

from __future__ import annotations

from collections.abc import Sequence

from harness.elsewhere import Verdict, completion_id, read_verdicts, verdict_folder
from harness.protocols import RunContext
from harness.types import Completion, Group, Prompt, Score
from harness_judges.pointwise import PointwiseJudge, ScoreCompletion
from harness_judges.settings import ElsewhereConfig


class ElsewhereJudge:
    """The mean of what those said who judged a completion; abstained where all of them did.

    A completion without a verdict is failed, so that a round without verdicts stops, keeps its samples, and is judged
    when it is resumed. The verdicts are read when there is something to judge, not when the judge is made.
    """

    def __init__(self, config: ElsewhereConfig, context: RunContext) -> None:
        self.run = context.run
        self.place = config.verdicts or (None if self.run is None else verdict_folder(self.run))

    def score(self, groups: Sequence[Group]) -> list[tuple[Score, ...]]:
        by_completion: dict[str, list[Verdict]] = {}
        for verdict in [] if self.place is None else read_verdicts(self.place):
            by_completion.setdefault(verdict.id, []).append(verdict)
        missing = self._missing()

        def for_prompt(prompt: Prompt) -> ScoreCompletion:
            def score(completion: Completion) -> Score:
                verdicts = by_completion.get(completion_id(prompt, completion.text))
                return _score(verdicts) if verdicts else missing

            return score

        return PointwiseJudge(for_prompt).score(groups)

    def _missing(self) -> Score:
        if self.place is None:
            return Score.failed("elsewhere", "no run keeps verdicts here; name a file of them with `verdicts`")
        how = "" if self.run is None else f" (harness judge export {self.run}, then harness judge import FILE)"
        return Score.failed("elsewhere", f"no verdict yet{how}")


def _score(verdicts: Sequence[Verdict]) -> Score:
    """Explains `judged by ANNA: WHY; BEN`."""
    said = [f"{v.judge}: {v.explanation}" if v.explanation else v.judge for v in verdicts]
    why = f"judged by {'; '.join(said)}"
    values = [verdict.value for verdict in verdicts if verdict.value is not None]
    if not values:
        return Score.abstained("elsewhere", why)
    return Score("elsewhere", sum(values) / len(values), explanation=why)
