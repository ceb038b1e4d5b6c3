"""`harness data negatives`."""

from __future__ import annotations

import json
from pathlib import Path

import rich_click as click

from harness.cli.app import App, pass_app


@click.command("negatives")
@click.argument("source", metavar="FILE|SUITE")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File to write, which is not there yet.")
@click.option("--kinds", metavar="KIND,...", help="What may be wrong with them.  [default: all kinds]")
@click.option("--per-prompt", type=click.IntRange(1), default=1, show_default=True, help="Wrong answers a prompt.")
@click.option("--as", "form", type=click.Choice(["pairs", "labels"]), default="pairs", show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of which kinds a prompt gets, and how.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@pass_app
def negatives_command(
    app: App, source: str, out: Path, kinds: str | None, per_prompt: int, form: str, seed: int, as_json: bool
) -> None:
    """Make wrong tool calls from right ones: those in FILE, or the references of SUITE's training prompts.

    A mutant is written only if the suite's judges (of a file: judge tool_call, which accepts what the row has and
    nothing else) call it wrong and the right answer right. Its kind is in the column `mutation`.
    """
    from harness.data.mutations import KINDS
    from harness.data.negative_files import negative_file
    from harness.data.negatives import NegativesConfig
    from harness.plugins import validate
    from harness.protocols import RunContext

    chosen = KINDS if kinds is None else tuple(kind.strip() for kind in kinds.split(","))
    values = {"kinds": chosen, "per_prompt": per_prompt, "form": form, "seed": seed}
    config = validate(NegativesConfig, values, where="negatives")
    context = RunContext(progress=app.view, components=app.registry)
    report = negative_file(source, out, config, app.registry, context)
    if as_json:
        click.echo(json.dumps(report.as_json(), indent=1, ensure_ascii=False))
        return
    from harness.cli.table import table

    tally = report.tally
    rows = [[kind, str(tally.written.get(kind, 0)), str(tally.accepted.get(kind, 0))] for kind in config.kinds]
    click.echo(table(["kind", "written", "accepted by the judge, left out"], rows))
    click.echo(
        f"prompts: {tally.prompts}, used: {tally.used}, without readable calls: {tally.unreadable}, "
        f"whose calls are not right: {tally.refused}, repeated: {tally.repeated}"
    )
    click.echo(f"negatives  {out}, {report.rows} rows")
