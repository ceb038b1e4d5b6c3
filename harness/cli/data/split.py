"""`harness data split`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from harness.cli.app import App, pass_app
from harness.errors import ConfigError

if TYPE_CHECKING:
    from harness.data.split_files import Side, SplitReport


@click.command("split")
@click.argument("source", metavar="FILE")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write, which is not there yet.")
@click.option("--ratio", "ratios", multiple=True, metavar="SIDE=SHARE", help="[default: train=0.8 valid=0.1 test=0.1]")
@click.option("--by", default="cluster", show_default=True, help="cluster, prompt, near, or a column.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the hash that sides go by.")
@click.option("--like", type=click.Path(path_type=Path), help="An earlier split's folder: its prompts stay in place.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@pass_app
def split_command(
    app: App, source: str, out: Path, ratios: Sequence[str], by: str, seed: int, like: Path | None, as_json: bool
) -> None:
    """Split FILE into train, valid and test by clusters of prompts, so that no prompt is on two sides.

    The side of a cluster is a hash of its name, so that rows which are added move none that were there. Clusters are
    those that the prompts or a column `cluster` name, else the prompts with the same tools, else those of the same
    words. By `near`, prompts that ask nearly the same are one cluster; one that is added can join two clusters, or give
    one another name, and so move it: --like keeps all prompts of an earlier split where they were.
    """
    from harness.data.split_files import split_file
    from harness.data.splitting import SIDES, SplitConfig
    from harness.plugins import validate

    values = {"ratios": dict(map(_share, ratios)) if ratios else SIDES, "by": by, "seed": seed}
    report = split_file(source, out, validate(SplitConfig, values, where="split"), app.view, like=like)
    if as_json:
        click.echo(json.dumps(asdict(report), indent=1, ensure_ascii=False))
        return
    click.echo(_text(report))
    click.echo(f"split  {out}")


def _share(text: str) -> tuple[str, float]:
    side, _, share = text.partition("=")
    try:
        return side, float(share)
    except ValueError:
        raise ConfigError(f"{text!r} is not SIDE=SHARE", where="--ratio", remedy="Write train=0.8.") from None


def _text(report: SplitReport) -> str:
    from harness.cli.table import table

    columns = ["side", "rows", "share", "prompts", "clusters", "words", "kinds", "good"]
    rows = sum(side.rows for side in report.sides.values())
    lines = [table(columns, [_row(name, side, rows) for name, side in report.sides.items()])]
    near = "not counted: too many prompts" if report.near_across is None else str(report.near_across)
    lines.append(f"prompts on two sides: {report.exact_across}; near pairs on two sides: {near}")
    if report.like is not None:
        lines.append(
            "prompts kept where they were: {kept}, of which would have moved: {would_have_moved}; "
            "clusters on two sides for it: {bridged}".format(**report.like)
        )
    return "\n".join(lines)


def _row(name: str, side: Side, rows: int) -> list[str]:
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(side.kinds.items()))
    good = "-" if side.worth is None else f"{side.worth:.1%}"
    counts = [str(side.prompts), str(side.clusters), str(side.words)]
    return [name, str(side.rows), f"{side.rows / rows:.1%}", *counts, kinds or "-", good]
