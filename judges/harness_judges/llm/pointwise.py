"""`llm`: a model's verdict on each answer, by a rubric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from harness.protocols import RunContext
from harness.types import Completion, Group, Prompt, Score
from harness_judges.llm.asking import Asker, Settled, Unreadable, paid_for, read_json
from harness_judges.llm.prompts import fence, load_template, question_of
from harness_judges.llm.provider import Reply, Request
from harness_judges.llm.rubric import Criterion, load_rubric
from harness_judges.llm.settings import LlmConfig

NAME = "llm"
KNOWN = {
    "verdict": ("question", "reference", "answer", "rubric", "fields"),
    "expected": ("question", "reference", "answer", "criterion", "levels"),
}
ASKED = {"verdict": "rubric", "expected": "criterion"}
"""What of the rubric each template must show."""

Values = Mapping[str, float]
"""Of each criterion that a reply is about, in [0, 1]."""


class LlmJudge:
    """Pointwise: an answer's verdict does not depend on its siblings."""

    def __init__(self, config: LlmConfig, context: RunContext) -> None:
        self.config = config
        self.rubric = load_rubric(config.rubric)
        self.schema = self.rubric.verdict_schema(reasons=config.reasoning)
        self.template = load_template(
            config.score, config.prompt, known=KNOWN[config.score], needed=("question", "answer", ASKED[config.score])
        )
        self.asker = Asker(NAME, config, context)
        self.criteria: dict[str, Criterion] = {}
        """With `expected`: which criterion a question is about."""

    def score(self, groups: Sequence[Group]) -> list[tuple[Score, ...]]:
        asked = [[self.questions(group.prompt, c) for c in group.completions] for group in groups]
        flat = [request for group in asked for requests in group for request in requests]
        settled = iter(self.asker.settle(flat, self.read))
        return [tuple(self.verdict([next(settled) for _ in requests]) for requests in group) for group in asked]

    def figures(self) -> dict[str, float]:
        return self.asker.figures()

    def close(self) -> None:
        self.asker.close()

    # ------------------------------------------------------------ questions

    def questions(self, prompt: Prompt, completion: Completion) -> list[Request]:
        """None about an empty answer: there is nothing to be judged."""
        if not completion.text.strip():
            return []
        values = {
            "question": fence(question_of(prompt), "request"),
            "reference": fence(prompt.reference, "good answer") if self.config.reference and prompt.reference else "",
            "answer": fence(completion.text, "answer"),
        }
        if self.config.score == "verdict":
            values |= {"rubric": self.rubric.text(), "fields": ", ".join(self.schema["required"])}
            return [self._request(values, schema=self.schema)]
        requests = []
        for criterion in self.rubric.criteria:
            shown = {"criterion": criterion.question, "levels": ", ".join(criterion.levels)}
            choices = dict.fromkeys(word for level in criterion.levels for word in (level, level.capitalize()))
            requests.append(self._request({**values, **shown}, choices=tuple(choices)))
            self.criteria[requests[-1].key] = criterion
        return requests

    def _request(
        self, values: Mapping[str, str], *, schema: Mapping[str, object] | None = None, choices: tuple[str, ...] = ()
    ) -> Request:
        limit = 1 if choices else self.config.max_tokens
        return Request(self.template.fill(values), limit, schema, choices, self.config.temperature)

    # ------------------------------------------------------------ replies

    def read(self, request: Request, reply: Reply) -> Values:
        if request.schema is not None:
            verdict = read_json(reply, request.schema)
            return {criterion.name: criterion.value(verdict[criterion.name]) for criterion in self.rubric.criteria}
        criterion = self.criteria[request.key]
        return {criterion.name: expected_value(criterion, reply.choice_logprobs, min_mass=self.config.min_mass)}

    def verdict(self, settled: Sequence[Settled[Values]]) -> Score:
        if not settled:
            return Score(NAME, 0.0, label="empty", explanation="The answer is empty.")
        paid = paid_for(settled)
        for one in settled:
            if one.value is None:
                return Score(NAME, None, "failed", explanation=one.why, **paid)
        values = {name: value for one in settled for name, value in (one.value or {}).items()}
        shown = ", ".join(f"{name} {value:.2f}" for name, value in values.items())
        return Score(NAME, self.rubric.mean(values), explanation=shown, **paid)


def expected_value(criterion: Criterion, logprobs: Mapping[str, float], *, min_mass: float) -> float:
    """sum_l p(l) v(l) / sum_l p(l), p(l) being the probability that the reply starts as level l does (G-Eval,
    arXiv:2303.16634, equation 1, over the levels alone).

    A token counts for the one level that it is, or begins; case and spaces aside. Raises Unreadable where the levels
    have less than `min_mass` of the probability together.
    """
    mass = dict.fromkeys(criterion.levels, 0.0)
    for token, logprob in logprobs.items():
        word = token.strip().lower()
        equal = [level for level in criterion.levels if word == level.lower()]
        begun = [level for level in criterion.levels if word and level.lower().startswith(word)]
        for level in equal or begun * (len(begun) == 1):
            mass[level] += math.exp(logprob)
    total = sum(mass.values())
    if total < min_mass or total == 0.0:
        raise Unreadable(f"the levels of {criterion.name} have a probability of {total:.3f} together")
    return sum(p * criterion.value(level) for level, p in mass.items()) / total
