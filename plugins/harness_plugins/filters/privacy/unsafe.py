"""Unsafe content, by a lexicon. It says which words are there, not what is meant.

Profanity, slurs and sexual words are told well by the words themselves. Dangerous requests are not: most name nothing
that harmless ones do not name as well. What this finds and misses is in the tests; a model of safety finds more
(detoxify needs weights that are on no package index, alt-profanity-check needs scikit-learn and knows insults alone).

A request that is refused is good to learn from, and so is an unsafe answer that is marked bad: neither is a flaw.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files

from harness.data.record import Answer, Flaw, Record
from harness.refusals import refusal
from harness_plugins.filters.privacy.configs import UnsafeConfig

STRONG, MILD = 1.0, 0.5
_WORD = re.compile(r"[^\W_]+")
Terms = Mapping[str, Mapping[tuple[str, ...], float]]
"""By first word, the words of each term and its weight."""


class Unsafe:
    def __init__(self, config: UnsafeConfig) -> None:
        self.config = config
        lexicon = _lexicon()
        self.reasons = {reason: terms for reason, terms in lexicon.items() if reason not in ("asks", "excuses")}
        self.reasons["listed"] = _terms(config.extra)
        self.asks, self.excuses = lexicon["asks"], lexicon["excuses"]

    def check(self, record: Record) -> Sequence[Flaw]:
        answers = [(index, answer) for index, answer in enumerate(record.answers) if _is_learnt(answer)]
        if answers and all(refusal(answer.text) is not None for _, answer in answers):
            return []
        asked = "" if self.config.answers_only else record.asked
        flaws = [Flaw(reason, f"{terms} in the prompt") for reason, terms in self.found(asked)]
        for index, answer in answers:
            if refusal(answer.text) is None:
                said = self.found(answer.text)
                flaws += [Flaw(reason, f"{terms} in an answer", answer=index) for reason, terms in said]
        return flaws

    def found(self, text: str) -> Iterator[tuple[str, str]]:
        """Reasons of a text with how many terms it has of each."""
        words = _WORD.findall(text.lower().replace("’", "").replace("'", ""))
        for reason, terms in self.reasons.items():
            weights = _weights(words, terms)
            if weights and self._score(reason, weights, words) >= self.config.threshold:
                yield reason, f"{len(weights)} term{'s' if len(weights) > 1 else ''}"

    def _score(self, reason: str, weights: Sequence[float], words: list[str]) -> float:
        total = sum(weights)
        if reason != "hazard":
            return total
        if not _weights(words, self.asks):
            return 0.0
        return total + MILD - MILD * len(_weights(words, self.excuses))


def _is_learnt(answer: Answer) -> bool:
    return answer.worth is None or answer.worth > 0


def _weights(words: list[str], terms: Terms) -> list[float]:
    """Of each different term that is there."""
    found: dict[tuple[str, ...], float] = {}
    for at, word in enumerate(words):
        for phrase, weight in (terms.get(word) or terms.get(word.removesuffix("s")) or {}).items():
            *first, last = phrase
            end = at + len(first)
            if words[at + 1 : end] == first[1:] and (not first or words[end : end + 1] in ([last], [f"{last}s"])):
                found[phrase] = weight
    return list(found.values())


def _terms(weights: Mapping[str, float]) -> Terms:
    by_first: dict[str, dict[tuple[str, ...], float]] = {}
    for term, weight in weights.items():
        words = tuple(_WORD.findall(term.lower().replace("'", "")))
        by_first.setdefault(words[0], {})[words] = weight
    return by_first


@cache
def _lexicon() -> Mapping[str, Terms]:
    table = tomllib.loads(files(__package__).joinpath("unsafe_terms.toml").read_text(encoding="utf-8"))
    weights = {"strong": STRONG, "mild": MILD, "terms": MILD}
    return {
        reason: _terms({term: weights[weight] for weight, terms in by_weight.items() for term in terms})
        for reason, by_weight in table.items()
    }
