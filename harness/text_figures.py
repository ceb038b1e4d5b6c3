"""What can be told from the answers of a policy without judging them: length, variety, repetition, refusals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.refusals import refusal
from harness.types import ScoredGroup


@dataclass(frozen=True, slots=True)
class TextFigures:
    """Of one arm's answers. Shares are of completions; None where there is nothing to take a share of."""

    tokens: float
    """Mean length in tokens."""
    distinct_1: float | None
    distinct_2: float | None
    """Distinct n-grams of words over all n-grams (Li et al. 2016, arXiv:1510.03055)."""
    repeated_4: float | None
    """Share of the 4-grams of words that their own completion has already held."""
    refused: float
    empty: float
    truncated: float


def text_figures(groups: Sequence[ScoredGroup]) -> TextFigures:
    """Raises ValueError where there is no completion."""
    answers = [completion for scored in groups for completion in scored.group.completions]
    if not answers:
        raise ValueError("no completions")
    words = [answer.text.casefold().split() for answer in answers]
    fours = [_ngrams(w, 4) for w in words]
    return TextFigures(
        tokens=sum(len(answer.token_ids) for answer in answers) / len(answers),
        distinct_1=_distinct([gram for w in words for gram in _ngrams(w, 1)]),
        distinct_2=_distinct([gram for w in words for gram in _ngrams(w, 2)]),
        repeated_4=_share(sum(len(f) - len(set(f)) for f in fours), sum(map(len, fours))),
        refused=sum(refusal(answer.text) is not None for answer in answers) / len(answers),
        empty=sum(not answer.text.strip() for answer in answers) / len(answers),
        truncated=sum(answer.finish_reason == "length" for answer in answers) / len(answers),
    )


def _ngrams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]


def _distinct(grams: Sequence[tuple[str, ...]]) -> float | None:
    return _share(len(set(grams)), len(grams))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
