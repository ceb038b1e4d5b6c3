"""`harness train`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import rich_click as click

from harness.cli.app import App, pass_app
from harness.cli.run import RUNS_OPTION
from harness.errors import EXIT_OK, ConfigError


@click.command("train")
@click.argument("updater")
@click.option("--data", required=True, help="A run (name or folder), a .parquet file of groups, or a .jsonl file.")
@click.option(
    "--round", "rounds", type=int, multiple=True, help="A round of the run; may be repeated. Default: the last."
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="New folder for the adapter.")
@click.option("--model", help="An asset, a local folder, or a model-hub id. Default: the run's, else smollm2-135m.")
@click.option("--parent", help='Adapter to go on from, or "base". Default: what the run\'s samples were drawn from.')
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="config.learning_rate=1e-4, adapter.r=8.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)
@RUNS_OPTION
@click.option("--json", "as_json", is_flag=True, help="Print what was trained as JSON.")
@pass_app
def train_command(
    app: App,
    updater: str,
    data: str,
    rounds: Sequence[int],
    out: Path,
    model: str | None,
    parent: str | None,
    sets: Sequence[str],
    seed: int,
    runs: Path,
    as_json: bool,
) -> int:
    """Train an adapter alone, from a stored run's groups or from a file.

    A JSONL file holds prompt/chosen/rejected, prompt/completion (with a label or without), or messages.
    """
    from harness.config import apply_sets
    from harness.train import train_adapter

    settings = apply_sets({}, sets)
    if unknown := sorted(set(settings) - {"config", "adapter"}):
        remedy = "The updater's settings start with config., those of PEFT with adapter."
        raise ConfigError(f"unknown key {unknown[0]!r}", where="--set", remedy=remedy)
    for key, value in settings.items():
        if not isinstance(value, dict):
            raise ConfigError(f"{key} = {value!r} is not a table", where="--set", remedy=f"Write {key}.NAME=VALUE.")
    source = runs / data if (runs / data / "run.json").is_file() else Path(data)
    trained = train_adapter(
        updater,
        source,
        out=out,
        rounds=rounds,
        model=model,
        parent=parent,
        adapter=settings.get("adapter"),
        config=settings.get("config"),
        seed=seed,
        registry=app.registry,
        progress=app.view,
    )
    if as_json:
        click.echo(json.dumps(trained.lineage, indent=1))
    else:
        figures = trained.lineage["metrics"]
        shown = ("update/steps", "update/tokens", "update/first_loss", "update/last_loss")
        known = [f"{name.removeprefix('update/')} {figures[name]:.4g}" for name in shown if name in figures]
        click.echo(", ".join([f"{out}: adapter {trained.lineage['version'][:12]}", *known]))
        click.echo(f"Evaluate it: harness eval --suite NAME --model {trained.lineage['model']['name']} --adapter {out}")
    return EXIT_OK
