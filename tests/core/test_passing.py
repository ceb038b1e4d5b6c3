from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from harness.passing import pass_at_k, pass_hat_k, passing
from harness.statistics import clustered_error, estimate, share_interval
from harness.types import ItemResult


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7])
def test_both_are_the_mean_over_all_subsets(n: int) -> None:
    for c in range(n + 1):
        answers = [True] * c + [False] * (n - c)
        for k in range(1, n + 1):
            subsets = list(combinations(answers, k))
            assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))
            assert pass_hat_k(n, c, k) == pytest.approx(sum(map(all, subsets)) / len(subsets))


def test_what_chen_et_al_compute() -> None:
    """Their numerically stable form: 1 - prod(1 - k / i for i in n - c + 1 .. n)."""
    for n, c, k in ((200, 3, 100), (200, 117, 10), (1000, 1, 1000)):
        stable = 1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1)) if n - c >= k else 1.0
        assert pass_at_k(n, c, k) == pytest.approx(stable)


@pytest.mark.parametrize(("n", "c", "k"), [(2, 3, 1), (2, 1, 3), (2, 1, 0), (2, -1, 1)])
def test_counts_that_cannot_be_are_refused(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match="at a time"):
        pass_at_k(n, c, k)
    with pytest.raises(ValueError, match="at a time"):
        pass_hat_k(n, c, k)


def item(name: str, *epochs: float | None, cluster: str = "") -> ItemResult:
    known = [value for value in epochs if value is not None]
    whole = len(known) == len(epochs)
    return ItemResult(name, name, cluster or name, sum(known) / len(known) if whole else None, epochs=epochs)


def test_over_items_it_is_their_mean_and_unscored_items_do_not_count() -> None:
    items = [item("a", 1, 1, 1, 0, 0, 0), item("b", 1, 1, 1, 1, 1, 1), item("c", 0, 0, 0, 0, 0, 0), item("d", 1, None)]
    rows = {row.k: row for row in passing(items)}
    assert [*rows] == [1, 2, 4, 6]
    assert rows[1].at_least_one.mean == rows[1].all_of_them.mean == pytest.approx(0.5)
    assert rows[2].at_least_one.mean == pytest.approx((12 / 15 + 1 + 0) / 3)
    assert rows[2].all_of_them.mean == pytest.approx((3 / 15 + 1 + 0) / 3)
    assert rows[6].at_least_one.mean == pytest.approx(2 / 3)
    assert rows[6].all_of_them.mean == pytest.approx(1 / 3)
    assert passing([item("d", 1, None)]) == ()


def test_the_threshold_says_what_is_right() -> None:
    [row] = passing([item("a", 0.6), item("b", 0.4)], threshold=0.5)
    assert row.at_least_one.mean == 0.5
    [row] = passing([item("a", 0.6), item("b", 0.4)])
    assert row.at_least_one.mean == 0.0


def test_the_error_is_the_sandwich_of_a_regression_on_a_constant() -> None:
    """(X'X)^-1 (sum over clusters of s s') (X'X)^-1, s = X_c' e_c, with the usual C / (C - 1) * (n - 1) / (n - 1)."""
    rng = np.random.default_rng(0)
    values, clusters = rng.random(40), rng.integers(0, 9, size=40)
    X = np.ones((40, 1))
    bread = np.linalg.inv(X.T @ X)
    residuals = values - values.mean()
    sums = [X[clusters == c].T @ residuals[clusters == c] for c in np.unique(clusters)]
    C = len(sums)
    variance = C / (C - 1) * bread @ sum(np.outer(s, s) for s in sums) @ bread
    ours = clustered_error(list(values), [str(c) for c in clusters])
    assert ours == pytest.approx(math.sqrt(variance[0, 0]))


def test_without_clusters_it_is_the_textbook_standard_error() -> None:
    values = [0.0, 1.0, 1.0, 0.5, 0.25]
    names = [str(i) for i in range(5)]
    assert clustered_error(values, names) == pytest.approx(np.std(values, ddof=1) / math.sqrt(5))
    assert clustered_error(values, ["one"] * 5) is None


def test_an_estimate_has_the_interval_that_is_shown_everywhere() -> None:
    values, clusters = [1.0, 0.0, 1.0], ["a", "b", "c"]
    found, interval = estimate(values, clusters), share_interval(values, clusters, alpha=0.025)
    assert (found.mean, found.lower, found.upper) == (interval.estimate, interval.lower, interval.upper)
    assert found.lower < found.mean < found.upper
