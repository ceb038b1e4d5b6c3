"""Evaluating alone: completions are stored as they are sampled, so that what was cut short goes on to the same report.

A suite is sampled in chunks and judged when it is whole. To resume is to run it again: the store skips what it has.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from harness.api import start_generator
from harness.config import EvalConfig, GeneratorRef
from harness.errors import ConfigError, StoreError
from harness.eval_plan import EvalPlan, plan_evaluation, versions
from harness.evaluation import (
    SuiteResults,
    evaluate_suites,
    evaluating_bench,
    judge_items,
    sample_items,
    suite_report,
)
from harness.evaluations import REPORT, EvalStore, Evaluation, scored_file
from harness.measuring import slug
from harness.plugins import Registry, load_registry
from harness.protocols import Progress, RunContext, SilentProgress, Suite
from harness.records import read_groups, write_groups, write_json
from harness.sampler import Sampler
from harness.types import EvalReport, Group, ScoredGroup, SuiteReport

CHUNK = 256
"""Items that are sampled before they are stored: enough to keep an engine busy."""


@dataclass(frozen=True)
class Evaluated:
    """`already_finished`: nothing was left to do. `taken_over` are suites that another evaluation had, and which."""

    evaluation: Evaluation
    already_finished: bool
    taken_over: Mapping[str, str] = field(default_factory=dict)


def evaluate(
    suites: str | Sequence[str],
    *,
    model: str = "smollm2-135m",
    adapter: Path | None = None,
    generator: GeneratorRef | None = None,
    config: EvalConfig | None = None,
    judges: Mapping[str, Mapping[str, Any]] | None = None,
    seed: int = 0,
    out: Path | None = None,
    resume: bool = False,
    registry: Registry | None = None,
    progress: Progress | None = None,
) -> tuple[EvalReport, SuiteResults]:
    """Evaluate a model, with an adapter or bare, on suites. `judges` holds settings over those of the suites' judges,
    by name. Returns the report and the scored completions by suite.

    With `out` they are kept in that folder, where an evaluation that is finished is found again and one that is not
    goes on if `resume` is True (else StoreError).
    """
    registry, progress = registry or load_registry(), progress or SilentProgress()
    if resume and out is None:
        raise ConfigError("resume = True, and nothing is kept", where="evaluate", remedy="Name the folder with out.")
    plan = plan_evaluation(
        suites,
        model=model,
        adapter=adapter,
        generator=generator,
        config=config,
        judges=judges,
        seed=seed,
        registry=registry,
        progress=progress,
    )
    if out is not None:
        [done] = run_evaluations({Path(out): plan}, resume=resume, registry=registry, progress=progress)
        return done.evaluation.report, {s.name: done.evaluation.groups(s.name) for s in plan.suites}
    context = _context(plan, registry, progress)
    with closing(_sampler(plan, registry, context)) as sampler:
        return evaluate_suites(
            plan.suites,
            sampler.at(plan.checkpoint),
            policy_version=plan.policy_version,
            registry=registry,
            context=context,
            config=plan.config,
        )


def run_evaluations(
    plans: Mapping[Path, EvalPlan],
    *,
    resume: bool = False,
    evals: Path | None = None,
    registry: Registry,
    progress: Progress,
) -> list[Evaluated]:
    """Make, continue or find finished the evaluations in these folders: plans of one model and generator, which starts
    once, and only if something is to be sampled.

    A suite that another evaluation under `evals` has finished, of the same policy and by the same judges, is taken
    over. Raises StoreError when an unfinished evaluation is there and `resume` is False, or one of other settings.
    """
    for folder, plan in plans.items():
        _refuse(folder, plan, resume)
    first = next(iter(plans.values()))
    with closing(_sampler(first, registry, _context(first, registry, progress))) as sampler:
        return [_Work(folder, plan, sampler, registry, progress, evals).run() for folder, plan in plans.items()]


def _refuse(folder: Path, plan: EvalPlan, resume: bool) -> None:
    if EvalStore.exists(folder):
        store = EvalStore.open(folder)
        store.require_identity(plan.identity)
        if store.started and not store.finished and not resume:
            remedy = "Continue it with --resume, or start another with --out FOLDER."
            raise StoreError("this evaluation is unfinished", where=str(folder), remedy=remedy)


def _context(plan: EvalPlan, registry: Registry, progress: Progress) -> RunContext:
    return RunContext(model=plan.model, seed=plan.seed, progress=progress, components=registry)


def _sampler(plan: EvalPlan, registry: Registry, context: RunContext) -> Sampler:
    return Sampler(lambda: start_generator(plan.generator, registry, context))


@dataclass
class _Work:
    """One evaluation in its folder."""

    folder: Path
    plan: EvalPlan
    sampler: Sampler
    registry: Registry
    progress: Progress
    evals: Path | None
    taken_over: dict[str, str] = field(default_factory=dict)

    def run(self) -> Evaluated:
        store = EvalStore.open(self.folder) if EvalStore.exists(self.folder) else self._created()
        if store.finished:
            return Evaluated(store.evaluation(self.folder.name), already_finished=True)
        with store.lock():
            reports = tuple(self._suite(store, suite) for suite in self.plan.suites)
            shutil.rmtree(self.folder / "parts", ignore_errors=True)
            store.put(REPORT, partial(write_json, record=EvalReport(self.plan.policy_version, reports)))
        return Evaluated(store.evaluation(self.folder.name), already_finished=False, taken_over=self.taken_over)

    def _created(self) -> EvalStore:
        plan = self.plan
        return EvalStore.create(
            self.folder, plan.identity, named=plan.named, versions=versions(), model=plan.model.name
        )

    def _suite(self, store: EvalStore, suite: Suite) -> SuiteReport:
        name = scored_file(suite.name)
        if not store.has(name) and not self._take_over(store, suite):
            context = _context(self.plan, self.registry, self.progress)
            bench = evaluating_bench(suite, self.registry, context)  # before sampling: it may refuse
            scored, judging = judge_items(suite, self._sampled(store, suite, context), bench)
            store.put(name, partial(write_groups, groups=scored), judging)
        # Read back even what was just made: a resumed evaluation then sees the very same values.
        return suite_report(suite, read_groups(store.path(name)), store.data(name), self.registry, self.plan.config)

    def _sampled(self, store: EvalStore, suite: Suite, context: RunContext) -> list[Group]:
        items, groups = self.plan.items(suite), []
        with self.progress.task(f"sample {suite.name}", total=len(items)) as advance:
            for number, start in enumerate(range(0, len(items), CHUNK)):
                chunk = items[start : start + CHUNK]
                name = f"parts/{slug(suite.name)}/{number:03d}.parquet"
                if not store.has(name):
                    generator, version = self.sampler.at(self.plan.checkpoint), self.plan.policy_version
                    drawn = sample_items(suite, chunk, generator, version, context, self.plan.config)
                    store.put(name, partial(write_groups, groups=unjudged(drawn)))
                groups += [scored.group for scored in read_groups(store.path(name))]
                advance(len(chunk))
        return groups

    def _take_over(self, store: EvalStore, suite: Suite) -> bool:
        """Whether another evaluation has this suite, of the same policy by the same judges; a copy is then here."""
        name = scored_file(suite.name)
        for folder in sorted(path.parent for path in self.evals.glob("*/evaluation.json")) if self.evals else ():
            try:
                other = EvalStore.open(folder)
                if not other.has(name) or _measured(other.identity, suite) != _measured(self.plan.identity, suite):
                    continue
                source = other.path(name)
            except StoreError as error:
                self.progress.note(f"not taken over: {error}")
                continue
            store.put(name, partial(shutil.copyfile, source), other.data(name))
            self.taken_over[suite.name] = folder.name
            self.progress.note(f"{suite.name} is taken over from {folder}: the same policy, items, judges and seed")
            return True
        return False


def unjudged(groups: Sequence[Group]) -> list[ScoredGroup]:
    """As they are stored before any judge has seen them."""
    return [ScoredGroup(g, tuple(() for _ in g.completions), (None,) * len(g.completions)) for g in groups]


def _measured(identity: Mapping[str, Any], suite: Suite) -> list[Any]:
    """What a suite's completions and scores depend on."""
    return [
        *(identity.get(part) for part in ("model", "adapter", "generator", "seed")),
        identity.get("suites", {}).get(suite.name),
    ]
