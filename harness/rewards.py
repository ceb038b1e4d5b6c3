"""Scores to reward: one number a completion, or None where it is not known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import Field

from harness.specs import Config
from harness.types import Score


class JudgingConfig(Config):
    """`[judging]`: how much of what is to be trained on may be missing."""

    max_failed: float = Field(
        default=0.1, ge=0, le=1, description="share of failed verdicts above which a round stops, to be resumed"
    )
    min_scored: float = Field(
        default=0.5, ge=0, le=1, description="a group with a smaller share of rewards known is not trained on"
    )


def reward(scores: Sequence[Score], weights: Mapping[str, float]) -> float | None:
    """Weighted mean over the judges named in `weights` (in [-1, 1]; within [0, 1] if no weight is negative).

    A judge that abstained is left out of the mean. If one *failed*, the reward is unknown: a mean over the others would
    depend on which judge happened to fail. None as well if every judge abstained.
    """
    counted = [(weights[score.judge], score) for score in scores if weights.get(score.judge, 0.0) != 0.0]
    if any(score.status == "failed" for _, score in counted):
        return None
    pairs = [(weight, score.value) for weight, score in counted if score.value is not None]
    if not pairs:
        return None
    return sum(weight * value for weight, value in pairs) / sum(abs(weight) for weight, _ in pairs)


def dropped_unless_enough(rewards: Sequence[float | None], min_scored: float) -> tuple[float | None, ...]:
    """The rewards, or none of them where too few are known: siblings that were not judged could be better or worse."""
    known = sum(value is not None for value in rewards)
    return tuple(rewards) if known >= min_scored * len(rewards) else (None,) * len(rewards)
