"""Judges that need no answer to compare with: `length` and `repetition`."""

from __future__ import annotations

from collections.abc import Sequence

from harness.types import Completion, Score
from harness_judges.bounds import within
from harness_judges.pointwise import PointwiseJudge, for_every_prompt
from harness_judges.settings import LengthConfig, RepetitionConfig, Unit


def split_units(completion: Completion, unit: Unit) -> Sequence[str] | Sequence[int]:
    """The completion in characters, words (divided by white space) or token ids (the end-of-turn token included)."""
    match unit:
        case "characters":
            return completion.text
        case "words":
            return completion.text.split()
        case "tokens":
            return completion.token_ids


def length_judge(config: LengthConfig) -> PointwiseJudge:
    """1 within `min` and `max` (inclusive); d units outside it is max(0, 1 - d / falloff), or 0 without a falloff.

    Labels: ok, too_short, too_long.
    """

    def score(completion: Completion) -> Score:
        length = len(split_units(completion, config.unit))
        value, side = within(length, config.min, config.max, config.falloff)
        if side == "within":
            return Score("length", value, label="ok")
        low = side == "below"
        bound, label = (f"at least {config.min}", "too_short") if low else (f"at most {config.max}", "too_long")
        why = f"{length} {config.unit} where {bound} are asked for"
        return Score("length", value, label=label, explanation=why)

    return PointwiseJudge(for_every_prompt(score))


def repetition_judge(config: RepetitionConfig) -> PointwiseJudge:
    """Distinct n-grams over all n-grams: 1 if none comes twice, near 0 for a loop (Li et al. 2016, arXiv:1510.03055,
    "distinct-n"). 1 as well where there are too few units to repeat any. Labels: ok, repeated.
    """

    def score(completion: Completion) -> Score:
        units = split_units(completion, config.unit)
        total = len(units) - config.n + 1
        if total < 1:
            return Score("repetition", 1.0, label="ok", explanation=f"fewer than {config.n} {config.unit}")
        distinct = len({tuple(units[start : start + config.n]) for start in range(total)})
        if distinct == total:
            return Score("repetition", 1.0, label="ok")
        why = f"{total - distinct} of {total} {config.n}-grams of {config.unit} are repeated"
        return Score("repetition", distinct / total, label="repeated", explanation=why)

    return PointwiseJudge(for_every_prompt(score))
