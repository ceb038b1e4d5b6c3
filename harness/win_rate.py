"""How often a judge prefers the second of two policies' answers, and how often it would at equal length."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from harness.errors import ConfigError
from harness.judging import Bench
from harness.logistic import fit_logistic, probability
from harness.statistics import Interval, share_interval
from harness.types import Group, ScoredGroup

Bounds = tuple[float, float, float]
"""An estimate with its lower and its upper bound."""


@dataclass(frozen=True)
class Verdict:
    """Of one pair, asked in both orders. `won`: the second answer's, 1, 0, or between where it tied or the orders
    disagree. `lengths` are in characters."""

    won: float
    flipped: bool
    lengths: tuple[int, int]
    cluster: str


@dataclass(frozen=True)
class WinRate:
    """Bounds are one-sided, at the level that was asked for each."""

    judge: str
    pairs: int
    unscored: int
    """Pairs of which an answer has no value in one of the orders."""
    rate: Interval
    ties: float
    order_flips: float
    """Pairs of which another answer wins when they are shown the other way round; they count half."""
    longer: float
    """How often the second answer is the longer one, equal lengths counting half."""
    at_equal_length: Bounds | None
    """The rate with its bounds; None where one policy's answers are the longer ones in all pairs."""
    length_effect: Bounds | None
    """What length alone is worth in log-odds, from equal lengths to a second answer that is far longer."""
    figures: dict[str, float] = field(default_factory=dict)
    """What the judge says of itself."""


def judge_both_orders(bench: Bench, pairs: Sequence[Group]) -> list[Verdict | None]:
    """Every pair in both orders, by a bench of one judge; None where a value is missing."""
    there = bench.score(pairs)
    back = bench.score([replace(pair, completions=pair.completions[::-1]) for pair in pairs])
    return [
        _verdict(pair, _values(one), _values(other)[::-1]) for pair, one, other in zip(pairs, there, back, strict=True)
    ]


def _values(scored: ScoredGroup) -> list[float | None]:
    return [score.value for (score,) in scored.scores]


def _verdict(pair: Group, there: Sequence[float | None], back: Sequence[float | None]) -> Verdict | None:
    wins = []
    for first, second in (there, back):
        if first is None or second is None:
            return None
        wins.append(0.5 if first == second else float(second > first))
    before, after = (len(completion.text) for completion in pair.completions)
    prompt = pair.prompt
    return Verdict(sum(wins) / 2, set(wins) == {0.0, 1.0}, (before, after), prompt.cluster or prompt.id)


def win_rate(judge: str, verdicts: Sequence[Verdict | None], *, alpha: float) -> WinRate:
    """Raises ConfigError when no pair is scored."""
    known = [verdict for verdict in verdicts if verdict is not None]
    if not known:
        raise ConfigError(
            f"it scores none of {len(verdicts)} pairs",
            where=f"judge {judge}",
            remedy="Give it settings that fit them: llm_pairwise compares two answers with against=siblings.",
        )
    controlled, effect = length_controlled(known, alpha=alpha) or (None, None)
    return WinRate(
        judge=judge,
        pairs=len(verdicts),
        unscored=len(verdicts) - len(known),
        rate=share_interval([v.won for v in known], [v.cluster for v in known], alpha=alpha),
        ties=sum(v.won == 0.5 and not v.flipped for v in known) / len(known),
        order_flips=sum(v.flipped for v in known) / len(known),
        longer=sum(0.5 if v.lengths[0] == v.lengths[1] else float(v.lengths[1] > v.lengths[0]) for v in known)
        / len(known),
        at_equal_length=controlled,
        length_effect=effect,
    )


def length_controlled(verdicts: Sequence[Verdict], *, alpha: float) -> tuple[Bounds, Bounds] | None:
    """The win rate at equal length with its bounds, and the coefficient of length with its.

    Length-controlled AlpacaEval (Dubois et al. 2024, arXiv:2404.04475) for two policies: the outcomes y are fitted by

        logit P(y = 1) = theta + phi tanh((length of the second - length of the first) / standard deviation of these),

    and the rate at no difference is sigmoid(theta). Where it asks for how hard each item is, from many policies, there
    are but two here, and the term is left out. A win and a loss at each end of the scale (tanh = -1, 1), each a cluster
    of its own, keep both coefficients finite where length and outcome go together in all pairs. None where one policy's
    answers are longer in all pairs: what it would be worth at equal length is then nowhere to be seen.
    """
    differences = [v.lengths[1] - v.lengths[0] for v in verdicts]
    if not min(differences) <= 0 <= max(differences):
        return None
    mean = sum(differences) / len(differences)
    spread = math.sqrt(sum((d - mean) ** 2 for d in differences) / len(differences))
    terms = [math.tanh(d / spread) if spread else 0.0 for d in differences]
    prior = [(end, result) for end in (-1.0, 1.0) for result in (0.0, 1.0)]
    fit = fit_logistic(
        [(1.0, term) for term in [*terms, *(end for end, _ in prior)]],
        [*(v.won for v in verdicts), *(result for _, result in prior)],
        [*(f"item {v.cluster}" for v in verdicts), *(f"prior {end} {result}" for end, result in prior)],
    )
    theta, low, high = fit.bounds((1.0, 0.0), alpha=alpha)
    return (probability(theta), probability(low), probability(high)), fit.bounds((0.0, 1.0), alpha=alpha)
