"""What a report says in figures: of each suite and each slice of it the mean, how far it can be trusted, and pass@k."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.passing import Passing, passing
from harness.statistics import Estimate, Interval, estimate, paired_interval
from harness.types import ItemResult, SuiteReport


@dataclass(frozen=True, slots=True)
class Figures:
    """Of a suite or of a slice of one. `score` is None where no item is scored."""

    name: str
    items: int
    unscored: int
    clusters: int
    score: Estimate | None
    labels: tuple[tuple[str, int], ...]
    """What became of the completions, and of how many; the most frequent first."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Of a suite. It has `slices` where there are at least two."""

    whole: Figures
    slices: tuple[Figures, ...]
    passing: tuple[Passing, ...]


def summarize(report: SuiteReport, *, threshold: float = 1.0) -> Summary:
    """`threshold`: the score from which on an answer counts as right."""
    members: dict[str, list[ItemResult]] = defaultdict(list)
    for item in report.items:
        members[item.slice].append(item)
    slices = [figures_of(name or "other", members[name]) for name in sorted(members)] if len(members) > 1 else []
    return Summary(figures_of(report.suite, report.items), tuple(slices), passing(report.items, threshold=threshold))


def figures_of(name: str, items: Sequence[ItemResult]) -> Figures:
    scored = [item for item in items if item.score is not None]
    values = [item.score for item in scored if item.score is not None]
    labels = Counter(label for item in items for label in item.labels)
    return Figures(
        name=name,
        items=len(items),
        unscored=len(items) - len(scored),
        clusters=len({item.cluster for item in items}),
        score=estimate(values, [item.cluster for item in scored]) if values else None,
        labels=tuple(sorted(labels.items(), key=lambda counted: (-counted[1], counted[0]))),
    )


def estimate_cells(found: Estimate | None) -> list[str]:
    """Mean, 95% interval and standard error, as text."""
    if found is None:
        return ["unscored", "", ""]
    error = "" if found.error is None else f"{found.error:.1%}"
    return [f"{found.mean:.1%}", f"[{found.lower:.1%}, {found.upper:.1%}]", error]


@dataclass(frozen=True, slots=True)
class Change:
    """Of one suite under two conditions, over the `items` that are scored under both."""

    items: int
    before: float
    after: float
    difference: Interval
    """Paired and clustered, at 95%, around the plain mean."""
    won: int
    lost: int
    """Items whose score rose, and fell."""


def changed(before: SuiteReport, after: SuiteReport) -> Change | None:
    """None where no item is scored under both. Items are paired by content, in their order."""
    olds = {(item.id, item.hash): item.score for item in before.items}
    pairs = [
        (old, item.score, item.cluster)
        for item in after.items
        if (old := olds.get((item.id, item.hash))) is not None and item.score is not None
    ]
    if not pairs:
        return None
    differences = [new - old for old, new, _ in pairs]
    bounds = paired_interval(differences, [cluster for _, _, cluster in pairs], alpha=0.025)
    mean = math.fsum(differences) / len(pairs)
    return Change(
        items=len(pairs),
        before=math.fsum(old for old, _, _ in pairs) / len(pairs),
        after=math.fsum(new for _, new, _ in pairs) / len(pairs),
        difference=replace(bounds, estimate=mean, lower=min(mean, bounds.lower), upper=max(mean, bounds.upper)),
        won=sum(d > 0 for d in differences),
        lost=sum(d < 0 for d in differences),
    )
