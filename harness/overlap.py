"""Prompts that ask the same, or nearly the same: what must not be on both sides of a split, nor twice on one.

Two prompts are exact copies if `Prompt.question` is equal. They are near copies if the same words are left when case
and punctuation are not, or if their sets of word 5-grams have a Jaccard index (Broder 1997, "resemblance") of at least
NEAR. The search is exact: sets with an index of t or more share one of the rarest |A| - ceil(t |A|) + 1 members of each
(the prefix filter of Chaudhuri, Ganti and Kaushik 2006), so few pairs are ever compared.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from harness.types import Prompt

NEAR = 0.7
"""What one changed word leaves of a text of 33 words; of a longer one it leaves more, at the ends of a text as well."""
WORDS = 5
"""In an n-gram. A text with fewer has one n-gram, all of it."""
MANY = 20
"""Of so many prompts, what more than half of them hold is an instruction or an example before each question.
It is left out, unless a prompt holds nothing else."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two prompts and the Jaccard index of their n-grams. `exact`: they ask the very same, tools and all."""

    one: Prompt
    other: Prompt
    similarity: float
    exact: bool


def overlaps(prompts: Sequence[Prompt], others: Sequence[Prompt] | None = None) -> Iterator[Overlap]:
    """Every exact or near pair of a prompt and another; without `others`, of two prompts of the one sequence."""
    within = others is None
    others = prompts if others is None else others
    sets = [ngrams(text_of(prompt)) for prompt in prompts]
    other_sets = sets if within else [ngrams(text_of(prompt)) for prompt in others]
    index = NearIndex(other_sets, form_of(sets) | form_of(other_sets))
    for number, (prompt, grams) in enumerate(zip(prompts, sets, strict=True)):
        for at, similarity in index.near(grams):
            if not within or at > number:
                yield Overlap(prompt, others[at], similarity, prompt.question == others[at].question)


class NearIndex:
    """Sets of n-grams, in which those that are near to another are found. `form` is left out of all of them."""

    def __init__(self, sets: Sequence[frozenset[str]], form: frozenset[str] = frozenset()) -> None:
        self.form = form
        self._sets = [grams - form or grams for grams in sets]
        self._count = Counter(gram for grams in self._sets for gram in grams)
        self._holders: defaultdict[str, list[int]] = defaultdict(list)
        for index, grams in enumerate(self._sets):
            for gram in self._rarest(grams):
                self._holders[gram].append(index)

    def near(self, grams: frozenset[str]) -> Iterator[tuple[int, float]]:
        """Index and similarity of each set that is near to this one, in their order."""
        grams = grams - self.form or grams
        if sum(gram in self._count for gram in grams) < _needed(grams):
            return
        candidates = {at for gram in self._rarest(grams) for at in self._holders.get(gram, ())}
        for at in sorted(candidates):
            shared = len(grams & self._sets[at])
            similarity = shared / (len(grams) + len(self._sets[at]) - shared)
            if similarity >= NEAR:
                yield at, similarity

    def _rarest(self, grams: frozenset[str]) -> list[str]:
        ordered = sorted(grams, key=lambda gram: (self._count[gram], gram))
        return ordered[: len(grams) - _needed(grams) + 1]


def text_of(prompt: Prompt) -> str:
    """What the prompt asks, without system messages, which prompts share. Raw text has no messages: what it is and what
    continues it are in target and reference."""
    asked = [str(message.get("content") or "") for message in prompt.messages if message.get("role") != "system"]
    return "\n".join(asked if prompt.messages else [prompt.target, prompt.reference or ""])


def words_of(text: str) -> list[str]:
    """Its words, up to case and punctuation."""
    return re.findall(r"\w+", text.casefold())


def grams_of(text: str) -> frozenset[str]:
    """The WORDS-grams of a text's words; of a text without words, the text."""
    words = words_of(text) or [text.strip()]
    return frozenset(" ".join(words[start : start + WORDS]) for start in range(max(1, len(words) - WORDS + 1)))


ngrams = lru_cache(maxsize=1 << 15)(grams_of)
"""Kept: a suite's items are held against the training prompts of many others."""


def form_of(sets: Sequence[frozenset[str]]) -> frozenset[str]:
    """What more than half of them hold, if there are MANY."""
    count = Counter(gram for grams in sets for gram in grams)
    return frozenset(gram for gram, number in count.items() if len(sets) >= MANY and number > len(sets) / 2)


def _needed(grams: frozenset[str]) -> int:
    """So many of them a set must hold to be near."""
    return math.ceil(NEAR * len(grams))
