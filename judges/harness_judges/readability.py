"""The `readability` judge: is the text as easy to read as it should be?"""

from __future__ import annotations

from functools import lru_cache

from harness.types import Completion, Score
from harness_judges import prose
from harness_judges.bounds import within
from harness_judges.pointwise import PointwiseJudge, for_every_prompt
from harness_judges.settings import ReadabilityConfig

NAME = "readability"


def grade(text: str) -> float | None:
    """Flesch-Kincaid grade level (Kincaid et al. 1975, Research Branch Report 8-75), in US school years: 0.39 words a
    sentence + 11.8 syllables a word - 15.59. None where there is no word. English alone: syllables are syllapy's.
    """
    words = prose.words(text)
    if not words:
        return None
    syllables = sum(map(_syllables, words))
    return 0.39 * len(words) / len(prose.sentences(text)) + 11.8 * syllables / len(words) - 15.59


@lru_cache(maxsize=1 << 16)
def _syllables(word: str) -> int:
    import syllapy

    return max(1, int(syllapy.count(word)))


def readability_judge(config: ReadabilityConfig) -> PointwiseJudge:
    """1 where the grade is within `min` and `max` (inclusive), falling outside as the judge `length` does.

    Labels: ok, too_simple, too_hard. Abstains where there is no word.
    """

    def score(completion: Completion) -> Score:
        found = grade(completion.text)
        if found is None:
            return Score.abstained(NAME, "there are no words")
        value, side = within(found, config.min, config.max, config.falloff)
        label = {"below": "too_simple", "within": "ok", "above": "too_hard"}[side]
        return Score(NAME, value, label=label, explanation=f"grade {found:.1f}")

    return PointwiseJudge(for_every_prompt(score))
