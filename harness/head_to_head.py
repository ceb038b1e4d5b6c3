"""Stored evaluations against one another, item by item: what differs, for whom it counts, and by how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from harness.bradley_terry import Outcome, Ranking, ranking
from harness.errors import ConfigError
from harness.evaluations import Evaluation
from harness.statistics import Interval, paired_interval
from harness.types import ItemResult, ScoredGroup, SuiteReport

ALPHA = 0.025
"""Of each side: intervals of 95%."""
TIE = 1e-9
"""Scores of an item that lie closer than this are equal: they are means over epochs."""
NOT_MEASURED = ("train", "role", "margins", "rule", "gold")
"""Of a suite's identity, what no score depends on."""


@dataclass(frozen=True)
class Difference:
    """The second evaluation minus the first, on a suite or a slice of one. `wins` are the second's."""

    name: str
    interval: Interval
    clusters: int
    wins: int
    ties: int
    losses: int
    unscored: int
    """Items that either leaves unscored, which count nowhere."""
    before: float
    after: float
    """Mean scores of the items that count."""


@dataclass(frozen=True)
class SuiteComparison:
    whole: Difference
    slices: tuple[Difference, ...]
    """Empty where the suite has one slice only. Each has its own interval, not corrected for their number."""


@dataclass(frozen=True)
class Example:
    """An item that one of the two does better on, with an answer of each (the first epoch's)."""

    id: str
    question: str
    scores: tuple[float, float]
    labels: tuple[str, str]
    answers: tuple[str, str]


# ---------------------------------------------------------------- what can be compared


def comparable(
    evaluations: Sequence[Evaluation], *, suites: Sequence[str] = (), common: bool = False
) -> list[tuple[SuiteReport, ...]]:
    """Of each suite that all have (or of those named), every evaluation's report, with the same items in one order.

    Raises ConfigError, with what differs, where a suite was not measured alike (`SuiteReport.fingerprint`), or where
    there is no suite to compare. With `common`, suites that were not are cut to the items that all have, by content.
    """
    held = [{suite.suite: suite for suite in evaluation.report.suites} for evaluation in evaluations]
    shared = [name for name in held[0] if all(name in reports for reports in held)]
    for name in suites:
        if name not in shared:
            raise ConfigError(
                f"not all evaluations have suite {name!r}", where="--suite", remedy=f"All have: {_list(shared)}."
            )
    if not shared:
        each = "; ".join(f"{e.name}: {_list(list(h))}" for e, h in zip(evaluations, held, strict=True))
        raise ConfigError(f"they have no suite in common ({each})", remedy="Evaluate both on the same suites.")
    return [_alike(name, evaluations, [reports[name] for reports in held], common) for name in suites or tuple(shared)]


def _alike(
    name: str, evaluations: Sequence[Evaluation], reports: Sequence[SuiteReport], common: bool
) -> tuple[SuiteReport, ...]:
    first = reports[0]
    for evaluation, report in zip(evaluations[1:], reports[1:], strict=True):
        same_items = [item.hash for item in report.items] == [item.hash for item in first.items]
        if report.fingerprint == first.fingerprint and same_items:
            continue
        if common:
            return _cut_to_common(name, reports)
        raise ConfigError(
            f"suite {name} was not measured alike in {evaluations[0].name} and {evaluation.name}: "
            f"{what_differs(name, evaluations[0], evaluation)}",
            where="compare",
            remedy="Evaluate both with the same suite, judges and settings, or compare the items that both have with "
            "--common.",
        )
    return tuple(reports)


def what_differs(name: str, first: Evaluation, second: Evaluation) -> str:
    """Of a suite whose fingerprints or items are not equal."""
    one, other = (evaluation.report.suite(name) for evaluation in (first, second))
    assert one is not None
    assert other is not None
    ours, theirs = ({item.hash for item in report.items} for report in (one, other))
    said = []
    if ours != theirs:
        said.append(f"{len(ours & theirs)} items are in both, {len(ours - theirs)} and {len(theirs - ours)} in one")
    elif [item.hash for item in one.items] != [item.hash for item in other.items]:
        said.append("the items are in another order")
    settings = _other_settings(first.identity, second.identity)
    changed = _changed(_of_suite(first.identity, name), _of_suite(second.identity, name))
    if settings and ours == theirs and "items" in changed:  # the digest of the items covers how they are decoded
        changed.remove("items")
    if changed:
        said.append(f"{_list(changed)} changed")
    said += settings
    epochs = [len(report.items[0].epochs) if report.items else 0 for report in (one, other)]
    if epochs[0] != epochs[1] and not any("epochs" in text for text in said):
        said.append(f"{epochs[0]} and {epochs[1]} epochs")
    return "; ".join(said) or "the judges, the decoding, or the items' metadata changed"


def _of_suite(identity: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = identity.get("suites", {})
    return found.get(name, {}) if isinstance(found, Mapping) else {}


def _other_settings(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Of sampling for an evaluation (`limit`, `epochs` ...), where both identities say them."""
    ours, theirs = (identity.get("eval") or identity.get("config", {}).get("eval", {}) for identity in (first, second))
    return [f"eval.{key} is {ours[key]} and {theirs[key]}" for key in _changed(ours, theirs)]


def _changed(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Only what both say: two versions need not record the same."""
    return [key for key in one if key in other and key not in NOT_MEASURED and one[key] != other[key]]


def _cut_to_common(name: str, reports: Sequence[SuiteReport]) -> tuple[SuiteReport, ...]:
    by_hash: list[dict[str, ItemResult]] = [{item.hash: item for item in report.items} for report in reports]
    shared = [key for key in by_hash[0] if all(key in items for items in by_hash)]
    if not shared:
        raise ConfigError(f"no item of suite {name} is in all of them", where="--common", remedy="Evaluate again.")
    return tuple(
        replace(report, items=tuple(items[key] for key in shared))
        for report, items in zip(reports, by_hash, strict=True)
    )


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


# ---------------------------------------------------------------- two


def compare_two(before: SuiteReport, after: SuiteReport, *, alpha: float = ALPHA) -> SuiteComparison:
    """`after` minus `before`, whose items are the same. Raises ConfigError when none is scored in both."""
    pairs = list(zip(before.items, after.items, strict=True))
    names = sorted({item.slice for item, _ in pairs})
    parts = [(name or "other", [pair for pair in pairs if pair[0].slice == name]) for name in names]
    whole = _difference(before.suite, pairs, alpha)
    if whole is None:
        raise ConfigError(
            f"no item of suite {before.suite} is scored in both", where="compare", remedy="Look at its judges."
        )
    slices = [_difference(name, members, alpha) for name, members in parts] if len(parts) > 1 else []
    return SuiteComparison(whole, tuple(part for part in slices if part is not None))


def _difference(name: str, pairs: Sequence[tuple[ItemResult, ItemResult]], alpha: float) -> Difference | None:
    known = _scored(pairs)
    if not known:
        return None
    gains = [after - before for before, after, _ in known]
    clusters = [item.cluster for _, _, item in known]
    return Difference(
        name=name,
        interval=paired_interval(gains, clusters, alpha=alpha),
        clusters=len(set(clusters)),
        wins=sum(gain > TIE for gain in gains),
        ties=sum(abs(gain) <= TIE for gain in gains),
        losses=sum(gain < -TIE for gain in gains),
        unscored=len(pairs) - len(known),
        before=sum(before for before, _, _ in known) / len(known),
        after=sum(after for _, after, _ in known) / len(known),
    )


def _scored(pairs: Sequence[tuple[ItemResult, ItemResult]]) -> list[tuple[float, float, ItemResult]]:
    return [(b.score, a.score, a) for b, a in pairs if b.score is not None and a.score is not None]


def examples(
    before: SuiteReport,
    after: SuiteReport,
    given: tuple[Sequence[ScoredGroup], Sequence[ScoredGroup]],
    count: int,
) -> tuple[list[Example], list[Example]]:
    """Up to `count` items each that the second wins and loses, the widest apart first. `given` are the suite's scored
    groups of both."""
    groups = [{scored.group.prompt.hash: scored.group for scored in arm} for arm in given]
    by_hash = {item.hash: item for item in before.items}
    scored = _scored(list(zip(before.items, after.items, strict=True)))
    ordered = sorted(scored, key=lambda row: (-abs(row[1] - row[0]), row[2].id))

    def shown(b: float, a: float, item: ItemResult) -> Example:
        prompt = groups[0][item.hash].prompt
        return Example(
            id=item.id,
            question=str(prompt.messages[-1]["content"]) if prompt.messages else "",
            scores=(b, a),
            labels=("; ".join(by_hash[item.hash].labels), "; ".join(item.labels)),
            answers=(groups[0][item.hash].completions[0].text, groups[1][item.hash].completions[0].text),
        )

    wins = [shown(*row) for row in ordered if row[1] - row[0] > TIE][:count]
    losses = [shown(*row) for row in ordered if row[0] - row[1] > TIE][:count]
    return wins, losses


def sentence(found: SuiteComparison, first: str, second: str, *, alpha: float = ALPHA) -> str:
    """What a suite's interval says, for people."""
    whole, i = found.whole, found.whole.interval
    sure = f"{100 * (1 - 2 * alpha):g}% sure"
    bounds = f"between {100 * i.lower:+.1f} and {100 * i.upper:+.1f} points"
    if i.lower > 0 or i.upper < 0:
        word = "better" if i.lower > 0 else "worse"
        return (
            f"{whole.name}: {second} is {word} than {first} by {abs(100 * i.estimate):.1f} points ({sure}: {bounds})."
        )
    return (
        f"{whole.name}: no difference is shown; {second} is at {100 * i.estimate:+.1f} points to {first} "
        f"({sure}: {bounds})."
    )


# ---------------------------------------------------------------- three or more


def rank(names: Sequence[str], reports: Sequence[SuiteReport], *, alpha: float = ALPHA) -> Ranking:
    """Bradley-Terry strengths from who scores higher on each item; items that a pair does not both have scored tell
    nothing of it. `reports` hold the same items."""
    outcomes = [
        Outcome(i, j, 0.5 if abs(one - other) <= TIE else float(one > other), item.cluster)
        for i, j in combinations(range(len(reports)), 2)
        for one, other, item in _scored(list(zip(reports[i].items, reports[j].items, strict=True)))
    ]
    if not outcomes:
        what = f"no item of suite {reports[0].suite} is scored in two of them"
        raise ConfigError(
            what, where="compare", remedy="Judge them again with `harness score`, or leave it out with --suite."
        )
    return ranking(names, outcomes, alpha=alpha)


def only_in_some(evaluations: Sequence[Evaluation]) -> dict[str, list[str]]:
    """Suites that not all evaluations have, and by whom they are held."""
    held: dict[str, list[str]] = {}
    for evaluation in evaluations:
        for suite in evaluation.report.suites:
            held.setdefault(suite.suite, []).append(evaluation.name)
    return {suite: names for suite, names in held.items() if len(names) < len(evaluations)}
