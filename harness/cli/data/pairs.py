"""`harness data pairs`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from harness.cli.app import App, pass_app
from harness.cli.run import RUNS_OPTION, run_folder
from harness.errors import ConfigError

if TYPE_CHECKING:
    from harness.data.pairing import LengthBias


@click.command("pairs")
@click.argument("source", metavar="RUN|FILE")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File to write, which is not there yet.")
@click.option("--round", "rounds", multiple=True, type=click.IntRange(1), help="Of a run.  [default: its last]")
@click.option("--comparisons", is_flag=True, help="Margins from judges that compare, instead of rewards.")
@click.option("--judge", default="", help="Its scores instead of the rewards, or its comparisons alone.")
@click.option(
    "--from-labels", "labels", is_flag=True, help="FILE holds answers with labels: good ones before bad ones."
)
@click.option("--min-margin", type=click.FloatRange(0, 1), default=0.0, show_default=True, help="Of a pair.")
@click.option("--best-only", is_flag=True, help="Of each group the pair with the widest margin.")
@click.option("--per-prompt", type=click.IntRange(1), help="So many pairs a prompt at most, over all rounds.")
@click.option("--balance-length", is_flag=True, help="Drop pairs until the chosen is as often longer as shorter.")
@RUNS_OPTION
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@pass_app
def pairs_command(
    app: App,
    source: str,
    out: Path,
    rounds: Sequence[int],
    comparisons: bool,
    judge: str,
    labels: bool,
    min_margin: float,
    best_only: bool,
    per_prompt: int | None,
    balance_length: bool,
    runs: Path,
    as_json: bool,
) -> None:
    """Build preference data from the scored groups of a RUN or of a groups.parquet, or from labelled answers.

    Every two answers of a prompt whose rewards differ are a pair, as updater `preference` has it with pairs = "all"
    (--best-only: "best_worst", --comparisons: "judged"). What was cut off at the token limit is never chosen.
    """
    from harness.data.pair_files import pair_file
    from harness.data.pairing import PairingConfig
    from harness.plugins import validate

    if labels and (comparisons or judge):
        raise ConfigError("labels have no judges", where="--from-labels", remedy="Leave --judge and --comparisons out.")
    values = {
        "margins": "comparisons" if comparisons else "rewards",
        "judge": judge,
        "min_margin": min_margin,
        "best_only": best_only,
        "per_prompt": per_prompt,
        "balance_length": balance_length,
    }
    path = Path(source) if labels or Path(source).is_file() else run_folder(source, runs)
    config = validate(PairingConfig, values, where="pairs")
    report = pair_file(path, out, config, app.view, rounds=rounds, labels=labels)
    if as_json:
        click.echo(json.dumps(report.as_json(), indent=1, ensure_ascii=False))
        return
    click.echo(f"prompts: {report.prompts}, without a pair: {report.without}, truncated answers: {report.truncated}")
    click.echo(f"chosen is the longer answer: {_share(report.before)}")
    if balance_length:
        click.echo(f"after balancing: {_share(report.after)}")
    click.echo(f"pairs  {out}, {report.after.pairs} rows")


def _share(bias: LengthBias) -> str:
    share = "-" if bias.chosen_longer is None else f"{bias.chosen_longer:.1%}"
    return f"{share} ({bias.longer} longer, {bias.shorter} shorter, of {bias.pairs})"
