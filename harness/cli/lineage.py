"""`harness lineage`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from harness.cli.app import App, pass_app
from harness.cli.run import RUNS_OPTION

if TYPE_CHECKING:
    from harness.provenance import Known, Training
    from harness.tracing import Trace


@click.command("lineage")
@click.argument("what")
@RUNS_OPTION
@click.option("--also", multiple=True, type=click.Path(path_type=Path), help="Another folder to look in; repeatable.")
@click.option("--examples", is_flag=True, help="Of an adapter: the origin of each example, as JSONL.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@pass_app
def lineage_command(app: App, what: str, runs: Path, also: Sequence[Path], examples: bool, as_json: bool) -> None:
    """What was trained on a source, or what an adapter was trained on.

    WHAT is a prompt id, FILE, FILE:LINE, a suite, judge:NAME, filter:NAME or text:WORDS; or an adapter, by its folder
    or how its version begins. Runs, adapters of `harness train` and exports are looked for under --runs and --also.
    """
    from harness.errors import ConfigError
    from harness.provenance import survey
    from harness.tracing import adapter_version, chain, trace

    known = survey([runs, *also])
    for problem in known.unread:
        click.echo(f"warning: not looked into: {problem}", err=True)
    version = adapter_version(known, what)
    if version is not None:
        trainings = chain(known, version)
        if examples:
            for row in (row for training in trainings for row in _example_rows(training)):
                click.echo(json.dumps(row, ensure_ascii=False))
        elif as_json:
            click.echo(json.dumps({"version": version, "trainings": [_facts(t) for t in trainings]}, indent=1))
        else:
            click.echo(_adapter_table(version, trainings))
        return
    if examples:
        remedy = "Name its folder, or its version."
        raise ConfigError("--examples lists those of an adapter, and this is none", where=what, remedy=remedy)
    found = trace(known, what)
    if as_json:
        shown = {
            "what": what,
            "trained_on": [{**_facts(use.training), "matching": use.examples} for use in found.uses],
            "descendants": [_facts(training) for training in found.descendants],
            "exports": [export.where for export in found.exports],
            "unread": list(found.unread),
        }
        click.echo(json.dumps(shown, indent=1, ensure_ascii=False))
    else:
        click.echo(_trace_text(known, what, found))


def _facts(training: Training) -> dict[str, Any]:
    from harness.tracing import sources

    return {
        "where": training.where,
        "round": training.round,
        "version": training.version,
        "parent": training.parent,
        "outcome": training.outcome or None,
        "examples": len(training.examples),
        "sources": sources(training),
        "judges_and_filters": dict(training.components),
    }


def _example_rows(training: Training) -> list[dict[str, Any]]:
    return [
        {
            "prompt": example.origin.prompt,
            "suite": example.origin.suite or None,
            "from": [str(line) for line in example.origin.lines],
            "where": training.where,
            "round": training.round,
            "adapter": training.version,
            "policy": example.policy or None,
            "judges": {name: training.components.get(f"judge {name}") for name in example.judges},
            "cleaned_by": list(example.origin.filters),
            "filters": {name: training.components[f"filter {name}"] for name in training.filters},
        }
        for example in training.examples
    ]


def _row(training: Training, count: int) -> list[str]:
    round = "-" if training.round is None else str(training.round)
    return [training.where, round, training.version[:12], str(count), training.outcome or "no gate"]


def _adapter_table(version: str, trainings: Sequence[Training]) -> str:
    from harness.cli.table import table
    from harness.tracing import sources
    from harness.types import BASE_POLICY

    rows = []
    for training in trainings:
        said = ", ".join(f"{count} of {name}" for name, count in sorted(sources(training).items()))
        rows.append([*_row(training, len(training.examples)), said, ", ".join(sorted(training.components))])
    columns = ["trained in", "round", "adapter", "examples", "outcome", "from", "judges and filters"]
    lines = [table(columns, rows, title=f"adapter {version[:12]}: {len(trainings)} trainings")]
    if trainings and trainings[0].parent != BASE_POLICY:
        lines.append(f"It goes on from {trainings[0].parent[:12]}, which is not known here.")
    return "\n".join(lines)


def _trace_text(known: Known, what: str, found: Trace) -> str:
    from harness.cli.table import table

    if not found.uses:
        lines = [f"Nothing was trained on {what}: {len(known.trainings)} adapters were looked at."]
    else:
        columns = ["trained in", "round", "adapter", "examples", "outcome"]
        rows = [_row(use.training, use.examples) for use in found.uses]
        lines = [table(columns, rows, title=f"trained on {what}")]
        if found.descendants:
            later = [_row(training, len(training.examples)) for training in found.descendants]
            lines.append(table(columns, later, title="descended from them"))
        lines += [f"exported   {export.where}" for export in found.exports]
        lines += _ways_out(what, found)
    lines += [f"not known  {problem}" for problem in found.unread if problem not in known.unread]
    return "\n".join(lines)


def _ways_out(what: str, found: Trace) -> list[str]:
    """What to do to be rid of it: per run the first round that read it, and what stood before."""
    first: dict[str, Training] = {}
    for training in (use.training for use in found.uses):
        first.setdefault(training.where, training)
    kind = what.partition(":")[0]
    lines = []
    for where, training in first.items():
        if training.round is None:
            lines.append(f"to be rid of it: remove {where}, and train again without it")
        else:
            lines.append(
                f"to be rid of it: {where} is touched from round {training.round} on; what stood before is "
                f"{training.parent[:12]}"
            )
    if kind not in {"judge", "filter", "text"} and any(training.round is not None for training in first.values()):
        lines.append(f"then run the loop anew with [data] exclude = [{json.dumps(what, ensure_ascii=False)}]")
    return lines
