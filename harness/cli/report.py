"""`harness report`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

from harness.cli.app import App, pass_app
from harness.cli.run import EVALS_OPTION, RUNS_OPTION
from harness.errors import ConfigError


class Share(click.FloatRange):
    """From 0, which every answer reaches, to 1; without 0. A number that is none (nan) is in no range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = float(super().convert(value, param, ctx))
        if found != found:
            self.fail(f"{value} is not a number above 0 and up to 1", param, ctx)
        return found


SHARE = Share(0, 1, min_open=True)


@click.command("report")
@click.argument("evaluation")
@click.option(
    "--format", "form", type=click.Choice(["markdown", "json", "junit"]), default="markdown", show_default=True
)
@click.option("--out", type=click.Path(path_type=Path), help="File to write. Default: print.")
@click.option("--threshold", type=SHARE, default=1.0, show_default=True, help="Score from which on an answer is right.")
@click.option("--worst", type=click.IntRange(min=0), help="Items of each suite to single out. Default: 5.")
@EVALS_OPTION
@RUNS_OPTION
@pass_app
def report_command(
    app: App,
    evaluation: str,
    form: str,
    out: Path | None,
    threshold: float,
    worst: int | None,
    evals: Path,
    runs: Path,
) -> None:
    """Write an evaluation down for people (Markdown), for programs (JSON), or for continuous integration (JUnit XML).

    EVALUATION is a folder, a name under --evals, or RUN:ROUND.
    """
    from harness.evaluations import find_evaluation
    from harness.jsonl import write_over
    from harness.reports import render

    if form == "junit" and worst is not None:
        raise ConfigError("JUnit XML lists every item", where="--worst", remedy="Leave it out.")
    found = find_evaluation(evaluation, evals=evals, runs=runs)
    text = render(found, form, threshold=threshold, worst=5 if worst is None else worst)
    if out is None:
        click.echo(text, nl=False)
    else:
        write_over(out, text)
        app.view.note(f"written to {out}")
