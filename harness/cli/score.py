"""`harness score`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import rich_click as click

from harness.cli.app import App, pass_app
from harness.cli.run import EVALS_OPTION, RUNS_OPTION


@click.command("score")
@click.argument("evaluation")
@click.option("--suite", "suites", multiple=True, help="Only this suite (a name or folder); may be repeated.")
@click.option("--judge", "judge_sets", multiple=True, metavar="NAME.KEY=VALUE", help="A setting of a suite's judge.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder of the new evaluation. Default: one under --evals."
)
@EVALS_OPTION
@RUNS_OPTION
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@pass_app
def score_command(
    app: App,
    evaluation: str,
    suites: Sequence[str],
    judge_sets: Sequence[str],
    out: Path | None,
    evals: Path,
    runs: Path,
    as_json: bool,
) -> None:
    """Judge what was sampled again, with the judges that the suites have now, and say what that changes.

    EVALUATION is a folder, a name under --evals, or RUN:ROUND. Nothing is sampled; the verdicts are a new evaluation.
    """
    from harness.cli.table import table
    from harness.cli.tables import change_rows
    from harness.config import apply_sets
    from harness.evaluations import find_evaluation
    from harness.rescoring import rescore
    from harness.summary import changed

    done = rescore(
        find_evaluation(evaluation, evals=evals, runs=runs),
        suites=suites,
        judges=apply_sets({}, judge_sets),
        out=out,
        evals=evals,
        registry=app.registry,
        progress=app.view,
    )
    if done.already_finished:
        app.view.note("These verdicts are there already; nothing was done.")
    changes = {
        new.suite: changed(old, new)
        for new in done.after.report.suites
        for old in done.before.report.suites
        if old.suite == new.suite
    }
    if as_json:
        shown = {name: asdict(change) if change else None for name, change in changes.items()}
        record = {"folder": str(done.after.folders[0]), "already_finished": done.already_finished, "changes": shown}
        click.echo(json.dumps(record, indent=1, ensure_ascii=False))
        return
    columns = ["suite", "items", "before", "after", "difference", "95% interval", "won", "lost"]
    click.echo(table(columns, change_rows(changes)))
    click.echo(f"evaluation  {done.after.folders[0]}")
