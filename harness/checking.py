"""How far a judge can be trusted, found out on pairs of answers of which the better is known."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.canaries import canary_pairs
from harness.errors import ConfigError
from harness.judging import Bench, figures_of
from harness.monitors import SAME_VERDICT, canary_figures
from harness.plugins import Registry
from harness.protocols import Judge, RunContext
from harness.rewards import JudgingConfig
from harness.statistics import Interval, share_interval
from harness.types import Completion, Group, KnownPair, Prompt, Sampling, ScoredGroup
from harness.watching import judge_pairs

ALPHA = 0.025
"""Of each side: intervals of 95%."""
RETESTED = 20
"""Pairs that are judged a second time."""


@dataclass(frozen=True)
class CheckReport:
    """What came of one judge and one check. Each pair is judged in both orders, and shares are of the pairs that were
    scored in both; ties are half right."""

    judge: str
    check: str
    pairs: int
    unscored: int
    """Pairs of which an answer has no value in one of the orders."""
    accuracy: Interval
    by_kind: Mapping[str, tuple[int, float]]
    """(pairs, accuracy) by what the worse answer lacks."""
    ties: float
    order_flips: float
    """Pairs whose better answer is another one when they are shown the other way round."""
    length_slope: Interval | None
    """What twice the length adds to a value, with the quality of the answers held fixed."""
    longer_is_better: float
    """How often the better answer is the longer one: what a judge of length alone would score."""
    retest: float | None
    """Pairs, of some that were judged anew without a cache, in which both values came out the same."""
    canaries: Mapping[str, float] = field(default_factory=dict)
    """Kinds of answers that must never win, and how often they are valued as high as the better answer or higher."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """What the judge says of itself."""
    per_second: float | None = None
    """Answers judged a second, from the first question to the last reply; None where replies were known before."""

    @property
    def parse_rate(self) -> float | None:
        """Share of a model's replies that could be read."""
        if not self.figures.get("replies"):
            return None
        return 1 - self.figures["unreadable"] / self.figures["replies"]


def check_judge(
    name: str,
    config: Mapping[str, Any],
    check: str,
    pairs: Sequence[KnownPair],
    registry: Registry,
    context: RunContext,
    *,
    canary_prompts: int = 5,
) -> CheckReport:
    """Try a judge on pairs, and on the canaries beside the better answers of the first `canary_prompts`.

    Raises ConfigError when the judge has nothing to say of any pair, with its reason.
    """
    judge: Judge = registry.create("judge", name, config, context)
    # A judge that fails, fails here in public: nothing is refused for it.
    bench = Bench({name: judge}, {name: 1.0}, limits=JudgingConfig(max_failed=1.0, min_scored=0.0))
    asked = [group(pair.prompt, pair.better, pair.worse) for pair in pairs]
    started = time.monotonic()
    there = bench.score(asked)
    seconds = time.monotonic() - started
    known = figures_of(judge).get("cached", 0.0) > 0
    back = bench.score([group(pair.prompt, pair.worse, pair.better) for pair in pairs])
    figures = figures_of(judge)

    scored = [
        (pair, (one, other[::-1]))
        for pair, one, other in zip(pairs, map(values, there), map(values, back), strict=True)
        if None not in (*one, *other)
    ]
    if not scored:
        first = there[0].scores[0][0]
        raise ConfigError(
            f"it scores none of {len(pairs)} pairs of {check} ({first.explanation or first.status})",
            where=f"judge {name}",
            remedy="Give it settings that fit them: llm_pairwise has answers to compare with against=siblings.",
        )
    beside, canary_kinds = canary_pairs([group(p.prompt, p.better) for p in pairs[:canary_prompts]], lambda text: ())
    canaries = canary_figures(judge_pairs(bench, beside), canary_kinds, bench.weights)
    anew = Bench(
        {name: registry.create("judge", name, config, replace(context, fresh_verdicts=True))},
        {name: 1.0},
        limits=bench.limits,
    )
    again = anew.score(asked[:RETESTED])
    for each in (bench, anew):
        each.close()

    # A judge that goes by the place of an answer is right in one of the two orders.
    verdicts = [(pair, [_right(*one), _right(*other)]) for pair, (one, other) in scored]
    right = [(pair, sum(both) / 2) for pair, both in verdicts]
    kinds = sorted({pair.kind for pair in pairs})
    by_kind = {kind: [share for pair, share in right if pair.kind == kind] for kind in kinds}
    gains = [((a - b + c - d) / 2, p.better, p.worse) for p, ((a, b), (c, d)) in scored]  # type: ignore[operator]
    return CheckReport(
        judge=name,
        check=check,
        pairs=len(pairs),
        unscored=len(pairs) - len(scored),
        accuracy=share_interval([share for _, share in right], [pair.prompt.id for pair, _ in right], alpha=ALPHA),
        by_kind={kind: (len(shares), sum(shares) / len(shares)) for kind, shares in by_kind.items() if shares},
        ties=sum(both.count(0.5) for _, both in verdicts) / (2 * len(verdicts)),
        order_flips=sum(both[0] != both[1] for _, both in verdicts) / len(verdicts),
        length_slope=length_slope(gains),
        longer_is_better=sum(_right(len(p.better), len(p.worse)) for p, _ in scored) / len(scored),
        retest=retest(list(map(values, there[:RETESTED])), list(map(values, again))),
        canaries={kind: canaries.won_by_kind[kind] / n for kind, n in canaries.judged_by_kind.items() if n},
        figures=figures,
        per_second=None if known else 2 * len(pairs) / max(seconds, 1e-9),
    )


def group(prompt: Prompt, *texts: str) -> Group:
    """Answers as a policy would have given them. They have no token ids: nothing is trained on them."""
    return Group(prompt, (), tuple(Completion(text, ()) for text in texts), "known", Sampling(), "check")


def values(scored: ScoredGroup) -> tuple[float | None, ...]:
    """What the one judge says of each answer."""
    return tuple(score.value for (score,) in scored.scores)


def retest(before: Sequence[Sequence[float | None]], again: Sequence[Sequence[float | None]]) -> float | None:
    """Share of pairs with equal values, two engines' rounding apart, of those scored both times."""
    both = [(a, b) for a, b in zip(before, again, strict=True) if None not in (*a, *b)]
    same = [all(abs(x - y) < SAME_VERDICT for x, y in zip(a, b, strict=True)) for a, b in both]  # type: ignore[operator]
    return sum(same) / len(same) if same else None


def length_slope(differences: Sequence[tuple[float, str, str]]) -> Interval | None:
    """b of value(better) - value(worse) = a + b log2(length of better / length of worse), by least squares, with
    heteroscedasticity-consistent bounds (White 1980). Lengths are in characters, at least one.

    None where all ratios are equal, or there are fewer than three.
    """
    from scipy.special import stdtrit

    y = [difference for difference, _, _ in differences]
    x = [math.log2(max(len(better), 1) / max(len(worse), 1)) for _, better, worse in differences]
    n = len(x)
    mean_x, mean_y = sum(x) / n, sum(y) / n
    spread = sum((value - mean_x) ** 2 for value in x)
    if n < 3 or spread == 0:
        return None
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread
    residuals = [b - mean_y - slope * (a - mean_x) for a, b in zip(x, y, strict=True)]
    error = math.sqrt(sum(((a - mean_x) * r) ** 2 for a, r in zip(x, residuals, strict=True)) * n / (n - 2)) / spread
    reach = float(stdtrit(n - 2, 1 - ALPHA)) * error
    return Interval(slope, slope - reach, slope + reach, error, n)


def _right(better: float | None, worse: float | None) -> float:
    assert better is not None
    assert worse is not None
    return 0.5 if better == worse else float(better > worse)
