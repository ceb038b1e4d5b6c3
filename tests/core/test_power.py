"""What the gate's estimator can show, against the estimator itself."""

from __future__ import annotations

import pytest

from harness.power import smallest_margin
from harness.statistics import paired_interval


@pytest.mark.parametrize(("n", "size"), [(1, 1), (2, 1), (30, 1), (30, 5), (400, 8)])
@pytest.mark.parametrize("alpha", [0.05, 0.0304, 0.025])
def test_the_smallest_margin_is_the_reach_of_an_interval_without_differences(n: int, size: int, alpha: float) -> None:
    clusters = [str(i // size) for i in range(n)]
    interval = paired_interval([0.0] * n, clusters, alpha=alpha)
    assert smallest_margin(n, len(set(clusters)), alpha) == pytest.approx(-interval.lower, rel=1e-12)


def test_the_smallest_margin_needs_clusters_of_items() -> None:
    with pytest.raises(ValueError, match="9 clusters of 8 items"):
        smallest_margin(8, 9, 0.05)
