"""`harness data clean`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import rich_click as click

from harness.cli.app import App, pass_app
from harness.cli.data.check import filter_options, print_report


@click.command("clean")
@click.argument("source")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New JSONL file of what is left.")
@click.option("--resume", is_flag=True, help="Go on with a cleaning that was interrupted.")
@filter_options
@pass_app
def clean_command(
    app: App,
    source: str,
    out: Path,
    resume: bool,
    names: Sequence[str],
    file: Path | None,
    without: Sequence[str],
    sets: Sequence[str],
    against: Sequence[str],
    workers: int | None,
    layout: str,
    runs: Path,
    as_json: bool,
) -> None:
    """Write what filters leave of training data to a new file. SOURCE is a file or a `datasets` directory.

    Beside OUT are written OUT's `.rejects.jsonl` (every row that was dropped or could not be read, with its place and
    the reasons) and `.report.json`. SOURCE is never touched. Rows say in `origin` where they come from.

    A filter's `action` says what follows: `mend` (rewrite where it can, else drop), `drop`, or `flag` (keep, and say so
    in `origin`). The usual filters look at format, personal data, secrets, unsafe content, spam, boilerplate,
    repetition, symbols, truncation, language, duplicates, length, templates and contradicting labels; of these unsafe
    content, language, length and templates are flagged only. `harness plugins` lists all filters.
    """
    from harness.data.cleaning import clean
    from harness.data.defaults import filter_uses
    from harness.data.reading import open_source

    uses = filter_uses(names, file=file, without=without, sets=sets, against=against)
    opened = open_source(source, layout=layout, runs=runs)
    report = clean(opened, uses, out=out, resume=resume, workers=workers, registry=app.registry, progress=app.view)
    print_report(report, as_json)
