"""Estimates of label noise hold what was planted, as often as they say."""

from __future__ import annotations

import numpy as np
import pytest

from harness.label_noise import Noise, judge_noise, predicted_bound, recommended, reference_noise, repeat_noise
from harness.types import Completion, Group, Prompt, Sampling, Score, ScoredGroup

RATES = [0.0, 0.1, 0.2, 0.3]
RUNS = 200


def names(count: int) -> list[str]:
    return [str(number) for number in range(count)]


@pytest.mark.parametrize("rate", RATES)
def test_repeated_labels_hold_the_rate_as_often_as_the_level_says(rate: float) -> None:
    """Both bounds are at 5%, so 90% are to hold it; 200 simulated ones have a standard error of 2%."""
    rng = np.random.default_rng(0)
    held, estimates = 0, []
    for _ in range(RUNS):
        votes = rng.binomial(2, rate, size=300)
        noise = repeat_noise([(2 - int(v), int(v)) for v in votes], names(300))
        assert noise is not None
        held += noise.lower <= rate <= noise.upper
        estimates.append(noise.rate)
    assert held / RUNS > 0.84
    assert np.mean(estimates) == pytest.approx(rate, abs=0.01)


def test_many_labels_of_a_pair_by_hand() -> None:
    """2 of 3 pairs of labels differ, 0 of 1 do: d = 1/3, so e = (1 - sqrt(1/3)) / 2; a single label says nothing."""
    noise = repeat_noise([(2, 1), (0, 2), (1, 0)], names(3))
    assert noise is not None
    assert noise.rate == pytest.approx((1 - (1 / 3) ** 0.5) / 2)
    assert noise.n == 2


def test_what_is_not_identified_is_no_estimate() -> None:
    assert repeat_noise([(1, 0)] * 50, names(50)) is None
    assert repeat_noise([(1, 1)] * 50, names(50)) is None, "those that agree were taken out"
    assert reference_noise([], [], error=0.1) is None
    assert judge_noise([]) is None
    with pytest.raises(ValueError, match="outside"):
        reference_noise([True], ["a"], error=0.5)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("error", [0.0, 0.1])
def test_a_reference_judge_whose_error_is_known(rate: float, error: float) -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(RUNS):
        agrees = (rng.random(400) < rate) == (rng.random(400) < error)
        noise = reference_noise(agrees.tolist(), names(400), error=error)
        assert noise is not None
        held += noise.lower <= rate <= noise.upper
    assert held / RUNS > 0.84


def scored(number: int, values: list[list[float | None]]) -> ScoredGroup:
    """`values[g][j]` is what judge j gives completion g."""
    group = Group(Prompt(str(number), ()), (), tuple(Completion("", ()) for _ in values), "base", Sampling())
    verdicts = tuple(
        tuple(Score(f"j{j}", v) if v is not None else Score.abstained(f"j{j}") for j, v in enumerate(row))
        for row in values
    )
    return ScoredGroup(group, verdicts, tuple(None for _ in values))


def test_judges_of_scored_groups() -> None:
    """Judge 1 disagrees with judge 0 on one pair of three; ties and what one of them did not score say nothing."""
    groups = [
        scored(0, [[1.0, 0.2], [0.5, 0.4], [0.0, 0.1]]),
        scored(1, [[1.0, None], [0.0, 1.0]]),
        scored(2, [[1, 1]]),
    ]
    noise = judge_noise(groups)
    assert noise is not None
    assert noise.n == 3
    assert noise.rate == pytest.approx((1 - (1 - 2 / 3) ** 0.5) / 2)
    rng = np.random.default_rng(2)
    flips = rng.random((500, 2)) < 0.2
    noisy = [scored(n, [[float(not a), float(not b)], [float(a), float(b)]]) for n, (a, b) in enumerate(flips)]
    found = judge_noise(noisy)
    assert found is not None
    assert found.lower <= 0.2 <= found.upper


@pytest.mark.parametrize("rate", RATES)
def test_a_predictor_bounds_the_rate_and_nears_it_where_it_is_sure(rate: float) -> None:
    """One feature tells some pairs apart for certain, the other says little; the third, nothing."""
    held, bounds = 0, []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x = np.stack([3.0 * (rng.random(1500) < 0.4), rng.normal(0.3, 1.0, 1500), rng.normal(size=1500)], axis=1)
        x *= np.where(rng.random(1500) < rate, -1.0, 1.0)[:, None]
        bound = predicted_bound(x, (np.arange(1500) % 5).tolist())
        assert bound is not None
        held += bound >= rate
        bounds.append(bound)
    assert held >= 18
    assert np.mean(bounds) < rate + 0.1


def test_features_that_say_nothing_bound_nothing() -> None:
    x = np.random.default_rng(0).normal(size=(1000, 3))
    assert predicted_bound(x, (np.arange(1000) % 5).tolist()) is None


@pytest.mark.parametrize(
    ("rate", "objective", "config"),
    [
        (0.0, "dpo", {}),
        (0.03, "dpo", {"label_smoothing": 0.03}),
        (0.1, "robust_dpo", {"flip_rate": 0.1}),
        (0.3, "kto", {}),
        (0.5, "kto", {}),
    ],
)
def test_what_the_noise_sets_is_what_the_objective_takes(rate: float, objective: str, config: dict[str, float]) -> None:
    from harness.plugins import load_registry

    advice = recommended(Noise(rate, rate, rate, 100, "repeats"))
    assert (advice.objective, advice.config) == (objective, config)
    load_registry(third_party=False).config("objective", advice.objective, advice.config, where="")
    assert recommended(None).objective == "dpo"
