"""`harness data adversarial`."""

from __future__ import annotations

import json
from pathlib import Path

import rich_click as click

from harness.cli.app import App, pass_app


@click.command("adversarial")
@click.argument("source", metavar="FILE|SUITE")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File to write, which is not there yet.")
@click.option("--kinds", metavar="KIND,...", help="How they may be made harder.  [default: all kinds]")
@click.option("--per-prompt", type=click.IntRange(1), default=1, show_default=True, help="Variants a row.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of which kinds a row gets, and how.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@pass_app
def adversarial_command(
    app: App, source: str, out: Path, kinds: str | None, per_prompt: int, seed: int, as_json: bool
) -> None:
    """Make harder variants of FILE's rows, or of SUITE's training prompts, whose right answer is known.

    Kinds: more_tools and shuffled_tools (other tools beside its own, or another order: the calls stay right),
    missing_tool (without the tools that are called: the right answer is []), typos and irrelevant (a misspelt question,
    or an unrelated sentence before it). The kind is in the column `variant`. The rows themselves are not written:
    `harness data mix` puts both together.
    """
    from harness.data.adversarial_files import AdversarialConfig, adversarial_file
    from harness.plugins import validate
    from harness.protocols import RunContext

    values: dict[str, object] = {"per_prompt": per_prompt, "seed": seed}
    if kinds is not None:
        values |= {"kinds": tuple(kind.strip() for kind in kinds.split(","))}
    config = validate(AdversarialConfig, values, where="adversarial")
    context = RunContext(progress=app.view, components=app.registry)
    report = adversarial_file(source, out, config, app.registry, context)
    if as_json:
        click.echo(json.dumps(report.as_json(), indent=1, ensure_ascii=False))
        return
    from harness.cli.table import table

    click.echo(table(["kind", "written"], [[kind, str(report.written.get(kind, 0))] for kind in config.kinds]))
    click.echo(f"rows read: {report.read}, without a variant: {report.without}")
    click.echo(f"adversarial  {out}, {report.rows} rows")
