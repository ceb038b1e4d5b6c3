"""`harness train`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
@click.option("--launcher", type=click.Choice(["accelerate"]), help="Train in processes of their own, one a device.")
@click.option("--num-processes", type=click.IntRange(1), help="How many the launcher starts.")
@click.option("--launcher-config", type=click.Path(path_type=Path), help="File of `accelerate config`.")
@RUNS_OPTION
@click.option("--dry-run", is_flag=True, help="Check everything, print what would be trained, and stop.")
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
    launcher: str | None,
    num_processes: int | None,
    launcher_config: Path | None,
    runs: Path,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Train an adapter alone, from a stored run's groups or from a file.

    A JSONL file holds prompt/chosen/rejected, prompt/completion (with a label or without), messages, or text.
    The same command again goes on with a training that was interrupted.
    """
    from harness.config import apply_sets
    from harness.train import plan_training

    settings = apply_sets({}, sets)
    if unknown := sorted(set(settings) - {"config", "adapter"}):
        remedy = "The updater's settings start with config., those of PEFT with adapter."
        raise ConfigError(f"unknown key {unknown[0]!r}", where="--set", remedy=remedy)
    for key, value in settings.items():
        if not isinstance(value, dict):
            raise ConfigError(f"{key} = {value!r} is not a table", where="--set", remedy=f"Write {key}.NAME=VALUE.")
    source = runs / data if (runs / data / "run.json").is_file() else Path(data)
    training = plan_training(
        updater,
        source,
        out=out,
        rounds=rounds,
        model=model,
        parent=parent,
        adapter=settings.get("adapter"),
        config=settings.get("config"),
        seed=seed,
        launcher=_launcher(launcher, num_processes, launcher_config),
        registry=app.registry,
        progress=app.view,
    )
    if dry_run:
        click.echo(json.dumps(training.record, indent=1))
        return EXIT_OK
    trained = training.run()
    if as_json:
        click.echo(json.dumps(trained.lineage, indent=1))
    else:
        figures = trained.lineage["metrics"]
        shown = ("update/steps", "update/tokens", "update/first_loss", "update/last_loss")
        known = [f"{name.removeprefix('update/')} {figures[name]:.4g}" for name in shown if name in figures]
        click.echo(", ".join([f"{out}: adapter {trained.lineage['version'][:12]}", *known]))
        if trained.update.checkpoint.kind == "reward_model":
            click.echo(f'Judge with it: [[judges]] name = "reward_model", config = {{ path = "{out}" }}')
        else:
            model_name = trained.lineage["model"]["name"]
            click.echo(f"Evaluate it: harness eval --suite NAME --model {model_name} --adapter {out}")
    return EXIT_OK


def _launcher(name: str | None, processes: int | None, config: Path | None) -> Any:
    from harness.config import LauncherConfig
    from harness.plugins import validate

    if name is None:
        if processes is not None or config is not None:
            raise ConfigError(
                "--num-processes and --launcher-config are for a launcher",
                where="harness train",
                remedy="Add --launcher accelerate.",
            )
        return None
    return validate(
        LauncherConfig, {"name": name, "num_processes": processes, "config_file": config}, where="--launcher"
    )
