"""`harness gate`: the gate on stored evaluations, for continuous integration."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import rich_click as click

from harness.cli.bless import BLESSED_OPTION, HELD
from harness.cli.run import EVALS_OPTION, RUNS_OPTION
from harness.errors import EXIT_INCONCLUSIVE, EXIT_INVALID, EXIT_OK, EXIT_REJECTED, ConfigError, HarnessError
from harness.types import Check, EvalReport, GateDecision

CODES = {
    "promoted": EXIT_OK,
    "rejected": EXIT_REJECTED,
    "inconclusive": EXIT_INCONCLUSIVE,
    "invalid": EXIT_INVALID,
}


@click.command("gate")
@click.argument("candidate")
@click.option("--incumbent", help="What it must beat. Default: the blessed `main`.")
@click.option("--anchor", help="What may not be lost since. Default: the blessed `main`, else the incumbent.")
@click.option("--target", metavar="SUITE", help="The suite that must gain. Default: the one whose role is target.")
@click.option("--rule", type=click.Choice(["gain", "hold"]), default="gain", show_default=True, help="For the target.")
@click.option("--alpha", type=float, help="One-sided level of each condition.  [default: 0.05]")
@click.option("--min-gain", type=float, help="Least estimated gain on the target.  [default: 0.01]")
@click.option("--markdown", type=click.Path(path_type=Path), help="Also write the result there, for a comment.")
@BLESSED_OPTION
@EVALS_OPTION
@RUNS_OPTION
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def gate_command(
    candidate: str,
    incumbent: str | None,
    anchor: str | None,
    target: str | None,
    rule: str,
    alpha: float | None,
    min_gain: float | None,
    markdown: Path | None,
    blessed: Path,
    evals: Path,
    runs: Path,
    as_json: bool,
) -> int:
    """Would the gate promote CANDIDATE? A folder, a name under --evals, RUN, RUN:ROUND; nothing is sampled.

    Roles, margins and floors are the incumbent's. Exit code 0 promoted, 1 rejected, 2 inconclusive, 3 for evaluations
    that cannot be compared.
    """
    from harness.blessing import MAIN, find_blessed, find_blessed_or_stored
    from harness.cli.tables import checks_table
    from harness.gate import GateConfig, gate
    from harness.plugins import validate

    given = {"alpha": alpha, "min_gain": min_gain, "looks": 1}  # what is stored is all there is to look at
    config = validate(GateConfig, {k: v for k, v in given.items() if v is not None}, where="harness gate")

    def find(name: str) -> EvalReport:
        return find_blessed_or_stored(name, folder=blessed, evals=evals, runs=runs).report

    main = None
    if incumbent is None or (anchor is None and (blessed / MAIN / "blessed.json").is_file()):
        main = find_blessed(MAIN, blessed)[1].report
    after = find(candidate)
    before = find(incumbent) if incumbent is not None else main
    assert before is not None
    start = find(anchor) if anchor is not None else main or before
    standing = with_target(before, target)
    held, loosened = held_to(after, standing)
    decision = gate(standing, held, start, config, rule="hold" if rule == "hold" else "gain")
    notes = [f"{candidate} says otherwise, which is not used: {'; '.join(loosened)}."] if loosened else []
    if markdown is not None:
        _write(markdown, as_markdown(candidate, decision, notes))
    if as_json:
        asked = {"candidate": candidate, "incumbent": incumbent or MAIN, "anchor": anchor, "rule": rule}
        shown = {**asked, "target": _target(held), "gate": config.model_dump(mode="json"), **asdict(decision)}
        click.echo(json.dumps({**shown, "notes": notes}, indent=1, ensure_ascii=False))
    if decision.outcome == "invalid":
        remedy = "Evaluate with the suites, judges and settings of what it is held against, or bless anew."
        raise HarnessError(decision.sentence, where="harness gate", remedy=remedy)
    if not as_json:
        click.echo("\n".join([decision.sentence, checks_table(decision.checks), *notes]))
    return CODES[decision.outcome]


def with_target(report: EvalReport, target: str | None) -> EvalReport:
    """With `target` as its one target: another that had the role must not get worse. Without, its own, of which there
    must be one. Raises ConfigError."""
    names = [suite.suite for suite in report.suites]
    targets = [suite.suite for suite in report.suites if suite.role == "target"]
    if target is None:
        if len(targets) != 1:
            found = ", ".join(targets) or "none"
            raise ConfigError(
                f"a gate has one target, and the suites with that role are: {found}",
                where="harness gate",
                remedy=f"Name one with --target: {', '.join(names)}.",
            )
        return report
    if target not in names:
        raise ConfigError(f"no suite {target!r}", where="--target", remedy=f"There are: {', '.join(names)}.")
    others = dict.fromkeys(targets, "regression")
    roles = {**others, target: "target"}
    suites = (replace(suite, role=roles.get(suite.suite, suite.role)) for suite in report.suites)  # type: ignore[arg-type]
    return replace(report, suites=tuple(suites))


def held_to(candidate: EvalReport, incumbent: EvalReport) -> tuple[EvalReport, list[str]]:
    """The candidate's report with the incumbent's roles, margins and floors; and which of the margins and floors were
    others."""
    suites, said = [], []
    for suite in candidate.suites:
        standing = incumbent.suite(suite.suite)
        if standing is None:
            suites.append(suite)
            continue
        for name in HELD[1:]:
            own, theirs = getattr(suite, name), getattr(standing, name)
            if own != theirs:
                said.append(f"{suite.suite} {name} {own} for {theirs}")
        suites.append(replace(suite, **{name: getattr(standing, name) for name in HELD}))
    return replace(candidate, suites=tuple(suites)), said


def _target(report: EvalReport) -> str | None:
    return next((suite.suite for suite in report.suites if suite.role == "target"), None)


def as_markdown(candidate: str, decision: GateDecision, notes: Sequence[str]) -> str:
    """The sentence, and a row a condition."""

    def cell(check: Check) -> list[str]:
        numbers = (check.estimate, check.lower, check.upper, check.threshold)
        verdict = "holds" if check.passed else ("refuted" if check.refuted else "not shown")
        return [check.name, verdict, *("" if n is None else f"{100 * n:+.2f}" for n in numbers), check.note]

    columns = ["condition", "verdict", "estimate", "lower", "upper", "must exceed", "note"]
    rows = [columns, ["---"] * len(columns), *map(cell, decision.checks)] if decision.checks else []
    lines = [f"**{candidate}**: {decision.sentence}", "", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join([*lines, *(["", *notes] if notes else [])]) + "\n"


def _write(path: Path, text: str) -> None:
    from harness.durable import write_text

    try:
        write_text(path, text)
    except OSError as error:
        what = f"cannot be written ({error.strerror})"
        raise ConfigError(what, where=str(path), remedy="Name a file in a folder that is there.") from None
