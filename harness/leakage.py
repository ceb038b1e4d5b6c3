"""Training data that repeats what a suite holds out, found in an index of all its items that is built once.

    prompt   it asks the very same (`Prompt.question`)
    near     it asks nearly the same, by the rules of harness/overlap.py
    ngram    it asks or answers with NGRAM words in a row that an item asks with or is answered with

The last is the rule of Brown et al. (2020, "Language Models are Few-Shot Learners", appendix C), up to case and
punctuation. As there, what is common does not count. An n-gram is left out if it holds WORDS words in a row that more
than COMMON prompts of its suite hold: they are an instruction, and what begins beside one is no more of a secret. So
is one that the suite's own training prompts hold, since the suite gives it away. Texts of fewer words have no n-gram;
the first two kinds find them.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from harness.overlap import WORDS, NearIndex, form_of, grams_of, text_of, words_of
from harness.protocols import Suite
from harness.types import Prompt

LeakKind = Literal["prompt", "near", "ngram"]
KINDS: tuple[LeakKind, ...] = get_args(LeakKind)
NGRAM = 13
"""Words in an n-gram of the last kind."""
COMMON = 10
"""Clusters of items, and training prompts, of a suite that may hold the same WORDS words. Items of one cluster may ask
about one passage, which is held out however often it is asked about."""


@dataclass(frozen=True, slots=True)
class Leak:
    """A held-out item that training data repeats. `similarity`: 1 for an equal question, the Jaccard index of 5-grams
    for a near one, else the share of the item's n-grams that are repeated."""

    suite: str
    item: str
    kind: LeakKind
    similarity: float


class LeakIndex:
    """All held-out items of these suites."""

    def __init__(self, suites: Sequence[Suite]) -> None:
        self._items = [(suite.name, item) for suite in suites for item in suite.items]
        self._questions: defaultdict[str, list[int]] = defaultdict(list)
        self._texts = {text_of(item) for _, item in self._items if item.messages}
        for number, (_, item) in enumerate(self._items):
            self._questions[item.question].append(number)
        self._near: list[tuple[int, NearIndex]] = []
        self._suites_of: defaultdict[str, list[int]] = defaultdict(list)
        self._ngrams: defaultdict[str, list[int]] = defaultdict(list)
        self._sizes: Counter[int] = Counter()
        first = 0
        for suite in suites:
            self._add_near(suite, first)
            self._add_ngrams(suite, first)
            first += len(suite.items)

    def leaks(self, prompt: Prompt, answers: Sequence[str] = ()) -> list[Leak]:
        """Every item that the prompt or its answers repeat, in the order of the items, each with the first kind of
        KINDS that it is found by. Raw text, a prompt without messages, is what its answers say."""
        found: dict[int, tuple[LeakKind, float]] = {}
        asked = [prompt] if prompt.messages or not answers else [replace(prompt, reference=text) for text in answers]
        for one in asked:
            for number in self._equal(one):
                found.setdefault(number, ("prompt", 1.0))
        for one in asked:
            for number, similarity in self._similar(text_of(one)):
                found.setdefault(number, ("near", similarity))
        said = [*_texts(prompt), *answers] if prompt.messages else [text_of(one) for one in asked]
        for number, share in self._repeated(said):
            found.setdefault(number, ("ngram", share))
        return [Leak(self._items[n][0], self._items[n][1].id, *found[n]) for n in sorted(found)]

    # ------------------------------------------------------------ looking up

    def _equal(self, prompt: Prompt) -> Sequence[int]:
        if prompt.messages and text_of(prompt) not in self._texts:  # tells most apart without a digest
            return ()
        try:
            return self._questions.get(prompt.question, ())
        except (TypeError, ValueError):  # its tools are none, and no item's
            return ()

    def _similar(self, text: str) -> Iterator[tuple[int, float]]:
        if not text.strip():
            return
        grams = grams_of(text)
        suites = {at for gram in grams if gram in self._suites_of for at in self._suites_of[gram]}
        for at in sorted(suites):
            first, index = self._near[at]
            for number, similarity in index.near(grams):
                yield first + number, similarity

    def _repeated(self, texts: Sequence[str]) -> Iterator[tuple[int, float]]:
        hits = {gram for text in texts for gram in _runs(words_of(text), NGRAM) if gram in self._ngrams}
        for number, count in Counter(number for gram in hits for number in self._ngrams[gram]).items():
            yield number, count / self._sizes[number]

    # ------------------------------------------------------------ building

    def _add_near(self, suite: Suite, first: int) -> None:
        sets = [grams_of(text_of(item)) for item in suite.items]
        form = form_of(sets) | form_of([grams_of(text_of(prompt)) for prompt in suite.train])
        for gram in set().union(*sets):
            self._suites_of[gram].append(len(self._near))
        self._near.append((first, NearIndex(sets, form)))

    def _add_ngrams(self, suite: Suite, first: int) -> None:
        trained = [_held(prompt) for prompt in suite.train]
        given = {gram for texts in trained for words in texts for gram in _runs(words, NGRAM)}
        common = _common(suite, [_held(item) for item in suite.items], trained)
        for number, item in enumerate(suite.items, start=first):
            grams = {gram for words in _held(item) for gram in _uncommon(words, common)} - given
            self._sizes[number] = len(grams)
            for gram in grams:
                self._ngrams[gram].append(number)


def _common(suite: Suite, items: Sequence[list[list[str]]], trained: Sequence[list[list[str]]]) -> set[str]:
    """What more than COMMON clusters of items and training prompts hold, in runs of WORDS words."""
    holders: defaultdict[str, set[str]] = defaultdict(set)
    for item, texts in zip(suite.items, items, strict=True):
        for gram in (gram for words in texts for gram in _runs(words, WORDS)):
            holders[gram].add(item.cluster or item.id)
    count = Counter({gram: len(clusters) for gram, clusters in holders.items()})
    for texts in trained:
        count.update({gram for words in texts for gram in _runs(words, WORDS) if gram in holders})
    return {gram for gram, number in count.items() if number > COMMON}


def _uncommon(words: Sequence[str], common: Collection[str]) -> Iterator[str]:
    """The n-grams without any common run."""
    last = -1  # start of the last common run
    for start, run in enumerate(_runs(words, WORDS)):
        last = start if run in common else last
        first = start + WORDS - NGRAM
        if first >= 0 and last < first:
            yield " ".join(words[first : start + WORDS])


def _held(item: Prompt) -> list[list[str]]:
    """The words of what it asks and of its gold answers, by text."""
    texts = [*_texts(item), *_strings(json.loads(item.target or "null")), item.reference or ""]
    return [words_of(text) for text in texts]


def _texts(prompt: Prompt) -> list[str]:
    return [str(message.get("content") or "") for message in prompt.messages if message.get("role") != "system"]


def _strings(value: Any) -> Iterator[str]:
    """All of them in a JSON value, but not keys."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _strings(part)


def _runs(words: Sequence[str], length: int) -> Iterator[str]:
    return (" ".join(words[start : start + length]) for start in range(len(words) - length + 1))
