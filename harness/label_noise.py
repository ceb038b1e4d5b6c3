"""What share of preference labels is the wrong way round, and what objective suits that share. Pure.

Every label is taken to be flipped with one probability e < 1/2, whatever it is about and whatever other labels are.
What then can be told depends on what there is beside the labels:

    repeats       the same two answers labelled again by the same sort of rater: two labels differ in 2 e (1 - e)
    judges        the same, with the verdicts of a scored group's judges for labels
    a reference   a judge of which it is known how often it errs (r): label and judge differ in e (1 - r) + r (1 - e)
    a predictor   of which nothing is known: e is at most the share in which labels differ from it

Nothing else identifies e. Counts of confident disagreement (Northcutt et al. 2021, "Confident learning") estimate it
only where the predictor's own errors are never confident; what cheap features predict errs however clean labels are,
and its errors would be counted as noise. So a predictor gives a bound, and no estimate.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING

from harness.pairs import TIE
from harness.statistics import share_interval
from harness.types import ScoredGroup

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray

ALPHA = 0.05
"""Level of each bound."""
SLIGHT = 0.02
"""Noise below which nothing is set for it."""
SMALL = 0.05
"""Noise up to which dpo's loss is smoothed."""
LARGE = 0.25
"""Noise from which unpaired labels are the better choice: robust_dpo's variance has grown by 1 / (1 - 2e)^2 = 4."""
SLICES = (0.1, 0.2, 0.5, 1.0)
"""Shares of pairs, those first of which the predictor is most sure."""


@dataclass(frozen=True, slots=True)
class Noise:
    """An estimate of the share of flipped labels, with one-sided bounds at level ALPHA each. `n` are the pairs that it
    is from."""

    rate: float
    lower: float
    upper: float
    n: int
    source: str


@dataclass(frozen=True, slots=True)
class Advice:
    """An objective of ours with its settings, and why it is that one."""

    objective: str
    config: Mapping[str, float] = field(default_factory=dict)
    why: str = ""


# ---------------------------------------------------------------- estimates


def repeat_noise(
    votes: Sequence[tuple[int, int]], clusters: Sequence[str], *, source: str = "repeats", alpha: float = ALPHA
) -> Noise | None:
    """From pairs of answers that were labelled more than once: how often the one and how often the other was chosen.

    Of each pair, the share of its pairs of labels that differ is an estimate of d = 2 e (1 - e), so that
    e = (1 - sqrt(1 - 2 d)) / 2. None where no pair has two labels, or where they differ in more than chance would have
    them (d > 1/2): then they are not independent, as where rows that agree were taken for duplicates. Labels that are
    copies of one another make the estimate too small, and cannot be told from labels that agree.
    """
    shares, names = [], []
    for (one, other), cluster in zip(votes, clusters, strict=True):
        if (count := one + other) > 1:
            shares.append(2 * one * other / (count * (count - 1)))
            names.append(cluster)
    return _noise(shares, names, _from_repeats, 0.5, source, alpha)


def reference_noise(
    agrees: Sequence[bool], clusters: Sequence[str], *, error: float, alpha: float = ALPHA
) -> Noise | None:
    """From whether labels agree with a reference judge's own preferences, of which a share r = `error` is known to be
    wrong: e = (d - r) / (1 - 2 r). The judge must not be what the labels are from, nor err where they do. None without
    pairs. Raises ValueError for an error outside [0, 1/2)."""
    if not 0 <= error < 0.5:
        raise ValueError(f"error = {error!r} is outside [0, 0.5)")

    def rate(differ: float) -> float:
        return min(0.5, max(0.0, (differ - error) / (1 - 2 * error)))

    return _noise([float(not a) for a in agrees], clusters, rate, 1.0, "reference", alpha)


def judge_noise(groups: Iterable[ScoredGroup], *, alpha: float = ALPHA) -> Noise | None:
    """From judges' verdicts on the same answers: of every two answers, which one each judge scores higher is its vote.

    It is the error of one judge, if all err alike and independently; judges with a common fault agree in it, and then
    the estimate is too small. None where no two judges score both of two answers unequally.
    """
    votes, clusters = [], []
    for scored in groups:
        by_judge: defaultdict[str, dict[int, float]] = defaultdict(dict)
        for index, scores in enumerate(scored.scores):
            for score in scores:
                if score.value is not None:
                    by_judge[score.judge][index] = score.value
        for one, other in combinations(range(len(scored.scores)), 2):
            gaps = [values[one] - values[other] for values in by_judge.values() if one in values and other in values]
            votes.append((sum(gap > TIE for gap in gaps), sum(gap < -TIE for gap in gaps)))
            clusters.append(scored.group.prompt.id)
    return repeat_noise(votes, clusters, source="judges", alpha=alpha)


def predicted_bound(x_N_K: NDArray[float64], folds_N: Sequence[int], *, alpha: float = ALPHA) -> float | None:
    """The most that e can be, with confidence 1 - alpha, from features of the chosen answer less those of the rejected.

    A logistic regression predicts each fold from the others which of two answers is chosen. Where it errs in a share r
    of clean labels it differs from flipped ones in e + r (1 - 2 e) >= e. That holds as well in each of the SLICES of
    which it is most sure, so the least of their upper bounds is taken (Clopper and Pearson 1934), each at the level
    alpha / len(SLICES).
    Rows must be independent: one a prompt. None where it is near chance (a bound of 0.45 or more).
    """
    import numpy as np
    from scipy.special import betaincinv

    folds = np.asarray(folds_N)
    odds = np.zeros(len(x_N_K))
    for fold in np.unique(folds):
        rest = x_N_K[folds != fold]
        if len(rest):
            odds[folds == fold] = x_N_K[folds == fold] @ _coefficients(rest)
    odds = odds[odds != 0.0]
    differ = odds[np.argsort(-np.abs(odds), kind="stable")] < 0.0
    bounds = []
    for share in SLICES:
        count = int(share * len(differ))
        wrong = int(differ[:count].sum())
        if count > wrong:
            bounds.append(float(betaincinv(wrong + 1, count - wrong, 1 - alpha / len(SLICES))))
    return min(bounds) if bounds and min(bounds) < 0.45 else None


def _coefficients(x_N_K: NDArray[float64]) -> NDArray[float64]:
    """Of a fit to "the chosen is the better", with a row for each column of which the outcome is a half: where features
    tell all pairs apart, likelihood alone has no maximum."""
    import numpy as np

    from harness.logistic import fit_logistic

    rows = np.vstack([x_N_K, np.eye(x_N_K.shape[1])])
    outcomes = [1.0] * len(x_N_K) + [0.5] * x_N_K.shape[1]
    return fit_logistic(rows.tolist(), outcomes, ["all", *["rest"] * (len(rows) - 1)]).coefficients_K


def _from_repeats(differ: float) -> float:
    return (1.0 - math.sqrt(max(0.0, 1.0 - 2.0 * differ))) / 2.0


def _noise(
    shares: Sequence[float],
    clusters: Sequence[str],
    rate: Callable[[float], float],
    most: float,
    source: str,
    alpha: float,
) -> Noise | None:
    """From shares that differ to the noise that makes them differ so, which grows with them."""
    if not shares:
        return None
    differ = share_interval(shares, clusters, alpha=alpha)
    if differ.lower > most:
        return None
    return Noise(rate(differ.estimate), rate(differ.lower), rate(differ.upper), differ.n, source)


# ---------------------------------------------------------------- what follows


def noise_of(figures: Mapping[str, float]) -> Noise | None:
    """The estimate among the figures of a use of filters; None where the data did not tell."""
    found = {name.rpartition("/")[2]: value for name, value in figures.items() if name.startswith("label_consistency/")}
    if "noise" not in found:
        return None
    rate, lower, upper, n = (found[name] for name in ("noise", "noise_lower", "noise_upper", "noise_pairs"))
    return Noise(rate, lower, upper, int(n), "label_consistency")


def recommended(noise: Noise | None) -> Advice:
    """What to train on pairs with, by the estimate itself (bounds say how sure of it one may be)."""
    if noise is None:
        return Advice("dpo", why="The noise is not known: pairs that are labelled twice would show it.")
    rate = round(noise.rate, 3)
    said = f"{noise.rate:.1%} of labels are flipped ({noise.lower:.1%} to {noise.upper:.1%})"
    if rate < SLIGHT:
        return Advice("dpo", why=f"{said}: too few to set anything for.")
    if rate < SMALL:
        return Advice("dpo", {"label_smoothing": rate}, f"{said}: smoothing the loss is enough (Mitchell 2023).")
    if rate < LARGE:
        why = f"{said}: the loss that clean labels would give, on average (Chowdhury et al. 2024)."
        return Advice("robust_dpo", {"flip_rate": rate}, why)
    why = f"{said}: an unbiased loss would vary {1 / max(1e-9, (1 - 2 * noise.rate) ** 2):.0f} times as much"
    why += ", while this one levels off on the wildest labels (Ethayarajh et al. 2024)."
    return Advice("kto", {}, why)
