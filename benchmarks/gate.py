"""Loops under four rules of promotion, simulated on paired data like a real run's: what is promoted, and what it costs.

    python benchmarks/gate.py [--loops 300] [--rounds 12] [--json FILE]

A policy answers an item rightly when its skill, the item's ease and the policy's luck with it add up to more than 0. A
candidate keeps most of its incumbent's luck, so that verdicts flip on as many items as in real rounds (8% on 495 calls,
5% on 278 questions), and the rest is drawn anew, alike within a cluster. Its true change in skill is the scenario's.
The items are the same in every round, as in a loop, so a rule that promotes luck keeps what it was lucky with. Our
gate is the library's own function, with its two looks and its confirmation on fresh items.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from harness.cli.table import table
from harness.cli.view import View
from harness.gate import FIRST_LOOK, GateConfig, confirm, gate
from harness.types import EvalReport, ItemResult, Role, SuiteReport

Floats = NDArray[np.float64]
ALPHA = 0.05


@dataclass(frozen=True)
class Kind:
    """A suite: how many items, how large its clusters are in the mean, its true score at the start, flips a round."""

    name: str
    role: Role
    items: int
    cluster: float
    start: float
    flips: float
    margin: float
    anchor_margin: float


TARGET = Kind("calls", "target", 396, 1.9, 0.25, 0.08, 0.05, 0.075)
FRESH = Kind("calls", "target", 99, 1.9, 0.25, 0.08, 0.05, 0.075)
GENERAL = Kind("general", "regression", 278, 1.0, 0.60, 0.05, 0.075, 0.1)


@dataclass(frozen=True)
class Scenario:
    """True changes of every candidate's score against its incumbent, and whether promoting it is a mistake."""

    name: str
    target: float
    general: float
    wrong: bool
    small: bool = False
    """Forty items a suite, of which few ever flip."""


SCENARIOS = (
    Scenario("null: nothing changes", 0.0, 0.0, True),
    Scenario("null, 40 items", 0.0, 0.0, True, small=True),
    Scenario("drifting: no gain, general -1", 0.0, -0.01, True),
    Scenario("harmful: +4, general -9", 0.04, -0.09, True),
    Scenario("trading: +2, general -1", 0.02, -0.01, False),
    Scenario("better: +3", 0.03, 0.0, False),
    Scenario("better: +6", 0.06, 0.0, False),
)

# ---------------------------------------------------------------- policies and their answers


@dataclass(frozen=True)
class Arm:
    """A policy on one suite: its true score and its luck with each item, standard normal."""

    truth: float
    luck: Floats


@dataclass
class World:
    """The items of one suite. Ease and luck have variance 1 each, so a true score m is a skill of sqrt(2) probit(m)."""

    kind: Kind
    rng: np.random.Generator
    clusters: NDArray[np.int64] = field(init=False)
    ease: Floats = field(init=False)

    def __post_init__(self) -> None:
        sizes: list[int] = []
        while sum(sizes) < self.kind.items:
            sizes.append(int(self.rng.geometric(1 / self.kind.cluster)))
        self.clusters = np.repeat(np.arange(len(sizes)), sizes)[: self.kind.items]
        self.ease = self._drawn()

    def _drawn(self) -> Floats:
        """Standard normal by item, with a correlation of 0.3 within a cluster."""
        shared = self.rng.standard_normal(int(self.clusters[-1]) + 1)[self.clusters]
        return np.sqrt(0.3) * shared + np.sqrt(0.7) * self.rng.standard_normal(len(self.clusters))

    def start(self) -> Arm:
        return Arm(self.kind.start, self._drawn())

    def candidate(self, incumbent: Arm, change: float) -> Arm:
        # Two normals differ in sign with probability arccos(r) / pi; ease is half of the variance and does not change.
        kept = 2 * np.cos(self.kind.flips * np.pi) - 1
        luck = kept * incumbent.luck + np.sqrt(1 - kept**2) * self._drawn()
        return Arm(float(np.clip(incumbent.truth + change, 0.01, 0.99)), luck)

    def scores(self, arm: Arm) -> Floats:
        return (self.ease + arm.luck + np.sqrt(2) * stats.norm.ppf(arm.truth) > 0).astype(float)

    def report(self, arm: Arm, share: float = 1.0) -> SuiteReport:
        """Over the first clusters that hold `share` of the items; their order means nothing."""
        upto = int(np.searchsorted(self.clusters, self.clusters[int(share * len(self.clusters)) - 1], side="right"))
        items = tuple(
            ItemResult(str(i), str(i), str(cluster), score)
            for i, (cluster, score) in enumerate(
                zip(self.clusters[:upto], self.scores(arm)[:upto].tolist(), strict=True)
            )
        )
        k = self.kind
        return SuiteReport(k.name, k.role, "", items, k.margin, k.anchor_margin)


Arms = tuple[Arm, Arm]
"""A policy on the target and on the regression suite."""
Worlds = tuple[World, World]


# ---------------------------------------------------------------- the rules


def ours(worlds: Worlds, incumbent: Arms, candidate: Arms, anchor: Arms, config: GateConfig) -> bool:
    for look in range(1, config.looks + 1):
        share = FIRST_LOOK if look < config.looks else 1.0
        reports = [
            EvalReport("", tuple(world.report(arm, share) for world, arm in zip(worlds, arms, strict=True)))
            for arms in (incumbent, candidate, anchor)
        ]
        decision = gate(*reports, config, look=look)
        if decision.outcome != "inconclusive":
            break
    return decision.promoted


def two_looks(worlds: Worlds, incumbent: Arms, candidate: Arms, anchor: Arms) -> bool:
    return ours(worlds, incumbent, candidate, anchor, GateConfig())


def one_look(worlds: Worlds, incumbent: Arms, candidate: Arms, anchor: Arms) -> bool:
    return ours(worlds, incumbent, candidate, anchor, GateConfig(looks=1))


def differences(worlds: Worlds, incumbent: Arms, candidate: Arms) -> list[Floats]:
    return [w.scores(c) - w.scores(i) for w, i, c in zip(worlds, incumbent, candidate, strict=True)]


def best_metric(worlds: Worlds, incumbent: Arms, candidate: Arms, anchor: Arms) -> bool:
    return bool(differences(worlds, incumbent, candidate)[0].mean() > 0)


def not_worse(worlds: Worlds, incumbent: Arms, candidate: Arms, anchor: Arms) -> bool:
    target, general = differences(worlds, incumbent, candidate)
    return bool(target.mean() > 0) and not _shown(-general)


def paired_t(worlds: Worlds, incumbent: Arms, candidate: Arms, anchor: Arms) -> bool:
    target, general = differences(worlds, incumbent, candidate)
    return _shown(target) and not _shown(-general)


def _shown(d: Floats) -> bool:
    """The plain paired t-test: the mean is above 0 at ALPHA, one-sided."""
    return bool(d.any()) and bool(stats.ttest_1samp(d, 0.0, alternative="greater").pvalue < ALPHA)


RULES: dict[str, Callable[[Worlds, Arms, Arms, Arms], bool]] = {
    "harness gate": two_looks,
    "harness gate, one look": one_look,
    "best metric wins": best_metric,
    "not significantly worse": not_worse,
    "plain paired t": paired_t,
}


# ---------------------------------------------------------------- loops


@dataclass(frozen=True)
class Ended:
    """One loop: rounds that promoted, true scores at the end less those at the start, and what fresh items said."""

    promotions: int
    target: float
    general: float
    confirmed: bool


def run(scenario: Scenario, rule: str, seed: int, rounds: int) -> Ended:
    """All rules see the same worlds and the same luck as long as they decide alike."""
    kinds = (TARGET, GENERAL)
    if scenario.small:
        target, general = (replace(kind, items=40, flips=0.04, margin=0.2, anchor_margin=0.2) for kind in kinds)
        kinds = target, general
    worlds = World(kinds[0], np.random.default_rng([seed, 1])), World(kinds[1], np.random.default_rng([seed, 2]))
    fresh = World(FRESH, np.random.default_rng([seed, 3]))
    incumbent = anchor = (worlds[0].start(), worlds[1].start())
    unseen = start = fresh.start()
    promotions = 0
    for _ in range(rounds):
        changes = scenario.target, scenario.general
        candidate = (worlds[0].candidate(incumbent[0], changes[0]), worlds[1].candidate(incumbent[1], changes[1]))
        unseen_candidate = fresh.candidate(unseen, scenario.target)
        if RULES[rule](worlds, incumbent, candidate, anchor):
            incumbent, unseen = candidate, unseen_candidate
            promotions += 1
    arms = (EvalReport("", (fresh.report(arm),)) for arm in (start, unseen))
    confirmed = promotions > 0 and confirm(*arms, GateConfig()).promoted
    return Ended(promotions, incumbent[0].truth - anchor[0].truth, incumbent[1].truth - anchor[1].truth, confirmed)


def summary(scenario: Scenario, rule: str, ends: Sequence[Ended], rounds: int) -> dict[str, object]:
    promoted = np.array([end.promotions for end in ends]) / rounds
    return {
        "scenario": scenario.name,
        "rule": rule,
        "wrong": scenario.wrong,
        "promoted": float(promoted.mean()),
        "error": float(promoted.std(ddof=1) / np.sqrt(len(ends))),
        "loops_with_any": float(np.mean([end.promotions > 0 for end in ends])),
        "confirmed": float(np.mean([end.confirmed for end in ends])),
        "target": float(np.mean([end.target for end in ends])),
        "general": float(np.mean([end.general for end in ends])),
        "general_worst": float(np.quantile([end.general for end in ends], 0.05)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loops", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = []
    with View(quiet=False).task("loops", total=len(SCENARIOS) * len(RULES) * options.loops) as advance:
        for scenario in SCENARIOS:
            for rule in RULES:
                ends = []
                for seed in range(options.loops):
                    ends.append(run(scenario, rule, seed, options.rounds))
                    advance()
                found.append(summary(scenario, rule, ends, options.rounds))
    columns = [
        "scenario",
        "rule",
        "promoted a round",
        "loops with any",
        "confirmed",
        "true gain",
        "of general (worst 5%)",
    ]
    rows = [
        [
            str(row["scenario"]),
            str(row["rule"]),
            f"{row['promoted']:.1%} ± {1.96 * row['error']:.1%}",
            "wrong" if row["wrong"] else "right",
            f"{row['loops_with_any']:.0%}",
            f"{row['confirmed']:.0%}" if str(row["rule"]).startswith("harness") else "",
            f"{100 * row['target']:+.1f}",
            f"{100 * row['general']:+.1f} ({100 * row['general_worst']:+.1f})",
        ]
        for row in found
    ]
    print(table(columns, rows, title=f"{options.loops} loops of {options.rounds} rounds each; gains in points"))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
