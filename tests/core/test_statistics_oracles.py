"""The estimator, the mean and kappa against statsmodels, and their error rates by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api as sm
from statsmodels.stats.inter_rater import cohens_kappa

from harness.agreement import cohen_kappa
from harness.statistics import mean_interval, paired_interval


def clustered(seed: int, *, clusters: int = 25, size: int = 4) -> tuple[np.ndarray, list[str]]:
    """Differences of -1, 0, 1 that lean one way within a cluster."""
    rng = np.random.default_rng(seed)
    leans = rng.normal(scale=0.8, size=clusters).repeat(size)
    values = np.sign(np.round(leans + rng.normal(scale=0.7, size=clusters * size)))
    return values, [f"c{i // size}" for i in range(clusters * size)]


def ols(values: np.ndarray, clusters: list[str]):  # type: ignore[no-untyped-def]
    """A mean as a regression on a constant, with clustered errors."""
    groups = np.unique(clusters, return_inverse=True)[1]
    return sm.OLS(values, np.ones(len(values))).fit(
        cov_type="cluster", cov_kwds={"groups": groups, "use_correction": True, "df_correction": True}, use_t=True
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("alpha", [0.05, 0.0304])
def test_the_interval_is_that_of_a_clustered_regression_on_a_constant(seed: int, alpha: float) -> None:
    """With the pseudo-items in its data. statsmodels corrects by C/(C-1) (n-1)/(n-k), and k = 1 makes that C/(C-1)."""
    values, clusters = clustered(seed)
    fitted = ols(np.append(values, [1.0, -1.0]), [*clusters, "plus", "minus"])
    ours = paired_interval(values.tolist(), clusters, alpha=alpha)
    assert ours.estimate == pytest.approx(fitted.params[0], rel=1e-12)
    assert ours.standard_error == pytest.approx(fitted.bse[0], rel=1e-12)
    assert (ours.lower, ours.upper) == pytest.approx(tuple(fitted.conf_int(2 * alpha)[0]), rel=1e-9)


def test_the_mean_of_scores_is_the_same_regression_with_pseudo_scores() -> None:
    values, clusters = clustered(9)
    scores = (values + 1) / 2
    low, high = ols(np.append(scores, [1.0, 0.0]), [*clusters, "one", "zero"]).conf_int(0.05)[0]
    ours = mean_interval(scores.tolist(), clusters, alpha=0.025)
    assert (ours.lower, ours.upper) == pytest.approx((low, high), rel=1e-9)


def test_kappa_and_its_error_for_many_items() -> None:
    """statsmodels gives the variance of Fleiss, Cohen and Everitt; ours has two more items in it, which are nothing
    among 3000, and the t quantile, which is the normal's."""
    rng = np.random.default_rng(3)
    first = rng.integers(0, 3, size=3000)
    second = np.where(rng.random(3000) < 0.6, first, rng.integers(0, 3, size=3000))
    table = np.zeros((3, 3))
    np.add.at(table, (first, second), 1)
    oracle = cohens_kappa(table)
    pairs = [(str(a), str(b)) for a, b in zip(first, second, strict=True)]
    ours = cohen_kappa(pairs, [str(i) for i in range(3000)], ["0", "1", "2"], alpha=0.025)
    assert ours is not None
    assert ours.estimate == pytest.approx(oracle.kappa, abs=1e-12)
    assert ours.standard_error == pytest.approx(oracle.std_kappa, rel=5e-3)
    assert (ours.lower, ours.upper) == pytest.approx((oracle.kappa_low, oracle.kappa_upp), abs=2e-3)


@pytest.mark.parametrize(("clusters", "size"), [(20, 5), (60, 3), (200, 1)])
def test_type_one_errors_with_clusters_stay_near_the_level(clusters: int, size: int) -> None:
    """No true difference, items of a cluster that go together: the bound exceeds 0 in about 5% of samples."""
    rng = np.random.default_rng(clusters)
    names = [str(i // size) for i in range(clusters * size)]
    trials, hits = 1500, 0
    for _ in range(trials):
        leans = rng.choice([-1.0, 1.0], size=clusters).repeat(size)
        flips = rng.choice([0.0, 1.0], size=clusters * size, p=[0.7, 0.3])
        together = np.where(rng.random(clusters * size) < 0.75, leans, -leans)
        hits += paired_interval((flips * together).tolist(), names, alpha=0.05).lower > 0
    assert 0.02 <= hits / trials <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)


def test_without_clusters_the_same_samples_are_found_too_often() -> None:
    """What the clusters are for: the error that treats such items as independent is far too small."""
    rng = np.random.default_rng(20)
    hits = 0
    for _ in range(600):
        leans = rng.choice([-1.0, 1.0], size=20).repeat(10)
        flips = rng.choice([0.0, 1.0], size=200, p=[0.4, 0.6])
        hits += paired_interval((flips * leans).tolist(), [str(i) for i in range(200)], alpha=0.05).lower > 0
    assert hits / 600 > 0.15
