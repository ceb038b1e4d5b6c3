"""`harness eval`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from harness.cli.app import App, pass_app
from harness.cli.run import EVALS_OPTION
from harness.errors import EXIT_OK, ConfigError
from harness.types import BASE_POLICY

if TYPE_CHECKING:
    from harness.eval_plan import EvalPlan
    from harness.evaluating import Evaluated
    from harness.summary import Change

ARMS = ("unconstrained", "constrained")


@click.command("eval")
@click.option("--suite", "suites", multiple=True, required=True, help="A suite's name or folder; may be repeated.")
@click.option("--model", default="smollm2-135m", show_default=True, help="An asset, a local folder, or a model-hub id.")
@click.option(
    "--adapter",
    "adapters",
    multiple=True,
    metavar="FOLDER",
    help="An adapter; several, or `base` for none, are evaluated in turn and compared with the first.",
)
@click.option("--generator", default="auto", show_default=True, help="What samples; auto: vllm if installed.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="A setting of the generator.")
@click.option("--judge", "judge_sets", multiple=True, metavar="NAME.KEY=VALUE", help="A setting of a suite's judge.")
@click.option("--limit", type=int, help="First N items of each suite.")
@click.option("--epochs", type=int, default=1, show_default=True, help="Completions an item; with several, pass@k.")
@click.option("--temperature", type=float, help="Default: the suite's own.")
@click.option("--max-connections", type=int, help="Requests under way at once, of a generator that asks a server.")
@click.option("--constrained", is_flag=True, help="Hold answers to the schema or tools while decoding.")
@click.option("--arms", "both", is_flag=True, help="Both without and with it, side by side, and the difference.")
@click.option("--seed", type=int, default=0, show_default=True)
@EVALS_OPTION
@click.option("--out", type=click.Path(path_type=Path), help="This folder instead; no suite is taken over from others.")
@click.option("--resume", is_flag=True, help="Continue an unfinished evaluation.")
@click.option("--dry-run", is_flag=True, help="Print what would be evaluated, and start nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@pass_app
def eval_command(
    app: App,
    suites: Sequence[str],
    model: str,
    adapters: Sequence[str],
    generator: str,
    sets: Sequence[str],
    judge_sets: Sequence[str],
    limit: int | None,
    epochs: int,
    temperature: float | None,
    max_connections: int | None,
    constrained: bool,
    both: bool,
    seed: int,
    evals: Path,
    out: Path | None,
    resume: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Evaluate a model, bare or with adapters, on one or more suites.

    The evaluation is kept: the same command again finds it, and one that was cut short goes on with --resume. A suite
    that another evaluation has of the same policy, by the same judges and with the same seed, is not sampled again.
    """
    from harness.config import EvalConfig, GeneratorRef, apply_sets
    from harness.eval_plan import arms, by_adapter, plan_evaluation
    from harness.evaluating import run_evaluations
    from harness.measuring import slug
    from harness.plugins import validate

    if both and constrained:
        raise ConfigError("--arms has constrained decoding in it", where="eval", remedy="Leave out --constrained.")
    if both and len(adapters) > 1:
        raise ConfigError("--arms compares two ways to decode", where="eval", remedy="Name one --adapter.")
    settings = {"limit": limit, "epochs": epochs, "temperature": temperature, "constrained": constrained}
    plan = plan_evaluation(
        suites,
        model=model,
        generator=GeneratorRef(name=generator, config=apply_sets({}, sets)),
        config=validate(EvalConfig, settings, where="harness eval"),
        judges=apply_sets({}, judge_sets),
        seed=seed,
        max_connections=max_connections,
        registry=app.registry,
        progress=app.view,
    )
    policies = by_adapter(plan, adapters or [BASE_POLICY], app.registry)
    [plan, *others] = policies.values()
    named = dict(zip(ARMS, arms(plan, app.registry), strict=True)) if both else policies if others else {"": plan}
    plans = {(out / slug(arm) if out and arm else out or evals / one.name): one for arm, one in named.items()}
    if dry_run:
        click.echo(_planned(plans, as_json))
        return EXIT_OK
    found = run_evaluations(
        plans, resume=resume, evals=None if out else evals, registry=app.registry, progress=app.view
    )
    if all(done.already_finished for done in found):
        app.view.note("This evaluation is finished; nothing was done.")
    shown = dict(zip(named, found, strict=True))
    click.echo(_as_json(shown) if as_json else _as_text(shown))
    return EXIT_OK


def _planned(plans: dict[Path, EvalPlan], as_json: bool) -> str:
    from harness.cli.table import table

    if as_json:
        shown = [
            {
                "folder": str(folder),
                "identity": plan.identity,
                "items": {suite.name: len(plan.items(suite)) for suite in plan.suites},
                "completions": sum(map(plan.completions, plan.suites)),
            }
            for folder, plan in plans.items()
        ]
        return json.dumps(shown, indent=1, ensure_ascii=False)
    rows = [
        [
            str(folder),
            suite.name,
            f"{len(plan.items(suite))}",
            f"{plan.completions(suite)}",
            plan.identity["suites"][suite.name]["items"],
        ]
        for folder, plan in plans.items()
        for suite in plan.suites
    ]
    first = next(iter(plans.values()))
    lines = [
        f"model      {first.model.name}  ({first.model.fingerprint[:12]})",
        f"adapters   {', '.join(plan.policy_version[:12] for plan in plans.values())}",
        f"generator  {first.generator.name}  {json.dumps(first.generator.config)}",
        f"seed       {first.seed}",
    ]
    return "\n".join([*lines, table(["folder", "suite", "items", "completions", "identity"], rows)])


def _as_json(found: dict[str, Evaluated]) -> str:
    from harness.reports import as_record

    shown: dict[str, Any] = {
        arm: {
            "folder": str(done.evaluation.folders[0]),
            "already_finished": done.already_finished,
            "taken_over": done.taken_over,
            **as_record(done.evaluation),
        }
        for arm, done in found.items()
    }
    [first, *others] = found
    differences = {
        other: {name: asdict(change) if change else None for name, change in _changes(found, first, other).items()}
        for other in others
    }
    if others:
        shown["difference"] = differences if len(others) > 1 else differences[others[0]]
    return json.dumps(shown.get("", shown), indent=1, ensure_ascii=False)


def _as_text(found: dict[str, Evaluated]) -> str:
    from harness.cli.table import table
    from harness.cli.tables import change_rows, passing_table, report_table

    [first, *others] = found
    parts = []
    for other in others:
        columns = ["suite", "items", first, other, "difference", "95% interval", "won", "lost"]
        parts.append(table(columns, change_rows(_changes(found, first, other))))
    for arm, done in found.items():
        report = done.evaluation.report
        parts += [f"{arm}:" if arm else "", report_table(report), passing_table(report)]
    parts += [f"evaluation  {done.evaluation.folders[0]}" for done in found.values()]
    return "\n".join(part for part in parts if part)


def _changes(found: dict[str, Evaluated], first: str, other: str) -> dict[str, Change | None]:
    """Of each suite that both have, what is different in the other."""
    from harness.summary import changed

    free, held = (found[arm].evaluation.report.suites for arm in (first, other))
    return {new.suite: changed(old, new) for old in free for new in held if old.suite == new.suite}
