"""The one estimator behind every decision: a smoothed, clustered mean of paired differences."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with one-sided lower and upper bounds, each at level `alpha`. `n` counts items, not pseudo-items."""

    estimate: float
    lower: float
    upper: float
    standard_error: float
    n: int


def paired_interval(differences: Sequence[float], clusters: Sequence[str], *, alpha: float) -> Interval:
    """Bounds on the mean of paired differences in [-1, 1] whose items fall into clusters.

    Two pseudo-items, +1 and -1, each its own cluster, are appended: the plain paired t rejects a true null far too
    often when few items differ, because its standard error is then close to zero; the pseudo-items bound it from
    below by about sqrt(2) / n. The standard error is the cluster-robust one with the C / (C - 1) correction
    (Liang and Zeger 1986; for evaluations, Miller 2024, arXiv:2411.00640) and the quantile is Student's t with
    C - 1 degrees of freedom. Raises ValueError on unequal lengths.
    """
    from scipy.special import stdtrit

    if len(differences) != len(clusters):
        raise ValueError(f"{len(differences)} differences but {len(clusters)} clusters")
    n = len(differences) + 2
    mean = math.fsum(differences) / n  # the pseudo-items cancel
    sums: dict[str, float] = defaultdict(float)
    for difference, cluster in zip(differences, clusters, strict=True):
        sums[cluster] += difference - mean
    count = len(sums) + 2
    squares = math.fsum([*(s * s for s in sums.values()), (1.0 - mean) ** 2, (-1.0 - mean) ** 2])
    error = math.sqrt(count / (count - 1) * squares) / n
    reach = float(stdtrit(count - 1, 1.0 - alpha)) * error
    return Interval(mean, mean - reach, mean + reach, error, len(differences))


def mean_interval(values: Sequence[float], clusters: Sequence[str], *, alpha: float) -> Interval:
    """Bounds on the mean of scores in [0, 1]: the same estimator with pseudo-items 0 and 1 (smoothing towards 1/2)."""
    shifted = paired_interval([2.0 * value - 1.0 for value in values], clusters, alpha=alpha)

    def back(x: float) -> float:
        return min(1.0, max(0.0, (x + 1.0) / 2.0))

    return Interval(
        back(shifted.estimate), back(shifted.lower), back(shifted.upper), shifted.standard_error / 2, shifted.n
    )


def share_interval(values: Sequence[float], clusters: Sequence[str], *, alpha: float) -> Interval:
    """`mean_interval` to be shown beside what was counted: its bounds, around the plain mean."""
    bounds = mean_interval(values, clusters, alpha=alpha)
    mean = math.fsum(values) / len(values)
    return replace(bounds, estimate=mean, lower=min(mean, bounds.lower), upper=max(mean, bounds.upper))


def two_look_level(alpha: float, first: float) -> float:
    """The one-sided level at which each of two looks must be tested, so that both together have level `alpha`.

    The first look sees the share `first` of the data and the second all of it, with one bound at both (Pocock 1977,
    Biometrika 64). Their statistics are normal with correlation sqrt(first): for halves and alpha = .05 it is .0304.
    """
    from scipy.optimize import brentq
    from scipy.stats import multivariate_normal, norm

    joint = multivariate_normal([0.0, 0.0], [[1.0, math.sqrt(first)], [math.sqrt(first), 1.0]])

    def excess(bound: float) -> float:
        return 1.0 - float(joint.cdf([bound, bound])) - alpha

    return float(norm.sf(brentq(excess, norm.isf(alpha), norm.isf(alpha / 2))))
