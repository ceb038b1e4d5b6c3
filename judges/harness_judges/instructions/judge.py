"""The `instructions` judge: are the constraints met that can be checked?"""

from __future__ import annotations

from harness.plugins import validate
from harness.types import Completion, Prompt, Score
from harness_judges.instructions.checks import problem
from harness_judges.instructions.constraints import Constraints
from harness_judges.items import target_object
from harness_judges.pointwise import PointwiseJudge, ScoreCompletion
from harness_judges.settings import InstructionsConfig
from harness_judges.wording import sentence

NAME = "instructions"


def instructions_judge(config: InstructionsConfig) -> PointwiseJudge:
    """The target is `Constraints`. With credit "all" the value is 1 if every one is met, else 0; with "share" it is the
    share of them that are met. The label is ok, or the kinds that are not met; the explanation says what was found.

    A blank answer is 0 (label `empty`): it would meet everything that asks for little or for nothing. A prompt without
    a target is abstained from; ConfigError, naming the prompt and the field, for a target that cannot be read.
    """

    def for_prompt(prompt: Prompt) -> ScoreCompletion:
        if not prompt.target:
            return lambda completion: Score.abstained(NAME, "the prompt has no target")
        asked = validate(Constraints, target_object(prompt, NAME), where=f"prompt {prompt.id}, judge {NAME}")

        def score(completion: Completion) -> Score:
            if not completion.text.strip():
                return Score(NAME, 0.0, label="empty", explanation="there is no answer")
            found = [(constraint.kind, problem(constraint, completion.text)) for constraint in asked.constraints]
            missed = [(kind, why) for kind, why in found if why is not None]
            if not missed:
                return Score(NAME, 1.0, label="ok")
            share = 1 - len(missed) / len(found)
            label = ", ".join(dict.fromkeys(kind for kind, _ in missed))
            why = sentence("; ".join(why for _, why in missed))
            return Score(NAME, share if config.credit == "share" else 0.0, label=label, explanation=why)

        return score

    return PointwiseJudge(for_prompt)
