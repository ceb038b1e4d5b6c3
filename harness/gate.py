"""The gate: may this candidate replace the incumbent? Pure: reports in, decision out.

Promotion is an intersection-union test (Berger 1982): every condition must be shown on its own at level alpha, so the
chance of promoting a candidate that fails any one of them is at most alpha, with no correction for their number.
"Not significantly worse" is not a condition anywhere: what is not shown is not promoted.

One extension is planned: where the first half of the items does not decide, the rest are evaluated and all are looked
at, both looks at Pocock's level. A loop that asks the same items again and again learns from them by what it promotes;
`confirm` asks once, at its end, items that no round has seen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from harness.specs import Config
from harness.statistics import Interval, paired_interval, two_look_level
from harness.types import Check, EvalReport, GateDecision, Outcome, SuiteReport

MIN_SCORED = 0.99
"""Share of items that must be scored in both arms for a comparison to mean anything."""

FIRST_LOOK = 0.5
"""Share of the items that are looked at first where two looks are planned."""

TargetRule = Literal["gain", "hold"]
"""What a round must show on the target: a gain, or as on a regression suite that nothing is lost."""


class GateConfig(Config):
    """`[gate]`: how much evidence a promotion needs. Margins belong to the suites, in score units."""

    alpha: float = Field(default=0.05, gt=0, lt=0.5, description="one-sided level of each condition")
    min_gain: float = Field(
        default=0.01, ge=0, le=1, description="least estimated gain on the target worth a promotion"
    )
    looks: Literal[1, 2] = Field(
        default=2, description="2: half of the items first, and the rest only where that does not decide"
    )
    confirm: float = Field(
        default=0.2,
        ge=0,
        le=0.5,
        description="share of the target's items that no round sees, to confirm at the end what was promoted",
    )
    max_flip_rate: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="share of comparisons in which a judge of the evaluation may contradict itself",
    )
    min_kappa: float | None = Field(
        default=None,
        ge=-1,
        le=1,
        description="Cohen's kappa with people that judges of the evaluation, but for rules, must be shown to have",
    )
    calibrations: tuple[Path, ...] = Field(
        default=(), description="summaries of audits (RUN/audits/NAME.summary.json) that show it"
    )

    @property
    def level(self) -> float:
        """The one-sided level of each condition at each look."""
        return self.alpha if self.looks == 1 else two_look_level(self.alpha, FIRST_LOOK)


def gate(
    incumbent: EvalReport,
    candidate: EvalReport,
    anchor: EvalReport,
    config: GateConfig | None = None,
    *,
    rule: TargetRule = "gain",
    look: int = 1,
) -> GateDecision:
    """Promote, reject, or call the evidence inconclusive.

    `anchor` is the frozen starting point: regression suites are held against it as well, so that small losses
    which each pass cannot add up over rounds. With the rule `hold` the target is one of them. Before the last of
    `config.looks` a guard that is not shown to hold is undecided; at the last it is refuted.
    """
    config = config or GateConfig(looks=1)
    if problem := _invalid(incumbent, candidate, anchor) or contradictory(candidate, config):
        return GateDecision("invalid", f"Not decided: {problem}.")
    judged = _Judged(incumbent, anchor, config, rule, final=look == config.looks)
    checks = [check for suite in candidate.suites for check in judged.checks(suite)]
    binding = [check for check in checks if not check.name.startswith("monitor")]
    failed = [check for check in binding if not check.passed]
    outcome: Outcome = "promoted"
    if failed:
        outcome = "rejected" if any(check.refuted for check in failed) else "inconclusive"
    return GateDecision(outcome, _sentence(outcome, checks, failed, 1 - config.alpha, rule), tuple(checks), look)


def confirm(anchor: EvalReport, final: EvalReport, config: GateConfig, *, rule: TargetRule = "gain") -> GateDecision:
    """Whether what a loop has promoted is better than its starting point on items that no round has seen: one test at
    level alpha, however many rounds there were. `promoted` is to say that it is confirmed."""
    if problem := _invalid(anchor, final, anchor):
        return GateDecision("invalid", f"Not confirmed: {problem}.")
    [suite] = final.suites
    interval = _compare(_report(anchor, suite.suite), suite, config.alpha)
    if rule == "gain":
        check = _target(suite, interval, config)
    else:
        check = _no_worse("target", suite, "anchor", interval, suite.anchor_margin, strict=False)
    outcome: Outcome = "promoted" if check.passed else "rejected" if check.refuted else "inconclusive"
    shown = f"{_points(interval.estimate)} on {suite.suite}, on {interval.n} items that no round has seen"
    bounds = f"[{_points(interval.lower)}, {_points(interval.upper)}]"
    sentence = {
        "promoted": f"Confirmed against the starting point: {shown} "
        f"(at least {_points(interval.lower)} with {1 - config.alpha:.0%} confidence).",
        "rejected": f"Refuted: {shown} {bounds}. What was promoted is rolled back to the starting point.",
        "inconclusive": f"Neither confirmed nor refuted: {shown} {bounds}. The incumbent stays, unconfirmed.",
    }[outcome]
    check = replace(check, name=f"target {suite.suite} vs anchor, fresh items")
    return GateDecision(outcome, sentence, (check,))


@dataclass(frozen=True)
class _Judged:
    """What a candidate's suites are held against."""

    incumbent: EvalReport
    anchor: EvalReport
    config: GateConfig
    rule: TargetRule
    final: bool

    def checks(self, suite: SuiteReport) -> list[Check]:
        before = _report(self.incumbent, suite.suite)
        level = self.config.level
        interval = _compare(before, suite, level)
        if suite.role == "monitor":
            return [_check(f"monitor {suite.suite} vs incumbent", interval, passed=True, refuted=False, threshold=None)]
        if suite.role == "target" and self.rule == "gain":
            return [_target(suite, interval, self.config), *_floor(suite, self.final)]
        if suite.rule == "no_new_failures":
            return [*_floor(suite, self.final), _no_new_failures(before, suite)]
        if suite.role == "guard":
            shown = _no_worse("guard", suite, "incumbent", interval, suite.margin, strict=self.final)
            return [*_floor(suite, self.final), shown]
        since = _compare(_report(self.anchor, suite.suite), suite, level)
        return [
            *_floor(suite, self.final),
            _no_worse(suite.role, suite, "incumbent", interval, suite.margin, strict=False),
            _no_worse(suite.role, suite, "anchor", since, suite.anchor_margin, strict=False),
        ]


def _target(suite: SuiteReport, interval: Interval, config: GateConfig) -> Check:
    passed = interval.lower > 0 and interval.estimate >= config.min_gain
    return _check(
        f"target {suite.suite} vs incumbent",
        interval,
        passed=passed,
        refuted=not passed and interval.upper < config.min_gain,
        threshold=0.0,
        note="" if interval.estimate >= config.min_gain else f"gain below {config.min_gain:g}",
    )


def _no_worse(role: str, suite: SuiteReport, against: str, interval: Interval, margin: float, *, strict: bool) -> Check:
    """Non-inferiority: the lower bound must clear -margin. A `strict` (guard) suite that does not is refuted."""
    passed = interval.lower > -margin
    return _check(
        f"{role} {suite.suite} vs {against}",
        interval,
        passed=passed,
        refuted=not passed and (strict or interval.upper < -margin),
        threshold=-margin,
        note=power_note(interval, margin),
    )


def _no_new_failures(before: SuiteReport, after: SuiteReport) -> Check:
    """No item may score less than it did: no average makes up for one. One that is no longer scored decides nothing."""
    known = [(b.score, a) for b, a in zip(before.items, after.items, strict=True) if b.score is not None]
    failed = [a.id for was, a in known if a.score is not None and a.score < was]
    unscored = [a.id for _, a in known if a.score is None]
    named = failed or unscored
    shown = ", ".join(named[:3]) + (" ..." if len(named) > 3 else "")
    note = f"{'new failures' if failed else 'no longer scored'}: {shown}" if named else ""
    name = f"{after.role} {after.suite} vs incumbent"
    return Check(name, not named, bool(failed), -len(failed) / len(after.items), None, None, 0.0, note)


def _floor(suite: SuiteReport, final: bool) -> list[Check]:
    """A mean below it over all items is refuted; over a part of them it is undecided."""
    if suite.floor is None or suite.mean is None:
        return []
    holds = suite.mean >= suite.floor
    refuted = not holds and final
    return [Check(f"{suite.role} {suite.suite} floor", holds, refuted, suite.mean, None, None, suite.floor)]


def power_note(interval: Interval, margin: float) -> str:
    """A warning when so few items differ in so small a suite that no harmless candidate could pass."""
    reach = interval.estimate - interval.lower
    return f"underpowered: {interval.n} items can show no margin under {reach:.3f}" if reach >= margin else ""


def _check(name: str, i: Interval, *, passed: bool, refuted: bool, threshold: float | None, note: str = "") -> Check:
    return Check(name, passed, refuted, i.estimate, i.lower, i.upper, threshold, note)


# ---------------------------------------------------------------- validity and pairing


def _invalid(incumbent: EvalReport, candidate: EvalReport, anchor: EvalReport) -> str:
    if not any(suite.role == "target" for suite in candidate.suites):
        return "no suite has the role of target"
    for name, other in (("incumbent", incumbent), ("anchor", anchor)):
        if sorted(s.suite for s in other.suites) != sorted(s.suite for s in candidate.suites):
            own, theirs = ({s.suite for s in report.suites} for report in (candidate, other))
            differing = ", ".join(sorted(own ^ theirs))
            return f"the {name} was evaluated on other suites ({differing}: only one of them has it)"
        for suite in candidate.suites:
            before = _report(other, suite.suite)
            if before.fingerprint != suite.fingerprint:
                return f"suite {suite.suite} has changed since the {name} was evaluated (items, judges or decoding)"
            if [(i.hash, i.cluster) for i in before.items] != [(i.hash, i.cluster) for i in suite.items]:
                return f"suite {suite.suite} does not hold the same items as when the {name} was evaluated"
    for who, report in (("incumbent", incumbent), ("candidate", candidate), ("anchor", anchor)):
        for suite in report.suites:
            if not suite.items:
                return f"suite {suite.suite} has no items"
            if suite.pair is not None and suite.role != "monitor" and report.suite(suite.pair) is None:
                return f"suite {suite.suite} means nothing without {suite.pair}, which was not evaluated"
            if len(suite.scored) < MIN_SCORED * len(suite.items):
                return f"only {len(suite.scored)} of {len(suite.items)} items of {suite.suite} are scored for the {who}"
    return ""


def contradictory(report: EvalReport, config: GateConfig) -> str:
    """Which judge of the evaluation contradicts itself more than is allowed, "" if none does."""
    for suite in (suite for suite in report.suites if suite.role != "monitor"):
        for name, value in suite.judging.items():
            if name.endswith("/flip_rate") and config.max_flip_rate is not None and value > config.max_flip_rate:
                judge = name.split("/")[1]
                return f"judge {judge} contradicts itself in {value:.0%} of its comparisons on {suite.suite}"
    return ""


def _report(report: EvalReport, name: str) -> SuiteReport:
    found = report.suite(name)
    assert found is not None, name  # _invalid has seen to it
    return found


def _compare(before: SuiteReport, after: SuiteReport, alpha: float) -> Interval:
    """Pairs items by position (their hashes are known to be equal); an item unscored in either arm is left out."""
    pairs = [
        (b.score, a.score, a.cluster)
        for b, a in zip(before.items, after.items, strict=True)
        if a.score is not None and b.score is not None
    ]
    return paired_interval([a - b for b, a, _ in pairs], [c for _, _, c in pairs], alpha=alpha)


# ---------------------------------------------------------------- words


def _sentence(outcome: Outcome, checks: list[Check], failed: list[Check], confidence: float, rule: TargetRule) -> str:
    if outcome == "promoted":
        target = next(c for c in checks if c.name.startswith("target") and c.name.endswith("vs incumbent"))
        suite, change = target.name.split()[1], _points(target.estimate)
        bound = f"at least {_points(target.lower)} with {confidence:.0%} confidence"
        if rule == "hold":
            return f"Promoted: {suite} holds at {change} ({bound}), and nothing else that must hold got worse."
        return f"Promoted: {change} on {suite} ({bound}), and nothing that must hold got worse."
    first = min([c for c in failed if c.refuted] or failed, key=_shortfall)
    shown = f"{first.name} is {_points(first.estimate)}" + (f" ({first.note})" if first.lower is None else "")
    if first.name.endswith(" floor"):
        shown = (
            f"{first.name.removesuffix(' floor')} is at {first.estimate:.1%}, below its floor of {first.threshold:.1%}"
        )
    if first.lower is not None:
        shown += f" [{_points(first.lower)}, {_points(first.upper)}]"
    if outcome == "rejected":
        return f"Rejected: {shown}, which the gate does not allow. The incumbent stays."
    return f"Inconclusive: {shown}, which is not enough evidence either way. The incumbent stays."


def _shortfall(check: Check) -> float:
    """How far the bound (or, for a floor, the mean) is from what it must exceed; the most negative is the worst."""
    reached = check.lower if check.lower is not None else check.estimate
    return (reached or 0.0) - (check.threshold or 0.0)


def _points(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:+.1f} points"
