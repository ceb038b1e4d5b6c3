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
    form = _form(sets) | _form(other_sets)
    sets = [grams - form or grams for grams in sets]
    other_sets = [grams - form or grams for grams in other_sets]
    count = Counter(gram for grams in (sets if within else [*sets, *other_sets]) for gram in grams)
    holders: defaultdict[str, list[int]] = defaultdict(list)
    for index, grams in enumerate(other_sets):
        for gram in _rarest(grams, count):
            holders[gram].append(index)
    for index, (prompt, grams) in enumerate(zip(prompts, sets, strict=True)):
        candidates = {at for gram in _rarest(grams, count) for at in holders[gram] if not within or at > index}
        for at in sorted(candidates):
            shared = len(grams & other_sets[at])
            similarity = shared / (len(grams) + len(other_sets[at]) - shared)
            if similarity >= NEAR:
                yield Overlap(prompt, others[at], similarity, prompt.question == others[at].question)


def text_of(prompt: Prompt) -> str:
    """What the prompt asks, without system messages, which prompts share. Raw text has no messages: what it is and what
    continues it are in target and reference."""
    asked = [str(message.get("content") or "") for message in prompt.messages if message.get("role") != "system"]
    return "\n".join(asked if prompt.messages else [prompt.target, prompt.reference or ""])


@lru_cache(maxsize=1 << 15)  # a suite's items are held against the training prompts of many others
def ngrams(text: str) -> frozenset[str]:
    """The WORDS-grams of a text's words, up to case and punctuation; of a text without words, the text."""
    words = re.findall(r"\w+", text.casefold()) or [text.strip()]
    return frozenset(" ".join(words[start : start + WORDS]) for start in range(max(1, len(words) - WORDS + 1)))


def _form(sets: Sequence[frozenset[str]]) -> frozenset[str]:
    count = Counter(gram for grams in sets for gram in grams)
    return frozenset(gram for gram, number in count.items() if len(sets) >= MANY and number > len(sets) / 2)


def _rarest(grams: frozenset[str], count: Counter[str]) -> list[str]:
    ordered = sorted(grams, key=lambda gram: (count[gram], gram))
    return ordered[: len(grams) - math.ceil(NEAR * len(grams)) + 1]
