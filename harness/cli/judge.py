"""`harness judge`: what is judged elsewhere, out and back; and how far a judge can be trusted."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import rich_click as click

from harness.cli.app import App, pass_app
from harness.cli.judge_check import check_command
from harness.cli.run import RUNS_OPTION, run_folder


@click.group("judge", invoke_without_command=True)
@click.pass_context
def judge_command(ctx: click.Context) -> None:
    """Try a judge; or have people judge, or a model that this machine cannot reach."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@judge_command.command("costs")
@click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON.")
def costs_command(as_json: bool) -> None:
    """What models that judge have cost so far: all replies that are kept, of all runs."""
    from harness.cli.table import table
    from harness.replies import ReplyStore, reply_file

    rows = ReplyStore(reply_file()).spent() if reply_file().is_file() else []
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=1))
    elif not rows:
        click.echo(f"No replies are kept in {reply_file()}.")
    else:
        shown = [(r.judge, r.model, f"{r.replies:,}", f"{r.tokens:,}", f"{r.cost:.4f}") for r in rows]
        click.echo(table(["judge", "model", "replies", "tokens", "cost"], shown))


@judge_command.command("export")
@click.argument("run")
@click.option("--round", "index", type=int, help="One round. Default: every round that waits to be judged.")
@click.option("--all", "judged", is_flag=True, help="What is judged already, too.")
@click.option("--out", type=click.Path(path_type=Path), help="New file. Default: print the rows.")
@RUNS_OPTION
@pass_app
def export_command(app: App, run: str, index: int | None, judged: bool, out: Path | None, runs: Path) -> None:
    """Write the completions that wait to be judged as JSONL, blind and in an order that tells nothing.

    Give each row a "value" from 0 to 1 (null for one that cannot be judged) and a "judge", and bring it back with
    `harness judge import`.
    """
    from harness.elsewhere import export_unjudged
    from harness.jsonl import as_jsonl, write_new

    rows = export_unjudged(run_folder(run, runs), round=index, judged=judged)
    if out is None:
        click.echo(as_jsonl(rows), nl=False)
        return
    write_new(out, as_jsonl(rows))
    app.view.note(f"{len(rows)} completions to judge in {out}")


@judge_command.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--run", help="The run that was exported. Default: the one in --runs that the ids are of.")
@click.option("--judge", metavar="NAME", help="Who judged, where a row does not say.")
@RUNS_OPTION
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
@pass_app
def import_command(app: App, file: Path, run: str | None, judge: str | None, runs: Path, as_json: bool) -> None:
    """Take verdicts made elsewhere, for the judge `elsewhere`: all rows of FILE, or none.

    A row: {"id": ..., "value": 0 to 1 or null, "judge": who, "explanation": optional}.
    """
    from harness.elsewhere import import_verdicts, run_of

    folder = run_of(file, runs) if run is None else run_folder(run, runs)
    done = import_verdicts(file, folder, judge=judge)
    if as_json:
        click.echo(json.dumps({**asdict(done), "run": str(done.run)}, indent=1))
        return
    click.echo(f"{folder}: {done.new} new verdicts" + (f", {done.known} were there already" if done.known else ""))
    if done.missing:
        click.echo(f"{done.missing} of {done.waiting} completions still wait for one: harness judge export {folder}")
    elif done.waiting:
        click.echo("Nothing is missing. Continue with: harness loop ... --resume")


judge_command.add_command(check_command)
