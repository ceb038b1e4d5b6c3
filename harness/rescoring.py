"""Judging stored completions again, by a suite's present judges: nothing is sampled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from harness.api import find_suite
from harness.config import EvalConfig
from harness.errors import ConfigError, did_you_mean
from harness.eval_plan import lasting_name, measured_suite, versions
from harness.evaluation import evaluating_bench, judge_items, suite_report
from harness.evaluations import EVALS, REPORT, EvalStore, Evaluation, scored_file
from harness.measuring import slug
from harness.plugins import Registry
from harness.protocols import Progress, RunContext, Suite
from harness.records import read_groups, write_groups, write_json
from harness.store import artifact_digest
from harness.suites import with_judge_settings
from harness.types import EvalReport, Group, SuiteReport, digest


@dataclass(frozen=True)
class Rescored:
    """An evaluation, and the one of the same completions by other judges. `already_finished`: it was there."""

    before: Evaluation
    after: Evaluation
    already_finished: bool


@dataclass(frozen=True)
class _Answered:
    """A suite as its completions were sampled, with the judges that it has now."""

    suite: Suite
    config: EvalConfig
    groups: tuple[Group, ...]


def rescore(
    evaluation: Evaluation,
    *,
    suites: Sequence[str] = (),
    judges: Mapping[str, Mapping[str, Any]] | None = None,
    out: Path | None = None,
    evals: Path = EVALS,
    registry: Registry,
    progress: Progress,
) -> Rescored:
    """A new evaluation in `out` (default: a folder under `evals`) of what `evaluation` has sampled. `suites` are names
    or folders; without them all of its suites are judged. `judges` holds settings over those of the judges, by name.

    An unfinished one goes on, as the replies of judges are kept. Raises ConfigError where a suite's items are not
    those that were answered.
    """
    context = RunContext(seed=_seed(evaluation), progress=progress, components=registry)
    named = _named(evaluation, suites, registry, context)
    found = with_judge_settings(_as_judged(evaluation, [suite for _, suite in named.values()]), judges or {})
    answered = [_answered(evaluation, suite) for suite in found]
    identity = _identity(evaluation, answered, registry)
    folder = out or evals / f"{slug(Path(evaluation.name).name)[:80]}-judged-{digest(identity)[:8]}"
    store = EvalStore.open(folder) if EvalStore.exists(folder) else None
    if store is None:
        asked = {name: given for name, (given, _) in named.items()}
        store = EvalStore.create(folder, identity, named=asked, versions=versions(), model=evaluation.model)
    store.require_identity(identity)
    if store.finished:
        return Rescored(evaluation, store.evaluation(folder.name), already_finished=True)
    with store.lock():
        reports = tuple(_judged(store, one, registry, context) for one in answered)
        store.put(REPORT, partial(write_json, record=EvalReport(evaluation.report.policy_version, reports)))
    return Rescored(evaluation, store.evaluation(folder.name), already_finished=False)


def _seed(evaluation: Evaluation) -> int:
    """What it was sampled with; 0 where that is not known."""
    identity = evaluation.identity
    return int(identity.get("config", identity).get("seed", 0))


def _as_judged(evaluation: Evaluation, suites: Sequence[Suite]) -> tuple[Suite, ...]:
    """The suites with what a run's settings said of their judges."""
    judging = {use.name for suite in suites for use in suite.judges}
    given = evaluation.identity.get("config", {}).get("judges", {})
    return with_judge_settings(suites, {name: own for name, own in given.items() if name in judging})


def _named(
    evaluation: Evaluation, asked: Sequence[str], registry: Registry, context: RunContext
) -> dict[str, tuple[str, Suite]]:
    """By suite: as what it was named, and the suite as it is now."""
    held = [suite.suite for suite in evaluation.report.suites]
    named = {}
    for given in asked or [evaluation.named.get(name, name) for name in held]:
        suite = find_suite(given, registry, context)
        if suite.name not in held:
            what = f"suite {suite.name!r} is not in this evaluation"
            raise ConfigError(what, where=evaluation.name, remedy=did_you_mean(suite.name, held))
        named[suite.name] = (lasting_name(given), suite)
    return named


def _answered(evaluation: Evaluation, suite: Suite) -> _Answered:
    stored = [scored.group for scored in evaluation.groups(suite.name)]
    by_id = {item.id: item for item in suite.items}  # a run may have looked at some of them, in an order of its own
    items = [by_id.get(group.prompt.id) for group in stored]
    kept = [item for item, group in zip(items, stored, strict=True) if item and item.hash == group.prompt.hash]
    if len(kept) < len(stored):
        held = {item.id for item in kept}
        other = [group.prompt.id for group in stored if group.prompt.id not in held]
        raise ConfigError(
            f"{len(other)} of {len(stored)} items are not those that were answered; the first is {other[0]}",
            where=f"suite {suite.name}",
            remedy="Restore the suite's items, or evaluate anew.",
        )
    role = next(report.role for report in evaluation.report.suites if report.suite == suite.name)
    epochs = 1 if suite.kind == "likelihood" else len(stored[0].completions)
    return _Answered(
        replace(suite, role=role, items=tuple(kept), sampling=stored[0].sampling),
        EvalConfig(epochs=epochs),
        tuple(replace(group, prompt=item) for group, item in zip(stored, kept, strict=True)),
    )


def _identity(evaluation: Evaluation, answered: Sequence[_Answered], registry: Registry) -> dict[str, Any]:
    """As of an evaluation that would sample these completions, and which these are."""
    sampled = {
        name: evaluation.identity[name] for name in ("model", "generator", "seed") if name in evaluation.identity
    }
    return {
        **sampled,
        "adapter": evaluation.report.policy_version,
        "suites": {a.suite.name: measured_suite(a.suite, registry, a.config) for a in answered},
        "completions": {
            a.suite.name: [artifact_digest(path) for path in evaluation.files(a.suite.name)] for a in answered
        },
    }


def _judged(store: EvalStore, one: _Answered, registry: Registry, context: RunContext) -> SuiteReport:
    name = scored_file(one.suite.name)
    if not store.has(name):
        bench = evaluating_bench(one.suite, registry, context)
        scored, judging = judge_items(one.suite, one.groups, bench)
        store.put(name, partial(write_groups, groups=scored), judging)
    return suite_report(one.suite, read_groups(store.path(name)), store.data(name), registry, one.config)
