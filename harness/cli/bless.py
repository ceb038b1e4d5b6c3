"""`harness bless`: what candidates are held against."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import rich_click as click

from harness.cli.run import EVALS_OPTION, RUNS_OPTION
from harness.errors import EXIT_OK, ConfigError, StoreError
from harness.types import EvalReport

BLESSED_OPTION = click.option(
    "--blessed", type=click.Path(path_type=Path), default=Path("blessed"), envvar="HARNESS_BLESSED", show_default=True,
    help="Folder that holds what is blessed.",
)  # fmt: skip


@click.command("bless")
@click.argument("evaluation", required=False)
@click.option("--name", default="main", show_default=True, help="What it is blessed as.")
@click.option("--reason", default="", help="Why.")
@click.option("--list", "listed", is_flag=True, help="Show what is blessed.")
@BLESSED_OPTION
@EVALS_OPTION
@RUNS_OPTION
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def bless_command(
    evaluation: str | None,
    name: str,
    reason: str,
    listed: bool,
    blessed: Path,
    evals: Path,
    runs: Path,
    as_json: bool,
) -> int:
    """Make EVALUATION what `harness gate` holds others against. Commit the folder: it holds scores, no completions."""
    from harness.blessing import bless, blessings
    from harness.evaluations import find_evaluation

    if listed == (evaluation is not None):
        raise ConfigError("name an evaluation, or ask for the list", where="bless", remedy="Give one, or --list.")
    if evaluation is None:
        found = blessings(blessed)
        _show_list([asdict(b) for b in found], blessed, as_json)
        return EXIT_OK
    stored = find_evaluation(evaluation, evals=evals, runs=runs)
    before = _stands(name, blessed)
    done = bless(stored, name=name, reason=reason, folder=blessed)
    if as_json:
        click.echo(json.dumps({**asdict(done), "changes": _changes(before, stored.report)}, indent=1))
        return EXIT_OK
    click.echo(f"{evaluation} ({done.policy_version[:12]}) is blessed as {name} in {blessed / name}, by {done.by}.")
    for line in _changes(before, stored.report):
        click.echo(f"  {line}")
    return EXIT_OK


def _stands(name: str, folder: Path) -> EvalReport | None:
    """What is blessed now; None for nothing, or for what is damaged, which is made good by blessing again."""
    from harness.blessing import find_blessed

    try:
        return find_blessed(name, folder)[1].report
    except StoreError:
        return None


def _changes(before: EvalReport | None, after: EvalReport) -> list[str]:
    """A line on every suite that is not what it was; none where nothing was blessed."""
    from harness.stored_gate import HELD

    if before is None:
        return []
    lines = []
    if before.policy_version != after.policy_version:
        lines.append(f"policy {before.policy_version[:12]} is now {after.policy_version[:12]}")
    for suite in after.suites:
        old = before.suite(suite.suite)
        if old is None:
            lines.append(f"{suite.suite} is new: {_percent(suite.mean)}")
        elif old != suite:
            measured = "" if old.fingerprint == suite.fingerprint else ", measured otherwise"
            held = [name for name in HELD if getattr(old, name) != getattr(suite, name)]
            changed = "".join(f", {n} {getattr(old, n)} is now {getattr(suite, n)}" for n in held)
            lines.append(f"{suite.suite} {_percent(old.mean)} is now {_percent(suite.mean)}{measured}{changed}")
    kept = {suite.suite for suite in after.suites}
    lines += [f"{suite.suite} is no longer there" for suite in before.suites if suite.suite not in kept]
    return lines or ["nothing changes"]


def _percent(value: float | None) -> str:
    return "unscored" if value is None else f"{value:.1%}"


def _show_list(found: Sequence[dict[str, object]], folder: Path, as_json: bool) -> None:
    from harness.cli.table import table

    if as_json:
        click.echo(json.dumps(found, indent=1, ensure_ascii=False))
    elif not found:
        click.echo(f"Nothing is blessed in {folder}. Bless an evaluation: harness bless EVALUATION")
    else:
        rows = []
        for b in found:
            means = b["means"]
            assert isinstance(means, dict)
            scores = ", ".join(f"{suite} {_percent(mean)}" for suite, mean in means.items())
            version = str(b["policy_version"])[:12]
            rows.append(
                [str(b["name"]), str(b["evaluation"]), version, scores, str(b["at"]), str(b["by"]), str(b["reason"])]
            )
        click.echo(table(["name", "evaluation", "policy", "scores", "at", "by", "reason"], rows))
