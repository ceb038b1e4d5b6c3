"""The `repetition` filter: the rules of Gopher's data, from lengths on at which they mean something.

Rae et al. 2021 (arXiv:2112.11446, table A1). Code, JSON, tables and formulas repeat themselves and are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from harness.data.record import Flaw, Record
from harness_plugins.filters.quality.configs import RepetitionConfig
from harness_plugins.filters.quality.text import learnt, prose, units

LINES, LINE_CHARACTERS = 0.30, 0.20
"""Share of the lines (or paragraphs) that were there before, and of the characters in them."""
TOP = {2: 0.20, 3: 0.18, 4: 0.16}
"""Share of the characters in the most frequent n-gram."""
DUPLICATE = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
"""Share of the characters in n-grams that come more than once."""
TOP_COUNT = 4
"""An n-gram that comes less often is no loop. In a document the bound on the share sees to that, in an answer not."""
LONG = 200
"""Words from which on the bounds on n-grams are those of the paper. Of fewer words any run that comes twice is a large
part, so that the bounds grow as the words get fewer."""
LOOSEST = 0.6
"""What they grow to."""


class RepetitionFilter:
    """Looks at the prose of answers that are to be learnt."""

    def __init__(self, config: RepetitionConfig) -> None:
        self.config = config

    def check(self, record: Record) -> Sequence[Flaw]:
        said = ((index, self._said(prose(text))) for index, text in learnt(record))
        return [Flaw(flaw[0], flaw[1], answer=index) for index, flaw in said if flaw is not None]

    def _said(self, text: str) -> tuple[str, str] | None:
        """The first reason, and what exactly."""
        return self._lines(text) or self._words(units(text))

    def _lines(self, text: str) -> tuple[str, str] | None:
        for reason, mark in (("duplicate_paragraphs", "\n\n"), ("duplicate_lines", "\n")):
            if text.count(mark) < self.config.min_lines - 1:
                continue
            pieces = [piece for part in text.split(mark) if (piece := part.strip())]
            if len(pieces) < self.config.min_lines or len(set(pieces)) == len(pieces):
                continue
            share, characters = duplicate_shares(pieces)
            if share > LINES * self.config.scale:
                return reason, f"{share:.0%} of {len(pieces)}"
            if characters > LINE_CHARACTERS * self.config.scale:
                return reason, f"{characters:.0%} of the characters"
        return None

    def _words(self, words: Sequence[str]) -> tuple[str, str] | None:
        if len(words) < self.config.min_words:
            return None
        # What is in no pair of words that comes twice is in no longer run that does.
        most = max(Counter(pairwise(words)).values())
        if most == 1:
            return None
        total = sum(map(len, words))
        slack = self.config.scale * max(1.0, LONG / len(words))
        for n, bound in TOP.items() if most >= TOP_COUNT else ():
            if (share := top_share(words, n, total)) > min(bound * slack, LOOSEST * self.config.scale):
                return "top_ngram", f"{share:.0%} in one run of {n} words"
        for n, bound in DUPLICATE.items():
            share = duplicate_share(words, n, total)
            if share > min(bound * slack, LOOSEST * self.config.scale):
                return "duplicate_ngrams", f"{share:.0%} in runs of {n} words"
            if share == 0:
                return None
        return None


def duplicate_shares(pieces: Sequence[str]) -> tuple[float, float]:
    """Share of the pieces that were there before, and of the characters in those."""
    seen: set[str] = set()
    again = [piece for piece in pieces if piece in seen or seen.add(piece)]  # type: ignore[func-returns-value]
    return len(again) / len(pieces), sum(map(len, again)) / sum(map(len, pieces))


def top_share(words: Sequence[str], n: int, total: int) -> float:
    """Share of the characters of words (`total` of them) in the most frequent n-gram; 0 if it comes too seldom."""
    gram, count = Counter(zip(*(words[start:] for start in range(n)), strict=False)).most_common(1)[0]
    return count * sum(map(len, gram)) / total if count >= TOP_COUNT else 0.0


def duplicate_share(words: Sequence[str], n: int, total: int) -> float:
    """Share of the characters of words (`total` of them) in n-grams that come more than once, each counted once."""
    grams = list(zip(*(words[start:] for start in range(n)), strict=False))
    counts = Counter(grams)
    if len(counts) == len(grams):
        return 0.0
    inside = 0
    covered = 0  # words before this index are counted
    for start, gram in enumerate(grams):
        if counts[gram] > 1:
            inside += sum(map(len, words[max(start, covered) : start + n]))
            covered = start + n
    return inside / total
