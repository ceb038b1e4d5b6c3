"""Judges of likelihood suites, which read what the policy thinks of texts that are given: `likelihood` and `choice`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from harness.likelihood import choices_of
from harness.types import Completion, Group, Score
from harness_judges.items import item_error
from harness_judges.settings import ChoiceConfig, LikelihoodConfig
from harness_judges.wording import show

UNKNOWN = "nothing says how likely the policy finds this: it has no log-probabilities, or is empty"

# ---------------------------------------------------------------- likelihood


class LikelihoodJudge:
    """exp of the mean log-probability: the geometric mean of the probabilities of a text's tokens, 1 / perplexity.

    With `per = "byte"` the mean is over UTF-8 bytes: 2 to the power of minus the bits per byte. Its figures are those
    of all texts together: `nats_per_token`, `perplexity` (e to that power) and `bits_per_byte`.
    """

    def __init__(self, config: LikelihoodConfig) -> None:
        self.config = config
        self._nats, self._tokens, self._bytes = 0.0, 0, 0

    def score(self, groups: Sequence[Group]) -> list[tuple[Score, ...]]:
        return [tuple(self._score(completion) for completion in group.completions) for group in groups]

    def figures(self) -> Mapping[str, float]:
        if not self._tokens:
            return {}
        nats = self._nats / self._tokens
        bits = self._nats / math.log(2) / self._bytes
        return {"nats_per_token": nats, "perplexity": perplexity(nats), "bits_per_byte": bits}

    def _score(self, completion: Completion) -> Score:
        if not completion.logprobs or not completion.text:
            return Score.abstained("likelihood", UNKNOWN)
        nats, tokens, size = -math.fsum(completion.logprobs), len(completion.logprobs), len(completion.text.encode())
        if not math.isfinite(nats):
            return Score.failed("likelihood", f"the policy's log-probabilities sum to {-nats}")
        self._nats, self._tokens, self._bytes = self._nats + nats, self._tokens + tokens, self._bytes + size
        value = math.exp(-nats / (tokens if self.config.per == "token" else size))
        why = f"{nats / tokens:.4f} nats per token, perplexity {perplexity(nats / tokens):.4g}, {tokens} tokens"
        return Score("likelihood", min(1.0, value), explanation=why)


def perplexity(nats: float) -> float:
    """e to the power of nats per token. Past what a float holds, its largest power of e."""
    return math.exp(min(nats, 709.0))


# ---------------------------------------------------------------- choice


class ChoiceJudge:
    """1 if of all choices the policy finds a right one likeliest, else 0: the same for every completion of a group.

    A group holds one completion for each of the target's `choices`, in their order. A tie goes to the first. Without
    choices, or without log-probabilities, it abstains. Labels: ok, wrong_choice.
    """

    def __init__(self, config: ChoiceConfig) -> None:
        self.normalize = config.normalize

    def score(self, groups: Sequence[Group]) -> list[tuple[Score, ...]]:
        return [(self._score(group),) * len(group.completions) for group in groups]

    def _score(self, group: Group) -> Score:
        choices = choices_of(group.prompt)
        if choices is None:
            return Score.abstained("choice", "the target has no choices")
        if len(group.completions) != len(choices.texts):
            what = f"{len(group.completions)} completions for {len(choices.texts)} choices"
            raise item_error(group.prompt, "choice", what)
        values = [
            math.fsum(completion.logprobs) / self._size(text, completion)
            for text, completion in zip(choices.texts, group.completions, strict=True)
            if completion.logprobs
        ]
        if len(values) < len(choices.texts):
            return Score.abstained("choice", UNKNOWN)
        if any(math.isnan(value) for value in values):
            return Score.failed("choice", "a log-probability of the policy is no number")
        best = values.index(max(values))
        right = best in choices.gold
        why = f"{show(choices.texts[best])} is likeliest, with {values[best]:.4f}{self._unit}"
        return Score("choice", float(right), label="ok" if right else "wrong_choice", explanation=why)

    def _size(self, text: str, completion: Completion) -> int:
        match self.normalize:
            case "characters":
                return len(text)
            case "bytes":
                return len(text.encode())
            case "tokens":
                return len(completion.token_ids)
        return 1

    @property
    def _unit(self) -> str:
        return " nats" if self.normalize == "none" else f" nats per {self.normalize.removesuffix('s')}"
