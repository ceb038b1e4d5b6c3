"""Scores to reward: one number a completion, or None where it is not known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.types import Score


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
