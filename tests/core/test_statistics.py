from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from harness.statistics import mean_interval, paired_interval, two_look_level


def test_without_clusters_it_is_the_t_interval_of_the_smoothed_sample() -> None:
    rng = np.random.default_rng(0)
    d = rng.choice([-1, 0, 1], size=50, p=[0.1, 0.7, 0.2]).astype(float)
    smoothed = np.append(d, [1.0, -1.0])
    oracle = stats.ttest_1samp(smoothed, 0.0, alternative="greater").confidence_interval(0.95)
    ours = paired_interval(list(d), [str(i) for i in range(50)], alpha=0.05)
    assert ours.estimate == pytest.approx(smoothed.mean())
    assert ours.lower == pytest.approx(oracle.low, rel=1e-9)
    assert ours.n == 50


def test_clusters_by_hand() -> None:
    """Two clusters of two items and two pseudo-items: the sandwich formula written out."""
    d, clusters = [1.0, 0.0, 0.0, 1.0], ["a", "a", "b", "b"]
    mean = 2 / 6
    sums = [1 - 2 * mean, 1 - 2 * mean, 1 - mean, -1 - mean]
    error = math.sqrt(4 / 3 * sum(s * s for s in sums)) / 6
    ours = paired_interval(d, clusters, alpha=0.05)
    assert ours.standard_error == pytest.approx(error)
    assert ours.upper == pytest.approx(mean + stats.t.ppf(0.95, 3) * error)


def test_identical_items_in_one_cluster_count_once() -> None:
    """Copies of an item are no evidence: ten clusters of ten copies are about as wide as ten items."""
    values = [1.0, 0.0] * 5
    single = paired_interval(values, [str(i) for i in range(10)], alpha=0.05)
    copied = paired_interval(
        [v for v in values for _ in range(10)], [str(i) for i in range(10) for _ in range(10)], alpha=0.05
    )
    naive = paired_interval([v for v in values for _ in range(10)], [str(i) for i in range(100)], alpha=0.05)
    assert copied.standard_error > 2.5 * naive.standard_error
    assert copied.standard_error == pytest.approx(single.standard_error, rel=0.35)


@pytest.mark.parametrize(("n", "p"), [(20, 0.05), (50, 0.05), (100, 0.2), (400, 0.02)])
def test_false_promotion_rate_stays_near_the_level(n: int, p: float) -> None:
    """Differences that are +1 and -1 equally often: the lower bound exceeds 0 in at most about 5% of samples."""
    rng = np.random.default_rng(n)
    names = [str(i) for i in range(n)]
    trials = 2000
    hits = sum(
        paired_interval(list(rng.choice([-1.0, 0.0, 1.0], size=n, p=[p / 2, 1 - p, p / 2])), names, alpha=0.05).lower
        > 0
        for _ in range(trials)
    )
    assert hits / trials <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)


def test_mean_interval_is_within_the_scale_and_never_certain() -> None:
    interval = mean_interval([1.0] * 30, [str(i) for i in range(30)], alpha=0.025)
    assert 0.8 < interval.lower < interval.estimate < 1.0
    assert interval.upper == 1.0


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="3 differences but 2 clusters"):
        paired_interval([0, 0, 0], ["a", "b"], alpha=0.05)


@pytest.mark.parametrize(
    ("alpha", "level"),
    # Two-sided nominal levels of Pocock (1977, table 1) for two looks, halved: .05, .1 and .01 two-sided.
    [(0.025, 0.0294 / 2), (0.05, 0.0607 / 2), (0.005, 0.0056 / 2)],
)
def test_the_level_of_two_looks_is_pococks(alpha: float, level: float) -> None:
    assert two_look_level(alpha, 0.5) == pytest.approx(level, abs=6e-5)


@pytest.mark.parametrize("first", [0.3, 0.5, 0.8])
def test_two_looks_together_have_the_level(first: float) -> None:
    rng = np.random.default_rng(3)
    z = rng.standard_normal((400_000, 2))
    seen = np.stack([z[:, 0], math.sqrt(first) * z[:, 0] + math.sqrt(1 - first) * z[:, 1]], axis=1)
    bound = stats.norm.isf(two_look_level(0.05, first))
    assert (seen > bound).any(axis=1).mean() == pytest.approx(0.05, abs=0.0015)


def test_two_looks_at_one_item_or_all_of_them_are_one_or_two_tests() -> None:
    assert two_look_level(0.05, 1 - 1e-9) == pytest.approx(0.05, abs=1e-3)
    assert two_look_level(0.05, 1e-9) == pytest.approx(1 - math.sqrt(0.95), abs=1e-3)
