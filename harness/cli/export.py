"""`harness export`: what was trained, in a form that others load."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import rich_click as click

from harness.cli.app import App, pass_app
from harness.cli.run import RUNS_OPTION
from harness.errors import EXIT_OK


@click.command("export")
@click.argument("source", metavar="RUN_OR_ADAPTER")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="New folder.")
@click.option("--round", "index", type=int, help="The adapter of this round. Default: the run's incumbent.")
@click.option("--model", help="An asset, a local folder, or a model-hub id. Default: what the run or adapter names.")
@click.option("--format", "exporter", default="merged", show_default=True, help="An exporter: merged, adapter ...")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="A setting of the exporter: dtype=float32.")
@RUNS_OPTION
@click.option("--json", "as_json", is_flag=True, help="Print where it comes from as JSON.")
@pass_app
def export_command(
    app: App,
    source: str,
    out: Path,
    index: int | None,
    model: str | None,
    exporter: str,
    sets: Sequence[str],
    runs: Path,
    as_json: bool,
) -> int:
    """Write a run's incumbent, or any adapter, as a folder that others load, with a card that says how it was made.

    RUN_OR_ADAPTER is a run (name or folder) or the folder of an adapter.
    """
    from harness.config import apply_sets
    from harness.export import export_model

    lineage = export_model(
        runs / source if (runs / source / "run.json").is_file() else Path(source),
        out=out,
        round=index,
        model=model,
        format=exporter,
        config=apply_sets({}, sets),
        registry=app.registry,
        progress=app.view,
    )
    if as_json:
        click.echo(json.dumps({"out": str(out), "format": exporter, **asdict(lineage)}, indent=1, ensure_ascii=False))
    else:
        outcome = lineage.steps[-1].outcome if lineage.steps else None
        judged = f"the gate's outcome: {outcome}" if outcome else "not evaluated by a gate"
        click.echo(f"{out}: {exporter} of {lineage.model} and adapter {lineage.version[:12]} ({judged})")
        click.echo(f"What it is and how it was made: {out / 'README.md'}")
    return EXIT_OK
