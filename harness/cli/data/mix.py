"""`harness data mix`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import rich_click as click

from harness.cli.app import App, pass_app
from harness.errors import ConfigError

SHUFFLED = "harness train shuffles what it is given in every epoch: this order is for trainers that keep a file's"


@click.command("mix")
@click.argument("sources", nargs=-1, required=True, metavar="FILE[=WEIGHT]...")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File to write, which is not there yet.")
@click.option("--size", type=click.IntRange(1), help="Rows.  [default: as many as the weights allow]")
@click.option("--temperature", type=click.FloatRange(1), help="Without weights: 1 as large as they are, more: flatter.")
@click.option(
    "--max-repeats", type=click.IntRange(1), default=1, show_default=True, help="How often a row may be in it."
)
@click.option("--curriculum", default="", metavar="BY", help="Easy rows first: by length, difficulty, or a column.")
@click.option("--buckets", type=click.IntRange(1), help="Steps of the curriculum.  [default: 10]")
@click.option("--seed", type=int, default=0, show_default=True, help="Of what is drawn, and of the order.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@pass_app
def mix_command(
    app: App,
    sources: Sequence[str],
    out: Path,
    size: int | None,
    temperature: float | None,
    max_repeats: int,
    curriculum: str,
    buckets: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Mix FILEs by weight, in a shuffled order, with where each row is from in its column `origin`.

    Weights are shares of rows. Where a source has too few, the mixture is made smaller so that the weights hold; with
    --max-repeats rows are repeated first. Which rows are taken, and their order, are hashes of what they say.
    """
    from harness.data.mix_files import mix_files
    from harness.data.mixing import MixConfig
    from harness.plugins import validate

    pairs = [_weighted(source) for source in sources]
    weights = [weight for _, weight in pairs if weight is not None]
    if weights and (len(weights) < len(pairs) or temperature is not None):
        what = "--temperature weighs by size" if temperature is not None else "only some sources have a weight"
        raise ConfigError(what, where="mix", remedy="Give all sources a weight and no temperature, or none a weight.")
    if buckets is not None and not curriculum:
        raise ConfigError("they are steps of a curriculum", where="--buckets", remedy="Give --curriculum too.")
    values = {
        "weights": weights or None,
        "temperature": temperature or 1.0,
        "size": size,
        "max_repeats": max_repeats,
        "curriculum": curriculum,
        "seed": seed,
    }
    if buckets is not None:
        values["buckets"] = buckets
    report = mix_files([name for name, _ in pairs], out, validate(MixConfig, values, where="mix"), app.view)
    if report.shrunk is not None:
        app.view.note(f"{report.shrunk} rows were asked for, and the weights can be met with {report.rows}.")
    if curriculum:
        app.view.note(SHUFFLED)
    if as_json:
        click.echo(json.dumps(asdict(report), indent=1, ensure_ascii=False))
        return
    from harness.cli.table import table

    rows = [
        [part.source, str(part.rows), str(part.taken), f"{part.share:.1%}", f"{part.taken / report.rows:.1%}"]
        for part in report.parts
    ]
    click.echo(table(["source", "rows", "taken", "weight", "share"], rows))
    click.echo(f"mixture  {out}, {report.rows} rows")


def _weighted(text: str) -> tuple[str, float | None]:
    """FILE=WEIGHT, or a file whose name may hold an = itself."""
    name, equals, weight = text.rpartition("=")
    try:
        return (name, float(weight)) if equals else (text, None)
    except ValueError:
        return text, None
