"""`harness loop` and `harness eval`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import rich_click as click

from harness.cli.app import App, pass_app
from harness.errors import EXIT_INCONCLUSIVE, EXIT_OK, EXIT_REJECTED

RUNS_OPTION = click.option(
    "--runs", type=click.Path(path_type=Path), default=Path("runs"), envvar="HARNESS_RUNS", show_default=True,
    help="Folder that holds the runs.",
)  # fmt: skip

EVALS_OPTION = click.option(
    "--evals", type=click.Path(path_type=Path), default=Path("evals"), envvar="HARNESS_EVALS", show_default=True,
    help="Folder that holds the evaluations.",
)  # fmt: skip


def run_folder(run: str, runs: Path) -> Path:
    """The folder of a run that is given by its name or its folder."""
    return Path(run) if (Path(run) / "run.json").is_file() else runs / run


@click.command("loop")
@click.argument("config", required=False, type=click.Path(path_type=Path))
@click.option("--suite", help="Target suite: a name (see `harness suites`) or a folder.")
@click.option("--model", help="An asset, a local folder, or a model-hub id.")
@click.option("--seed", type=int, help="Seed of everything that is drawn.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a setting: stages.1.n=16.")
@click.option("--run", help="Name of the run's folder. Default: the suite and a digest of the settings.")
@RUNS_OPTION
@click.option("--resume", is_flag=True, help="Continue an unfinished run.")
@click.option("--dry-run", is_flag=True, help="Print the resolved config and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@pass_app
def loop_command(
    app: App,
    config: Path | None,
    suite: str | None,
    model: str | None,
    seed: int | None,
    sets: Sequence[str],
    run: str | None,
    runs: Path,
    resume: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Improve a model on a suite: sample, judge, update, evaluate, and promote only what is shown to be better.

    CONFIG is a TOML file; everything in it has a default. Exit code 0 if a round was promoted (and fresh items, where
    there are enough, confirm it), 1 if all were rejected or fresh items refute what was promoted, else 2.
    """
    from harness.api import plan_loop, run_loop
    from harness.cli.tables import run_table, where_things_lie
    from harness.store import RunStore

    flags = {"suite": suite, "model": model, "seed": seed}
    flag_sets = [f"{key}={json.dumps(value)}" for key, value in flags.items() if value is not None]
    plan = plan_loop(config, sets=[*sets, *flag_sets], registry=app.registry, progress=app.view)
    if dry_run:
        click.echo(json.dumps(plan.identity, indent=1) if as_json else plan.toml.rstrip())
        return EXIT_OK
    app.view.note(f"harness loop: {plan.config.suite} with {plan.model.name}, run {runs / (run or plan.name)}")
    result = run_loop(plan, runs=runs, run=run, resume=resume, registry=app.registry, progress=app.view)
    store = RunStore.open(result.folder)
    if result.already_finished:
        app.view.note("This run is finished; nothing was done.")
    if as_json:
        click.echo(
            json.dumps(
                {
                    "run": str(result.folder),
                    "already_finished": result.already_finished,
                    "outcomes": result.outcomes,
                    "confirmation": result.confirmation or None,
                    "incumbent": result.incumbent.version,
                    "digest": result.digest,
                    "means": {s.suite: s.mean for s in result.incumbent.report.suites},
                },
                indent=1,
            )
        )
    else:
        click.echo(run_table(store))
        click.echo(where_things_lie(store))
    if "promoted" in result.outcomes:
        return {"rejected": EXIT_REJECTED, "inconclusive": EXIT_INCONCLUSIVE}.get(result.confirmation, EXIT_OK)
    return EXIT_REJECTED if set(result.outcomes) == {"rejected"} else EXIT_INCONCLUSIVE


@click.command("eval")
@click.option("--suite", "suites", multiple=True, required=True, help="A suite's name or folder; may be repeated.")
@click.option("--model", default="smollm2-135m", show_default=True, help="An asset, a local folder, or a model-hub id.")
@click.option("--adapter", type=click.Path(path_type=Path), help="An adapter folder of a run.")
@click.option("--generator", default="auto", show_default=True, help="What samples; auto: vllm if installed.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="A setting of the generator.")
@click.option("--judge", "judge_sets", multiple=True, metavar="NAME.KEY=VALUE", help="A setting of a suite's judge.")
@click.option("--limit", type=int, help="First N items of each suite.")
@click.option("--epochs", type=int, default=1, show_default=True, help="Completions an item.")
@click.option("--temperature", type=float, help="Default: the suite's own.")
@click.option("--constrained", is_flag=True, help="Hold answers to the schema or tools while decoding.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@pass_app
def eval_command(
    app: App,
    suites: Sequence[str],
    model: str,
    adapter: Path | None,
    generator: str,
    sets: Sequence[str],
    judge_sets: Sequence[str],
    limit: int | None,
    epochs: int,
    temperature: float | None,
    constrained: bool,
    seed: int,
    as_json: bool,
) -> int:
    """Evaluate a model, with or without an adapter, on one or more suites."""
    from harness.api import evaluate
    from harness.cli.tables import report_table
    from harness.config import EvalConfig, GeneratorRef, apply_sets
    from harness.plugins import validate

    settings = {"limit": limit, "epochs": epochs, "temperature": temperature, "constrained": constrained}
    report, _ = evaluate(
        suites,
        model=model,
        adapter=adapter,
        generator=GeneratorRef(name=generator, config=apply_sets({}, sets)),
        config=validate(EvalConfig, settings, where="harness eval"),
        judges=apply_sets({}, judge_sets),
        seed=seed,
        registry=app.registry,
        progress=app.view,
    )
    if as_json:
        means: dict[str, Any] = {suite.suite: suite.mean for suite in report.suites}
        click.echo(json.dumps({"means": means, "report": asdict(report)}, indent=1, ensure_ascii=False))
    else:
        click.echo(report_table(report))
    return EXIT_OK
