"""Strengths of several policies from who beat whom: P(i beats j) = s_i / (s_i + s_j). Pure.

Bradley and Terry 1952 (Biometrika 39: 324), ties as half a win for each, fitted by the MM algorithm of Hunter 2004
(Annals of Statistics 32: 384).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.logistic import Fit, fit_logistic, probability

PRIOR = "each is given one win and one loss against a virtual opponent"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How `first` did against `second` on an item: 1 won, 0.5 tied, 0 lost (or a share of its epochs)."""

    first: int
    second: int
    result: float
    cluster: str


@dataclass(frozen=True)
class Strength:
    """`log_strength` is natural and sums to zero over all; `chance` is that of beating one of average log-strength.
    Bounds are one-sided, at the level that was asked for each."""

    name: str
    log_strength: float
    lower: float
    upper: float

    @property
    def chance(self) -> float:
        return probability(self.log_strength)


@dataclass(frozen=True)
class Ranking:
    """Strongest first. `regularized`: no finite strengths exist without the prior (see `connected`)."""

    strengths: tuple[Strength, ...]
    regularized: bool
    chances: Mapping[str, Mapping[str, tuple[float, float, float]]]
    """By two names, the chance that the first beats the second, with its bounds."""

    @property
    def clear(self) -> tuple[bool, ...]:
        """Of each but the last, whether it is shown to be stronger than the next."""
        names = [strength.name for strength in self.strengths]
        return tuple(self.chances[a][b][1] > 0.5 for a, b in pairwise(names))


def mm_strengths(wins_K_K: Sequence[Sequence[float]], *, tolerance: float = 1e-12, limit: int = 100_000) -> list[float]:
    """Strengths with a geometric mean of 1, from `wins_K_K[i][j]`, how often i beat j (ties are 0.5 in both places).

    s_i <- W_i / sum over j of N_ij / (s_i + s_j) (Hunter 2004, equation 3), until no strength changes by more than
    `tolerance` of itself. Raises ValueError where the maximum is not finite or not unique (see `connected`).
    """
    count = len(wins_K_K)
    if not connected(wins_K_K):
        raise ValueError("some policies are never beaten by the others, or never met them")
    games = [[wins_K_K[i][j] + wins_K_K[j][i] for j in range(count)] for i in range(count)]
    won = [math.fsum(row) for row in wins_K_K]
    strengths = [1.0] * count
    for _ in range(limit):
        news = []
        for i in range(count):
            met = math.fsum(games[i][j] / (strengths[i] + strengths[j]) for j in range(count) if games[i][j])
            news.append(won[i] / met)
        scale = math.exp(math.fsum(map(math.log, news)) / count)
        news = [new / scale for new in news]
        change = max(abs(new / old - 1) for new, old in zip(news, strengths, strict=True))
        strengths = news
        if change <= tolerance:
            return strengths
    raise ValueError(f"no convergence in {limit} steps")


def connected(wins_K_K: Sequence[Sequence[float]]) -> bool:
    """Ford's condition (1957, American Mathematical Monthly 64: 28): however the policies are parted in two, some of
    each part has beaten some of the other. Finite strengths exist only then."""

    def reaches_all(beats: Sequence[Sequence[float]]) -> bool:
        seen, waiting = {0}, [0]
        while waiting:
            i = waiting.pop()
            new = {j for j in range(len(beats)) if beats[i][j] > 0} - seen
            seen |= new
            waiting += new
        return len(seen) == len(beats)

    return reaches_all(wins_K_K) and reaches_all(list(zip(*wins_K_K, strict=True)))


def ranking(names: Sequence[str], outcomes: Sequence[Outcome], *, alpha: float) -> Ranking:
    """The policies in order, with bounds at the one-sided level `alpha` each.

    Strengths are those of the outcomes alone where these are finite, else of the outcomes and the prior: each policy
    has one win and one loss against a virtual opponent. The bounds are clustered sandwich bounds around them, and
    always with the prior, each of its outcomes a cluster of its own: without it, policies that tie on every item would
    be equal for certain (as in `harness.statistics.paired_interval`).
    """
    count = len(names)
    wins = [[0.0] * count for _ in names]
    for outcome in outcomes:
        wins[outcome.first][outcome.second] += outcome.result
        wins[outcome.second][outcome.first] += 1.0 - outcome.result
    smooth = _with_prior(count, outcomes)
    finite = connected(wins)
    plain = [math.log(s) for s in mm_strengths(wins)] if finite else [float(b) for b in smooth.coefficients_K]
    mean = math.fsum(plain) / count
    logs = [value - mean for value in plain]

    def bounds(contrast_K: Sequence[float]) -> tuple[float, float, float]:
        """Around the estimate, and no narrower than to hold both it and the smoothed bounds' centre."""
        estimate = math.fsum(c * b for c, b in zip(contrast_K, logs, strict=True))
        _, lower, upper = smooth.bounds(contrast_K, alpha=alpha)
        return estimate, min(estimate, lower), max(estimate, upper)

    strengths = [Strength(name, *bounds([(j == i) - 1 / count for j in range(count)])) for i, name in enumerate(names)]
    chances: dict[str, dict[str, tuple[float, float, float]]] = {name: {} for name in names}
    for i, first in enumerate(names):
        for j, second in enumerate(names):
            if i != j:
                estimate, lower, upper = map(probability, bounds([(k == i) - (k == j) for k in range(count)]))
                chances[first][second] = (estimate, lower, upper)
    ordered = sorted(strengths, key=lambda strength: (-strength.log_strength, strength.name))
    return Ranking(tuple(ordered), not finite, chances)


def _with_prior(count: int, outcomes: Sequence[Outcome]) -> Fit:
    """The virtual opponent has a log-strength of 0, which is no more than a choice of the scale's origin."""
    rows = [[float((k == o.first) - (k == o.second)) for k in range(count)] for o in outcomes]
    results = [o.result for o in outcomes]
    clusters = [f"item {o.cluster}" for o in outcomes]
    for i in range(count):
        for result in (1.0, 0.0):
            rows.append([float(k == i) for k in range(count)])
            results.append(result)
            clusters.append(f"prior {i} {result}")
    return fit_logistic(rows, results, clusters)
