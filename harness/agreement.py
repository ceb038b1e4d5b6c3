"""How far a judge can be trusted, from few human verdicts: agreement beyond chance, and a judged rate put right."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from harness.statistics import Interval


@dataclass(frozen=True, slots=True)
class _Item:
    """A pair of verdicts (indices of categories) that counts `weight` times."""

    pair: tuple[int, int]
    cluster: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Corrected:
    """A rate with its bounds. `weight` is the share of the predictions' deviations that was used: 0 for none."""

    interval: Interval
    weight: float


def cohen_kappa(
    pairs: Sequence[tuple[str, str]], clusters: Sequence[str], categories: Sequence[str], *, alpha: float
) -> Interval | None:
    """Cohen's kappa (1960) of two raters, (p_o - p_e) / (1 - p_e), with one-sided bounds at level `alpha` each.

    None where it is not defined: no pairs, or both raters gave one and the same category to all. The standard error is
    that of Fleiss, Cohen and Everitt (1969, Psychological Bulletin 72: 323), written as a sum of every item's influence

        [1(agree) - p_o] / (1 - p_e) - (1 - p_o) / (1 - p_e)^2 * (p_{.r} + p_{c.} - 2 p_e)

    on kappa, for an item that the raters call r and c, so that items of one cluster can be summed before they are
    squared (as in `paired_interval`). The bounds come from the sample with one more agreement and one more
    disagreement, each spread over its cells of the table and a cluster of its own: without them, few items that all
    agree would be certain. Raises ValueError on unequal lengths.
    """
    from scipy.special import stdtrit

    index = {category: number for number, category in enumerate(categories)}
    items = [_Item((index[r], index[c]), name) for (r, c), name in zip(pairs, clusters, strict=True)]
    estimate, _ = _kappa(items)
    if math.isnan(estimate):
        return None
    cells = [(r, c) for r in range(len(index)) for c in range(len(index))]
    agree = [_Item(cell, "\0agree", 1 / len(index)) for cell in cells if cell[0] == cell[1]]
    differ = [_Item(cell, "\0differ", 1 / (len(cells) - len(index))) for cell in cells if cell[0] != cell[1]]
    smooth, influences = _kappa([*items, *agree, *differ])
    sums: dict[str, float] = defaultdict(float)
    for item, influence in zip([*items, *agree, *differ], influences, strict=True):
        sums[item.cluster] += item.weight * influence
    count = len(sums)
    error = math.sqrt(count / (count - 1) * math.fsum(s * s for s in sums.values())) / (len(items) + 2)
    reach = float(stdtrit(count - 1, 1.0 - alpha)) * error
    lower, upper = max(-1.0, min(estimate, smooth - reach)), min(1.0, max(estimate, smooth + reach))
    return Interval(estimate, lower, upper, error, len(items))


def _kappa(items: Sequence[_Item]) -> tuple[float, list[float]]:
    """Kappa (NaN where it is not defined) and the influence of every item on it."""
    total = sum(item.weight for item in items)
    first: dict[int, float] = defaultdict(float)
    second: dict[int, float] = defaultdict(float)
    for item in items:
        first[item.pair[0]] += item.weight / total
        second[item.pair[1]] += item.weight / total
    observed = sum(item.weight for item in items if item.pair[0] == item.pair[1]) / total if items else 0.0
    expected = sum(share * second[category] for category, share in first.items())
    room = 1.0 - expected
    if not items or room < 1e-12:
        return math.nan, []
    influences = [
        ((r == c) - observed) / room - (1 - observed) / room**2 * (second[r] + first[c] - 2 * expected)
        for r, c in (item.pair for item in items)
    ]
    return (observed - expected) / room, influences


def prediction_powered_mean(
    labelled: Sequence[tuple[float, float]],
    labelled_clusters: Sequence[str],
    predicted: Sequence[float],
    predicted_clusters: Sequence[str],
    *,
    alpha: float,
) -> Corrected:
    """The mean of labels in [0, 1] from few (label, prediction) pairs and many items with a prediction f alone.

    Prediction-powered inference (Angelopoulos et al. 2023, Science 382: 669): the mean prediction on the many, plus
    the mean of label - prediction on the few. Weighted by lambda as in PPI++ (Angelopoulos, Duchi and Zrnic 2023,
    arXiv:2311.01453): mean(lambda f) + mean(y - lambda f) with
    lambda = cov(y, f) / ((1 + n / N) var(f)), held to [0, 1], so that predictions that are worth nothing are not used.
    The few must be drawn from the same items as the many. Items of one cluster are summed before they are squared, and
    the bounds are those with the ends -lambda and 1 of the range of y - lambda f appended as pseudo-items, as in
    `paired_interval`; without predictions they are those of `mean_interval`. Raises ValueError on unequal lengths, or
    without labels.
    """
    from scipy.special import stdtrit

    few, many = len(labelled), len(predicted)
    if not few:
        raise ValueError("no labels")
    weight = _lambda(labelled, predicted)
    rests = [label - weight * guess for label, guess in labelled]
    mean_rest = math.fsum([*rests, 1.0, -weight]) / (few + 2)
    mean_guess = math.fsum(predicted) / many if many else 0.0
    sums: dict[str, float] = defaultdict(float)
    for rest, cluster in zip(rests, labelled_clusters, strict=True):
        sums[cluster] += (rest - mean_rest) / (few + 2)
    count = len(sums) + 2
    for guess, cluster in zip(predicted, predicted_clusters, strict=True):
        sums[cluster] += weight * (guess - mean_guess) / many
    squares = [s * s for s in sums.values()] + [((end - mean_rest) / (few + 2)) ** 2 for end in (1.0, -weight)]
    error = math.sqrt(count / (count - 1) * math.fsum(squares))
    reach = float(stdtrit(count - 1, 1.0 - alpha)) * error
    mean, smooth = weight * mean_guess + math.fsum(rests) / few, weight * mean_guess + mean_rest
    ends = (mean, min(mean, smooth - reach), max(mean, smooth + reach))
    estimate, lower, upper = (min(1.0, max(0.0, value)) for value in ends)
    return Corrected(Interval(estimate, lower, upper, error, few), weight)


def _lambda(labelled: Sequence[tuple[float, float]], predicted: Sequence[float]) -> float:
    guesses = [guess for _, guess in labelled]
    if len(labelled) < 2 or not predicted:
        return 0.0
    everything = [*guesses, *predicted]
    mean = math.fsum(everything) / len(everything)
    variance = math.fsum((guess - mean) ** 2 for guess in everything) / (len(everything) - 1)
    if variance == 0.0:
        return 0.0
    mean_label, mean_guess = (math.fsum(values) / len(labelled) for values in zip(*labelled, strict=True))
    covariance = math.fsum((y - mean_label) * (f - mean_guess) for y, f in labelled) / (len(labelled) - 1)
    return min(1.0, max(0.0, covariance / ((1 + len(labelled) / len(predicted)) * variance)))
