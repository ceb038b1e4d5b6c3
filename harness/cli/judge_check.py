"""`harness judge check`: how far a judge can be trusted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from harness.cli.app import App, pass_app
from harness.cli.table import table
from harness.errors import EXIT_OK, ConfigError

if TYPE_CHECKING:
    from harness.checking import CheckReport


@click.command("check")
@click.argument("judge")
@click.option("--on", "checks", multiple=True, metavar="CHECK", help="See `harness plugins`. Default: written.")
@click.option("--count", type=click.IntRange(1), default=100, show_default=True, help="Pairs of each check.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of which pairs.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="The judge's settings: model=gpt-x.")
@click.option("--out", type=click.Path(path_type=Path), help="Also write the report there, as JSON.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@pass_app
def check_command(
    app: App,
    judge: str,
    checks: Sequence[str],
    count: int,
    seed: int,
    sets: Sequence[str],
    out: Path | None,
    as_json: bool,
) -> int:
    """Try a judge on pairs of answers of which the better is known, and on answers that must never win.

    Says how often it is right, how often it contradicts itself, what length is worth to it, how many of its replies
    could be read, and whether it says the same again.
    """
    from harness.checking import check_judge
    from harness.config import apply_sets
    from harness.durable import write_text
    from harness.protocols import RunContext

    if out is not None and not out.absolute().parent.is_dir():
        raise ConfigError("its folder does not exist", where=str(out), remedy="Make it, or name another file.")
    context = RunContext(progress=app.view, components=app.registry)
    settings = apply_sets({}, sets)
    pairs = {
        check: app.registry.create("check", check, {"count": count, "seed": seed}, context)
        for check in checks or ("written",)
    }
    reports = [check_judge(judge, settings, check, known, app.registry, context) for check, known in pairs.items()]
    records = [{**asdict(report), "parse_rate": report.parse_rate} for report in reports]
    if out is not None:
        write_text(out, json.dumps(records, indent=1) + "\n")
    if as_json:
        click.echo(json.dumps(records, indent=1))
    else:
        click.echo("\n".join(_shown(report) for report in reports))
    return EXIT_OK


def _shown(report: CheckReport) -> str:
    a = report.accuracy
    rows = [("accuracy", f"{a.estimate:.1%}", f"{a.lower:.1%} to {a.upper:.1%}", "a coin has 50%")]
    rows += [(f"  {kind}", f"{share:.1%}", "", f"{n} pairs") for kind, (n, share) in report.by_kind.items()]
    rows += [
        ("ties", f"{report.ties:.1%}", "", "count half"),
        ("unscored", str(report.unscored), "", "pairs with a verdict missing"),
        ("order flips", f"{report.order_flips:.1%}", "", "shown the other way round, another one wins"),
    ]
    if "flip_rate" in report.figures:
        rows.append(("position flips", f"{report.figures['flip_rate']:.1%}", "", "its two orders disagree"))
    rows += [
        ("length alone", f"{report.longer_is_better:.1%}", "", "how often the longer answer is the better one"),
    ]
    if (s := report.length_slope) is not None:
        bounds = f"{s.lower:+.3f} to {s.upper:+.3f}"
        rows.append(("length slope", f"{s.estimate:+.3f}", bounds, "value of twice the length"))
    if report.parse_rate is not None:
        rows.append(("parse rate", f"{report.parse_rate:.1%}", "", "replies that could be read"))
    if report.retest is not None:
        rows.append(("test-retest", f"{report.retest:.1%}", "", "pairs with equal values when judged anew"))
    rows += [
        (f"canary {k}", f"{share:.1%}", "", "valued no less than the better answer")
        for k, share in report.canaries.items()
    ]
    if report.per_second is not None:
        rows.append(("speed", f"{report.per_second:,.1f}/s", "", "answers judged"))
    title = f"{report.judge} on {report.check}: {report.pairs} pairs"
    return table(["what", "value", "95%", "meaning"], rows, title=title)
