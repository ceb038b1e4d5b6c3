"""The gate on stored evaluations: the incumbent says what counts, and there is one look. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from harness.errors import ConfigError
from harness.gate import GateConfig, TargetRule, gate
from harness.power import unshowable
from harness.types import EvalReport, GateDecision, Role

HELD = ("role", "margin", "anchor_margin", "floor", "rule", "pair")
"""What a suite is held to. The incumbent's: a candidate cannot loosen its own test."""


@dataclass(frozen=True)
class StoredDecision:
    """`target`: the suite that must gain or hold. `notes`: what of the candidate's own was not used."""

    target: str
    decision: GateDecision
    notes: tuple[str, ...] = ()


def gate_stored(
    candidate: EvalReport,
    incumbent: EvalReport,
    anchor: EvalReport,
    config: GateConfig,
    *,
    target: str | None = None,
    rule: TargetRule = "gain",
) -> StoredDecision:
    """The gate's decision, whole evaluations being all there is to look at.

    It is `invalid` as well where a suite has too few items for its margin: no candidate could pass, and a gate that
    nobody passes says nothing. Raises ConfigError where there is not one target.
    """
    standing = with_target(incumbent, target)
    held, notes = held_to(candidate, standing)
    one_look = config.model_copy(update={"looks": 1})
    decision = gate(standing, held, anchor, one_look, rule=rule)
    name = next(suite.suite for suite in standing.suites if suite.role == "target")
    holding = [s for s in held.suites if s.role != "target" or rule == "hold"]
    few = [f"suite {s.suite}: {said}" for s in holding if (said := unshowable(s, config.alpha))]
    if few and decision.outcome != "invalid":
        decision = GateDecision("invalid", f"Not decided: {few[0]}.", decision.checks)
    return StoredDecision(name, decision, tuple(notes))


def with_target(report: EvalReport, target: str | None) -> EvalReport:
    """With `target` as its one target; another that had the role must not get worse. Without, its own, of which there
    must be one."""
    names = [suite.suite for suite in report.suites]
    targets = [suite.suite for suite in report.suites if suite.role == "target"]
    if target is None:
        if len(targets) == 1:
            return report
        raise ConfigError(
            f"a gate has one target, and the suites with that role are: {', '.join(targets) or 'none'}",
            where="harness gate",
            remedy=f"Name one with --target: {', '.join(names)}.",
        )
    if target not in names:
        raise ConfigError(f"no suite {target!r}", where="--target", remedy=f"There are: {', '.join(names)}.")
    roles: Mapping[str, Role] = {**dict.fromkeys(targets, "regression"), target: "target"}
    return replace(report, suites=tuple(replace(s, role=roles.get(s.suite, s.role)) for s in report.suites))


def held_to(candidate: EvalReport, incumbent: EvalReport) -> tuple[EvalReport, list[str]]:
    """The candidate's report with what the incumbent's suites are held to, and what else, but for roles, it said."""
    suites, said = [], []
    for suite in candidate.suites:
        standing = incumbent.suite(suite.suite) or suite
        for name in HELD[1:]:
            own, used = getattr(suite, name), getattr(standing, name)
            if own != used:
                said.append(
                    f"{suite.suite}: the candidate's {name} of {own} is not used, but the incumbent's of {used}"
                )
        suites.append(replace(suite, **{name: getattr(standing, name) for name in HELD}))
    return replace(candidate, suites=tuple(suites)), said
