"""What an evaluation can show: margins and gains within reach of the gate's estimator, before anything is run. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from harness.protocols import Suite
from harness.types import SuiteReport

DISCORDANT = 0.1
"""Share of verdicts that flip between two policies, where nothing is known of it."""
NOISE = 0.5
"""Share of the flips' variance that is the luck of the draw, where nothing is known of it."""
GRID_ITEMS = (50, 100, 200, 400, 800, 1600)
GRID_EPOCHS = (1, 2, 4, 8)


@dataclass(frozen=True)
class Design:
    """A paired evaluation that is planned. `n` items in `clusters` clusters, `epochs` completions an item."""

    n: int
    clusters: int
    epochs: int = 1
    alpha: float = 0.05
    """One-sided level of a bound."""
    discordant: float = DISCORDANT
    """Mean squared difference of an item's score between the two policies with one completion each: for verdicts of
    right or wrong the share that flips."""
    noise: float = NOISE
    """Share of the differences' variance that drawing again would change, which more epochs average out. The rest is
    that policies are better at some items and worse at others, which only more items average out."""
    icc: float = 0.0
    """Correlation of the differences of two items of one cluster with one completion each."""
    cluster_size: float | None = None
    """Size of an item's own cluster, on average over the items; None: that of equal clusters."""

    def __post_init__(self) -> None:
        if not 0 < self.clusters <= self.n:
            raise ValueError(f"{self.clusters} clusters of {self.n} items")

    @property
    def companions(self) -> float:
        """How many other items of its cluster an item has, on average over the items."""
        return (self.n / self.clusters if self.cluster_size is None else self.cluster_size) - 1.0

    @classmethod
    def of(cls, clusters: Sequence[str], **settings: float) -> Design:
        """Of items that are there, by the cluster of each; `settings` are the other fields."""
        sizes = Counter(clusters).values()
        size = sum(size * size for size in sizes) / len(clusters)
        return cls(len(clusters), len(sizes), cluster_size=size, **settings)  # type: ignore[arg-type]

    def resized(self, n: int, epochs: int) -> Design:
        """The same items, more or fewer of them."""
        clusters = max(1, round(n * self.clusters / self.n))
        return replace(self, n=n, clusters=clusters, epochs=epochs)


def strictest_margin(suite: Suite | SuiteReport) -> float:
    """Of those that the gate holds it to: a guard is held against the incumbent alone."""
    return suite.margin if suite.role == "guard" else min(suite.margin, suite.anchor_margin)


def unshowable(suite: Suite | SuiteReport, alpha: float) -> str:
    """Why no candidate could be shown to keep its margins, not even one that changes nothing; "" if one could."""
    if suite.role == "monitor" or suite.rule != "mean":
        return ""
    margin = strictest_margin(suite)
    clusters = len({item.cluster or item.id for item in suite.items})
    least = smallest_margin(len(suite.items), clusters, alpha)
    if least < margin:
        return ""
    held = f"{len(suite.items)} items in {clusters} clusters"
    return f"{held} can show no margin under {least:.3f}, and its margin is {margin:g}"


def smallest_margin(n: int, clusters: int, alpha: float) -> float:
    """How far the lower bound of `paired_interval` lies below 0 when no item differs, in score units.

    No margin up to this can be shown by `n` items in `clusters` clusters at the one-sided level `alpha`, whatever the
    candidate: for differences of 0 the standard error is that of the two pseudo-items alone,
    sqrt(2 C / (C - 1)) / (n + 2), with C = clusters + 2. Raises ValueError unless 0 <= clusters <= n.
    """
    from scipy.special import stdtrit

    if not 0 <= clusters <= n:
        raise ValueError(f"{clusters} clusters of {n} items")
    count = clusters + 2
    return float(stdtrit(count - 1, 1.0 - alpha)) * math.sqrt(2.0 * count / (count - 1)) / (n + 2)


# ---------------------------------------------------------------- power


def power(design: Design, *, gain: float = 0.0, above: float = 0.0, least: float | None = None) -> float:
    """The chance that the lower bound of `paired_interval` exceeds `above` when the true difference is `gain`; with
    `least`, that the estimate is no less than this as well. All in score units.

    To the variance of the sum of the differences the two pseudo-items add 2 (1 + gain^2) in the bound's standard error,
    which is so on average wider than the estimate's own spread:

        P(mean - t SE > above) = P(T > t E[SE] / sd(mean)),   T noncentral t with (E[mean] - above) / sd(mean),

    with C - 1 degrees of freedom, which without pseudo-items is the textbook power of the paired t-test. Where it says
    80% or 90% it is within 3 points of simulation if five or more verdicts are to flip, no more than four fifths of
    them one way, in 50 or more clusters. Where all flip one way, it is up to 7 points too low.
    """
    from scipy.special import ndtr, stdtrit

    count = design.clusters + 2
    mean = design.n * gain / (design.n + 2)
    own = design.n * _variance(design, gain)
    spread = math.sqrt(own) / (design.n + 2)
    error = math.sqrt(count / (count - 1) * (own + 2 * (1 + gain**2))) / (design.n + 2)
    reach = float(stdtrit(count - 1, 1 - design.alpha)) * error
    if spread < 1e-2 * reach:  # next to no item differs: the bound is where it is
        return float(mean - reach > above and (least is None or mean >= least))
    shown = 1.0 - _noncentral_t(count - 1, (mean - above) / spread, reach / spread)
    # Where the estimate must reach `least`, the harder of the two decides: both are a matter of the same mean.
    return shown if least is None else min(shown, float(ndtr((mean - least) / spread)))


def _noncentral_t(df: int, centre: float, at: float) -> float:
    """Its distribution function; far in the tails, where that does not converge, the normal approximation of Johnson,
    Kotz and Balakrishnan (1995, volume 2, 31.6)."""
    from scipy.special import nctdtr, ndtr

    value = float(nctdtr(df, centre, at))
    return float(ndtr((at - centre) / math.sqrt(1 + at**2 / (2 * df)))) if math.isnan(value) else value


def margin_shown(design: Design, chance: float) -> float:
    """The smallest margin that a policy which is no worse is shown to keep with this chance."""
    return _least(lambda margin: power(design, above=-margin) >= chance)


def gain_found(design: Design, chance: float, *, least: float | None = None) -> float | None:
    """The smallest true gain that is shown (a lower bound above 0) with this chance; None where no gain is."""
    found = _least(lambda gain: power(design, gain=gain, least=least) >= chance)
    return None if found >= 1.0 else found


def _variance(design: Design, gain: float) -> float:
    """Of the sum of the differences, an item of it: an item's mean over its epochs has the variance of one completion
    but for the luck that they average out, and with each of its cluster's other items the covariance that one has. A
    gain flips at least as many verdicts as it is large."""
    single = max(design.discordant, abs(gain)) - gain**2
    return single * (1.0 - design.noise + design.noise / design.epochs + design.companions * design.icc)


def _least(enough: Callable[[float], bool]) -> float:
    """The smallest of [0, 1] that is enough, to 1e-5, by bisection."""
    low, high = 0.0, 1.0
    while high - low > 1e-5:
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


# ---------------------------------------------------------------- what evaluations say of it


@dataclass(frozen=True)
class Seen:
    """What stored evaluations say of a suite's differences; None: nothing."""

    discordant: float
    noise: float | None
    icc: float | None


def seen_between(before: SuiteReport, after: SuiteReport) -> Seen:
    """From two policies on the same items. `noise` needs two epochs, `icc` clusters of several items.

    The correlation is the moment estimate that the clustered standard error implies: the mean product of the
    deviations of two items of one cluster, over the variance of one completion's.
    """
    pairs = [(b, a) for b, a in zip(before.items, after.items, strict=True) if None not in (b.score, a.score)]
    by_item = [_differences(b.epochs or (b.score,), a.epochs or (a.score,)) for b, a in pairs]
    singles = [difference for differences in by_item for difference in differences]
    if not singles:
        raise ValueError("no item is scored in both")
    mean = math.fsum(singles) / len(singles)
    discordant = math.fsum(d * d for d in singles) / len(singles)
    within = [_sample_variance(differences) for differences in by_item if len(differences) > 1]
    total = discordant - mean**2
    noise = None if not within or total <= 0 else min(1.0, math.fsum(within) / len(within) / total)
    deviations = [math.fsum(differences) / len(differences) - mean for differences in by_item]
    return Seen(discordant, noise, _icc(deviations, [a.cluster for _, a in pairs], total))


def seen_within(report: SuiteReport) -> Seen | None:
    """From one policy, were it to be compared with itself: two draws of an item differ by 2 p (1 - p) in the mean
    square, and all of that is luck. None with one epoch, which says nothing of it."""
    draws = [[e for e in item.epochs if e is not None] for item in report.scored]
    within = [_sample_variance(values) for values in draws if len(values) > 1]
    return Seen(2 * math.fsum(within) / len(within), 1.0, None) if within else None


def _differences(before: Sequence[float | None], after: Sequence[float | None]) -> list[float]:
    return [a - b for b, a in zip(before, after, strict=True) if a is not None and b is not None]


def _sample_variance(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def _icc(deviations: Sequence[float], clusters: Sequence[str], variance: float) -> float | None:
    members: dict[str, list[float]] = {}
    for deviation, cluster in zip(deviations, clusters, strict=True):
        members.setdefault(cluster, []).append(deviation)
    couples = sum(len(z) * (len(z) - 1) for z in members.values())
    if not couples or variance <= 0:
        return None
    products = math.fsum(math.fsum(z) ** 2 - math.fsum(x * x for x in z) for z in members.values())
    return min(1.0, max(0.0, products / couples / variance))
