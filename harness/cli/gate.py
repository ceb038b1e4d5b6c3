"""`harness gate`: the gate on stored evaluations, for continuous integration."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import rich_click as click

from harness.cli.bless import BLESSED_OPTION
from harness.cli.run import EVALS_OPTION, RUNS_OPTION
from harness.errors import EXIT_INCONCLUSIVE, EXIT_OK, EXIT_REJECTED, ConfigError, HarnessError
from harness.types import Check, EvalReport, GateDecision

CODES = {"promoted": EXIT_OK, "rejected": EXIT_REJECTED, "inconclusive": EXIT_INCONCLUSIVE}


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
    from harness.gate import GateConfig
    from harness.plugins import validate
    from harness.stored_gate import gate_stored

    given = {"alpha": alpha, "min_gain": min_gain}
    config = validate(GateConfig, {k: v for k, v in given.items() if v is not None}, where="harness gate")

    def find(name: str) -> EvalReport:
        return find_blessed_or_stored(name, folder=blessed, evals=evals, runs=runs).report

    after = find(candidate)
    before = find_blessed(MAIN, blessed)[1].report if incumbent is None else find(incumbent)
    is_blessed = (blessed / MAIN / "blessed.json").is_file()
    start = find(anchor) if anchor is not None else find(MAIN) if is_blessed else before
    found = gate_stored(after, before, start, config, target=target, rule="hold" if rule == "hold" else "gain")
    decision = found.decision
    if markdown is not None:
        _write(markdown, as_markdown(candidate, decision, found.notes))
    if as_json:
        shown = {"candidate": candidate, "rule": rule, "alpha": config.alpha, "min_gain": config.min_gain}
        held = {"target": found.target, "notes": found.notes, **asdict(decision)}
        click.echo(json.dumps({**shown, **held}, indent=1, ensure_ascii=False))
    if decision.outcome == "invalid":
        remedy = (
            "Evaluate again as what it is held against was, with enough items (see `harness power`), or bless anew."
        )
        raise HarnessError(decision.sentence, where="harness gate", remedy=remedy)
    if not as_json:
        click.echo("\n".join([decision.sentence, checks_table(decision.checks), *found.notes]))
    return CODES[decision.outcome]


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
