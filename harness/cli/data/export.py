"""`harness data export`: training data as others read it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import rich_click as click

from harness.cli.app import App, pass_app
from harness.cli.data.options import LAYOUT_OPTION
from harness.cli.run import RUNS_OPTION
from harness.errors import EXIT_OK, ConfigError

FORMAT_NAMES = (
    "trl-sft", "trl-dpo", "trl-kto", "trl-grpo", "prompt-only", "messages", "alpaca", "sharegpt", "harness",
)  # fmt: skip
SHAPES = ("jsonl", "json", "csv", "parquet", "datasets")


@click.command("export")
@click.argument("source", metavar="FILE|RUN")
@click.option("--to", "format", required=True, type=click.Choice(FORMAT_NAMES), help="Whose rows.")
@click.option("--as", "shape", type=click.Choice(SHAPES), help="Default: what the name of --out ends with.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="New file; for `datasets`, new folder.")
@click.option("--standard", is_flag=True, help="Plain text instead of messages (the formats for TRL and prompt-only).")
@click.option(
    "--take",
    "takes",
    multiple=True,
    type=click.Choice(("chosen", "best", "good")),
    help="One answer as a demonstration: of pairs the chosen, of groups the best, of labelled ones the good.",
)
@click.option("--skip-bad", is_flag=True, help="Leave out rows that cannot be read or written, and say how many.")
@click.option("--rejects", type=click.Path(path_type=Path), help="Write those there, with reasons, as JSONL.")
@LAYOUT_OPTION
@RUNS_OPTION
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
@pass_app
def export_command(
    app: App,
    source: str,
    format: str,
    shape: str | None,
    out: Path,
    standard: bool,
    takes: tuple[str, ...],
    skip_bad: bool,
    rejects: Path | None,
    layout: str,
    runs: Path,
    as_json: bool,
) -> int:
    """Write training data in a format that others train on.

    Answers that are tool calls are tool_calls in `messages`, and their text in all other formats. Rows that a format
    cannot hold as they are end it with exit code 3, and nothing is written but the --rejects.
    """
    from harness.data.exporting import ExportPlan, export
    from harness.data.reading import open_source

    chosen: Any = shape or _shape_of(out)
    plan = ExportPlan(out, format, chosen, standard, cast(Any, takes), rejects, skip_bad)
    found = open_source(source, layout=layout, runs=runs)
    done = export(app.view.track(map(found.parse, found.raw()), description="export"), plan)
    if as_json:
        said = {name: value for name, value in asdict(done).items() if name != "first"}
        click.echo(json.dumps({"out": str(out), "format": format, "as": chosen, **said}, indent=1, ensure_ascii=False))
        return EXIT_OK
    click.echo(f"{out}: {done.rows} rows of {format} from {done.records} of {done.read}")
    if done.without_answer:
        click.echo(f"{done.without_answer} have no answer that can be taken")
    if bad := sum(done.rejected.values()):
        click.echo(f"{bad} left out: " + ", ".join(f"{why} {n}" for why, n in sorted(done.rejected.items())))
    return EXIT_OK


def _shape_of(out: Path) -> str:
    if out.suffix.removeprefix(".") in SHAPES:
        return out.suffix.removeprefix(".")
    raise ConfigError(
        f"{out.suffix or 'its name'} does not say what to write",
        where=str(out),
        remedy=f"Give --as {'|'.join(SHAPES)}.",
    )
