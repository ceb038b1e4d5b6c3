"""`harness data check`, and what it shares with `harness data clean`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import rich_click as click
from click.exceptions import Exit

from harness.cli.app import App, pass_app
from harness.cli.run import RUNS_OPTION
from harness.data.cleaning import CleanReport, check
from harness.errors import EXIT_REJECTED

LAYOUT_OPTION = click.option(
    "--layout", default="auto", show_default=True, help="How rows are laid out; `any`: each row in its own way."
)
OPTIONS = [
    click.option("--filter", "names", multiple=True, metavar="NAME", help="Only this filter; may be repeated."),
    click.option("--filters", "file", type=click.Path(path_type=Path), help="TOML file with [[filters]]."),
    click.option("--without", multiple=True, metavar="NAME", help="Leave out a filter; may be repeated."),
    click.option("--set", "sets", multiple=True, metavar="NAME.KEY=VALUE", help="A filter's setting, or its action."),
    click.option(
        "--against", multiple=True, metavar="SUITE", help="Nothing may be in a suite's held-out items; may be repeated."
    ),
    click.option("--workers", type=click.IntRange(1), help="Processes. Default: one a core."),
    LAYOUT_OPTION,
    RUNS_OPTION,
    click.option("--json", "as_json", is_flag=True, help="Print the report as JSON."),
]


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(OPTIONS):
        command = option(command)
    return command


@click.command("check")
@click.argument("source")
@filter_options
@click.option("--exit-zero", is_flag=True, help="Exit with 0 whatever is found.")
@pass_app
def check_command(
    app: App,
    source: str,
    names: Sequence[str],
    file: Path | None,
    without: Sequence[str],
    sets: Sequence[str],
    against: Sequence[str],
    workers: int | None,
    layout: str,
    runs: Path,
    as_json: bool,
    exit_zero: bool,
) -> None:
    """Say what is wrong with training data. SOURCE is a file, a `datasets` directory, or a run; nothing is written.

    Without --filter or --filters the usual filters are used: see `harness data clean --help`. Exits with 1 if anything
    was found, 0 if nothing.
    """
    from harness.data.defaults import filter_uses
    from harness.data.reading import open_source

    uses = filter_uses(names, file=file, without=without, sets=sets, against=against)
    opened = open_source(source, layout=layout, runs=runs)
    with tempfile.TemporaryDirectory(prefix="harness-data-") as folder:
        report = check(
            opened, uses, work=Path(folder) / "work", workers=workers, registry=app.registry, progress=app.view
        )
    print_report(report, as_json)
    if report.found and not exit_zero:
        raise Exit(EXIT_REJECTED)


def print_report(report: CleanReport, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(asdict(report), indent=1, ensure_ascii=False))
        return
    from harness.cli.table import table
    from harness.label_noise import noise_of, recommended

    rows = [
        [line["filter"], line["reason"], line["outcome"], f"{line['records']:,}", _first(report.source, line)]
        for line in report.tally
    ]
    if rows:
        click.echo(table(["filter", "reason", "outcome", "records", "first"], rows))
    for name, value in report.figures.items():
        click.echo(f"{name}  {value:.4g}")
    if (noise := noise_of(report.figures)) is not None:
        advice = recommended(noise)
        settings = "".join(f", {name} = {value:g}" for name, value in advice.config.items())
        click.echo(f"for these pairs: objective {advice.objective}{settings}. {advice.why}")
    click.echo(
        f"{report.source}: {report.rows:,} rows, {report.kept:,} kept ({report.changed:,} rewritten or flagged), "
        f"{report.dropped:,} dropped, {report.unreadable:,} unreadable; {report.seconds:.1f} s, "
        f"{report.peak_memory / 2**30:.2f} GiB"
    )


def _first(source: str, line: dict[str, Any]) -> str:
    first = line["examples"][0]
    answer = "" if first["answer"] is None else f" answer {first['answer'] + 1}"
    shown = f"{source}:{first['place']}{answer}  {first['detail']}"
    shown += f" (see {first['other']})" if first["other"] else ""
    return shown if len(shown) <= 100 else shown[:97] + "..."
