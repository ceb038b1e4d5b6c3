"""`harness export-log`: an evaluation as logs that other viewers open."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import rich_click as click

from harness.cli.app import App, pass_app
from harness.cli.run import RUNS_OPTION
from harness.errors import EXIT_OK


@click.command("export-log")
@click.argument("evaluation")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="New folder.")
@click.option("--model", default="", help="What the logs call the model. Default: what the evaluation calls it.")
@click.option("--format", "form", type=click.Choice(["eval", "json"]), default="eval", show_default=True)
@click.option(
    "--evals", type=click.Path(path_type=Path), default=Path("evals"), show_default=True, help="Folder of evaluations."
)
@RUNS_OPTION
@click.option("--json", "as_json", is_flag=True, help="Print the files as JSON.")
@pass_app
def export_log_command(
    app: App,
    evaluation: str,
    out: Path,
    model: str,
    form: Literal["eval", "json"],
    evals: Path,
    runs: Path,
    as_json: bool,
) -> int:
    """Write an evaluation as logs of inspect_ai, one a suite, for `inspect view --log-dir OUT`.

    EVALUATION is a folder, a name under --evals, RUN:ROUND, or a run for what stands in it.
    """
    from harness.evaluations import find_evaluation
    from harness.inspect_logs import export_logs

    files = export_logs(find_evaluation(evaluation, evals=evals, runs=runs), out, model=model, format=form)
    click.echo(json.dumps([str(file) for file in files], indent=1) if as_json else "\n".join(map(str, files)))
    return EXIT_OK
