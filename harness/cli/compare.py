"""`harness compare`: which of several candidates the gate would promote, or how stored evaluations differ."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from harness.cli.app import App, pass_app
from harness.cli.run import EVALS_OPTION, RUNS_OPTION, run_folder
from harness.errors import EXIT_INCONCLUSIVE, EXIT_OK, EXIT_REJECTED, ConfigError

if TYPE_CHECKING:
    from harness.comparison import Comparison


@click.command("compare")
@click.argument("first", metavar="RUN|EVALUATION")
@click.argument("others", nargs=-1, required=True, metavar="ADAPTER...|EVALUATION...")
@click.option("--round", "index", type=int, help="RUN: what this round started from. Default: the last judged.")
@click.option("--alpha", type=float, help="One-sided level. RUN: of each condition, default the run's; else 0.025.")
@click.option("--suite", "suites", multiple=True, help="EVALUATION: only this suite; may be repeated.")
@click.option("--examples", type=click.IntRange(1), metavar="K", help="Two: K items that each does better on.")
@click.option("--judge", metavar="NAME", help="Two: this judge's win rate, in both orders and at equal length.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="A setting of that judge: against=siblings.")
@click.option("--common", is_flag=True, help="EVALUATION: the items that all have, though not measured alike.")
@EVALS_OPTION
@RUNS_OPTION
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@pass_app
def compare_command(
    app: App,
    first: str,
    others: Sequence[str],
    index: int | None,
    alpha: float | None,
    suites: Sequence[str],
    examples: int | None,
    judge: str | None,
    sets: Sequence[str],
    common: bool,
    evals: Path,
    runs: Path,
    as_json: bool,
) -> int:
    """Hold adapters against what stood in a run, or stored evaluations against one another.

    RUN ADAPTER...: evaluates the adapters on the run's suites, under its gate. Nothing is promoted. Exit code 0 if
    the gate would promote one, else 1 if it rejects all, else 2.

    EVALUATION EVALUATION...: the second minus the first, item by item; of three or more, who is stronger. A folder, a
    name under --evals, RUN, or RUN:ROUND. Exit code 0.
    """
    if is_adapter(Path(others[0])):
        only = {"--suite": suites, "--examples": examples, "--judge": judge, "--set": sets, "--common": common}
        _refuse({name for name, value in only.items() if value}, "a run's adapters")
        return _compare_adapters(app, run_folder(first, runs), list(map(Path, others)), index, alpha, as_json)
    from harness.cli.compare_evaluations import Question, compare_evaluations

    _refuse({"--round"} if index is not None else set(), "evaluations")
    question = Question(tuple(suites), alpha, examples, judge, tuple(sets), common)
    return compare_evaluations(app, [first, *others], question, evals=evals, runs=runs, as_json=as_json)


def is_adapter(folder: Path) -> bool:
    """A folder that holds neither an evaluation nor a run."""
    others = ("report.json", "evaluation.json", "run.json")
    return folder.is_dir() and not any((folder / name).is_file() for name in others)


def _refuse(options: set[str], compared: str) -> None:
    if options:
        raise ConfigError(f"{min(options)} says nothing of {compared}", where="compare", remedy="Leave it out.")


def _compare_adapters(
    app: App, run: Path, adapters: Sequence[Path], index: int | None, alpha: float | None, as_json: bool
) -> int:
    from harness.cli.tables import comparison_table
    from harness.comparison import compare

    comparison = compare(run, adapters, round=index, alpha=alpha, registry=app.registry, progress=app.view)
    if as_json:
        click.echo(json.dumps(_as_json(comparison), indent=1, ensure_ascii=False))
    else:
        click.echo("\n".join([comparison_table(comparison), *_sentences(comparison)]))
    outcomes = {candidate.decision.outcome for candidate in comparison.candidates}
    if "promoted" in outcomes:
        return EXIT_OK
    return EXIT_REJECTED if outcomes == {"rejected"} else EXIT_INCONCLUSIVE


def _sentences(comparison: Comparison) -> list[str]:
    """What the gate says of each, what their number means, and what to do next."""
    first: dict[str, str] = {}
    lines = []
    for candidate in comparison.candidates:
        twin = first.setdefault(candidate.version, candidate.name)
        said = candidate.decision.sentence
        if twin != candidate.name:
            said = f"the same adapter as {twin}, evaluated once."
        lines.append(f"{candidate.name}: {said}")
    return [*lines, *_luck(comparison), *_what_next(comparison)]


def _luck(comparison: Comparison) -> list[str]:
    """The union bound (Boole): the candidates share items and incumbent, so no more can be said of their joint luck."""
    count, alpha = comparison.versions, comparison.gate.alpha
    if count < 2:
        return []
    return [
        f"{count} candidates at level {alpha:g} each: if none is good enough, the chance that at least one passes by "
        f"luck is not {alpha:.1%} but up to {min(1.0, count * alpha):.1%}. "
        f"--alpha {alpha / count:.3g} holds it to {alpha:.1%}."
    ]


def _what_next(comparison: Comparison) -> list[str]:
    best = comparison.best
    if best is None:
        return ["Nothing is promoted by comparing, and none of these would be."]
    suites = [word for suite in comparison.suites for word in ("--suite", suite)]
    look = ["harness", "eval", *suites, "--model", comparison.model, "--adapter", str(best.path)]
    use = ["harness", "export", str(best.path), "--model", comparison.model, "--out", "DIR"]
    return [
        f"Nothing is promoted by comparing. To look closer at {best.name} or to use it:",
        f"  {shlex.join(look)}",
        f"  {shlex.join(use)}",
    ]


def _as_json(comparison: Comparison) -> dict[str, Any]:
    best = comparison.best
    return {
        "run": str(comparison.run),
        "round": comparison.round,
        "gate": comparison.gate.model_dump(mode="json"),
        "versions": comparison.versions,
        "incumbent": {
            "round": comparison.incumbent_round,
            "version": comparison.incumbent.policy_version,
            "means": {suite.suite: suite.mean for suite in comparison.incumbent.suites},
        },
        "candidates": [
            {
                "name": candidate.name,
                "path": str(candidate.path),
                "version": candidate.version,
                "updater": candidate.updater,
                "objective": candidate.objective,
                "means": {suite.suite: suite.mean for suite in candidate.report.suites},
                "decision": asdict(candidate.decision),
            }
            for candidate in comparison.candidates
        ],
        "best": best.name if best else None,
    }
