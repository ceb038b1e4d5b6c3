"""The loop: sample, judge, sift, update, evaluate, gate, commit. Every step is stored before the next begins.

There are no callbacks and no states: to resume is to run it again, and the store skips what it has.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.checkpoints import open_checkpoint
from harness.config import LoopConfig, Stage
from harness.data_step import DataStep
from harness.errors import HarnessError, UpdateError
from harness.gate import TargetRule, confirm, contradictory, gate
from harness.launching import make_updater
from harness.looks import FEWEST_FRESH, kept_back, measured
from harness.measuring import Measures, round_answers, round_report
from harness.plugins import Registry
from harness.protocols import RunContext, Suite
from harness.records import read_decision, write_json
from harness.sampler import Sampler
from harness.sampling_step import Samples, derive_seed
from harness.stopping import enough
from harness.store import RunStore
from harness.types import BASE_POLICY, AdapterCheckpoint, EvalReport, GateDecision, ScoredGroup
from harness.watching import Watch


@dataclass(frozen=True)
class Incumbent:
    """What stands: its adapter (None: the base model) and how it was evaluated."""

    checkpoint: AdapterCheckpoint | None
    report: EvalReport

    @property
    def version(self) -> str:
        return self.checkpoint.version if self.checkpoint else BASE_POLICY


@dataclass
class Loop:
    """One run's parts. `suites[0]` is the target."""

    config: LoopConfig
    suites: Sequence[Suite]
    store: RunStore
    registry: Registry
    context: RunContext
    sampler: Sampler

    def run(self) -> Incumbent:
        with self.context.progress.task("loop", total=self.config.rounds + 1) as advance:
            incumbent = Incumbent(None, self.measures.at(0, None))
            if problem := contradictory(incumbent.report, self.config.gate):
                raise HarnessError(problem, where="gate", remedy="Take another judge, or raise gate.max_flip_rate.")
            start = GateDecision("promoted", f"The starting point: {means(incumbent.report)}.")
            self.commit(0, start, BASE_POLICY, stopped=self.enough(0, start, incumbent.report))
            if self.config.monitors.enabled:
                self.watch.freeze(lambda: self.answers(0))
            done = self.store.committed()
            if done:
                incumbent = self.resumed(done, incumbent)
                advance(done)
            for index in range(done + 1, self.config.rounds + 1):
                if self.store.stopped:
                    break
                advance()
                incumbent = self.round(index, incumbent)
            return self.confirmed(incumbent)

    def round(self, index: int, incumbent: Incumbent) -> Incumbent:
        stage = self.config.stage_of(index)
        self.registry.notify("harness_round_started", run=self.store.folder.name, index=index, stage=stage.updater)
        self.context.progress.note(
            f"round {index}/{self.config.rounds}: {described(stage)}, from {incumbent.version[:12]}"
        )
        scored = self.samples.of(index, stage, incumbent.checkpoint)
        groups = self.data.sifted(index, stage, scored)
        candidate = self.update(index, stage, groups, incumbent)
        if candidate is None:
            return incumbent
        decision = self.decide(index, stage, incumbent, candidate)
        alarms = self.monitor(index, stage, candidate)

        def write(path: Path) -> None:
            write_json(path, overruled(decision, alarms))

        decision = self.store.step(index, "decision", "decision.json", make=write, read=read_decision)
        if decision.outcome == "invalid":
            raise HarnessError(decision.sentence, where=f"round {index}", remedy="Start a new run.")
        report = round_report(self.store, index)
        version = candidate.version if decision.promoted else incumbent.version
        stopped = "; ".join(alarms) or self.enough(index, decision, report)
        self.commit(index, decision, version, stopped=stopped)
        return Incumbent(candidate, report) if decision.promoted else incumbent

    def decide(self, index: int, stage: Stage, incumbent: Incumbent, candidate: AdapterCheckpoint) -> GateDecision:
        """What the gate says, at the first look that decides. All three arms are measured as far as is looked."""
        standing = self.store.incumbent_round(upto=index - 1)

        def at(look: int) -> GateDecision:
            after = self.measures.at(index, candidate, look)
            before = self.measures.at(standing, incumbent.checkpoint, look)
            anchor = self.measures.at(0, None, look)
            return gate(before, after, anchor, self.config.gate, rule=stage.gate, look=look)

        decision = at(1)
        if decision.outcome != "inconclusive" or self.config.gate.looks == 1:
            return decision
        self.context.progress.note("  The first half of the items does not decide; looking at the rest.")
        return at(2)

    def confirmed(self, incumbent: Incumbent) -> Incumbent:
        """What the loop has promoted, held once against the starting point on items that no round has seen. Where they
        refute it, the starting point stands."""
        index = self.store.incumbent_round(upto=self.store.committed())
        if index and self.measures.fresh is None and self.config.gate.confirm:
            self.context.progress.note(
                f"Not confirmed on fresh items: with gate.confirm = {self.config.gate.confirm:g} of "
                f"{len(self.measures.suites[0].items)} items they would be fewer than {FEWEST_FRESH}."
            )
        if index == 0 or self.measures.fresh is None:
            return incumbent
        promoted = [i for i in range(1, index + 1) if self.store.incumbent_round(upto=i) == i]
        rule: TargetRule = "gain" if any(self.config.stage_of(i).gate == "gain" for i in promoted) else "hold"

        def decide(path: Path) -> Mapping[str, Any]:
            anchor, final = self.measures.fresh_items(0, None), self.measures.fresh_items(index, incumbent.checkpoint)
            decision = confirm(anchor, final, self.config.gate, rule=rule)
            write_json(path, decision)
            self.context.progress.note(decision.sentence)
            return {"outcome": decision.outcome, "sentence": decision.sentence}

        self.store.step(index, "confirmation", "confirmation.json", make=decide, read=read_decision)
        return incumbent if self.store.incumbent_round() == index else Incumbent(None, round_report(self.store, 0))

    def resumed(self, done: int, start: Incumbent) -> Incumbent:
        """What stood after round `done`, the last one that is committed."""
        shutil.rmtree(self._scratch(done), ignore_errors=True)  # of a crash between the two
        standing = self.store.incumbent_round(upto=done)
        return self.stored(standing) if standing else start

    def stored(self, index: int) -> Incumbent:
        """The candidate that a committed round promoted."""
        base = self.context.require_model().fingerprint
        checkpoint = self.store.load(index, "update", lambda path: open_checkpoint(path, base=base))
        return Incumbent(checkpoint, round_report(self.store, index))

    # ------------------------------------------------------------ steps

    def update(
        self, index: int, stage: Stage, groups: Sequence[ScoredGroup], incumbent: Incumbent
    ) -> AdapterCheckpoint | None:
        """The round's candidate, or None when the update failed by itself and the round is committed as rejected."""
        model = self.context.require_model()
        scratch = self._scratch(index)

        def make(path: Path) -> Mapping[str, Any]:
            if not groups:
                raise UpdateError("nothing is left to train on", remedy=f"See `harness show RUN --round {index}`.")
            context = replace(self.context, scratch=scratch, score=self.samples.rewarder(index, stage))
            where = f"round {index}"
            updater = make_updater(
                self.registry, stage.updater, stage.config, context, self.config.launcher, where=where
            )
            path.mkdir()
            update = updater.update(
                groups, parent=incumbent.checkpoint, out=path, seed=derive_seed(self.config.seed, index)
            )
            return dict(update.metrics)

        try:
            checkpoint = self.store.step(
                index, "update", "adapter", make=make, read=lambda path: open_checkpoint(path, base=model.fingerprint)
            )
        except UpdateError as error:
            decision = GateDecision("rejected", f"Rejected: the update failed: {error} The incumbent stays.")
            self.commit(index, decision, incumbent.version, stopped=self.enough(index, decision, incumbent.report))
            checkpoint = None
        shutil.rmtree(scratch, ignore_errors=True)
        return checkpoint

    def _scratch(self, index: int) -> Path:
        return self.store.round_folder(index) / "update.midway"

    @cached_property
    def samples(self) -> Samples:
        return Samples(self.config, self.suites, self.store, self.registry, self.context, self.sampler)

    @cached_property
    def data(self) -> DataStep:
        return DataStep(self.config, self.suites, self.store, self.registry, self.context)

    @cached_property
    def measures(self) -> Measures:
        target, fresh = kept_back(measured(self.suites[0], self.config.eval.limit), self.config.gate)
        seen = [target, *(measured(suite, self.config.eval.limit) for suite in self.suites[1:])]
        return Measures(self.config, seen, fresh, self.store, self.registry, self.context, self.sampler)

    def enough(self, index: int, decision: GateDecision, report: EvalReport) -> str:
        standing = index if decision.promoted else self.store.incumbent_round(upto=index)
        promoted = report if decision.promoted else None
        return enough(self.config.stop, index, standing, promoted, self.config.gate.alpha, looks=self.config.rounds + 1)

    @cached_property
    def watch(self) -> Watch:
        return Watch(self.measures.suites[0], self.config, self.store, self.registry, self.context, self.sampler)

    def answers(self, index: int) -> list[ScoredGroup]:
        """To the target's held-out items, as a round's candidate was evaluated on them."""
        return round_answers(self.store, index, self.suites[0].name)

    def monitor(self, index: int, stage: Stage, candidate: AdapterCheckpoint) -> tuple[str, ...]:
        """What the monitors have seen that ends the loop."""
        if not self.config.monitors.enabled:
            return ()
        before, after = both(self.answers(self.store.incumbent_round(upto=index - 1)), self.answers(index))
        return self.watch.round(index, stage, candidate, before, after).alarms

    def commit(self, index: int, decision: GateDecision, version: str, *, stopped: str = "") -> None:
        """The one act that changes the incumbent: a line in the journal. `stopped`: why no round follows."""
        if self.store.entry(index, "commit") is None:
            data = {"outcome": decision.outcome, "version": version, "sentence": decision.sentence}
            self.store.record(index, "commit", {**data, "stopped": stopped} if stopped else data)
            self.context.progress.note(f"  {decision.sentence}")
            if stopped and stopped not in decision.sentence:
                self.context.progress.note(f"  The loop ends: {stopped}.")
            if index > 0:
                self.registry.notify(
                    "harness_round_finished", run=self.store.folder.name, index=index, decision=decision
                )


def overruled(decision: GateDecision, alarms: Sequence[str]) -> GateDecision:
    """The gate's decision, or where monitors raise alarms a rejection that says them. An invalid decision stays so."""
    if not alarms or decision.outcome == "invalid":
        return decision
    shown = "; ".join(alarms)
    sentence = f"Rejected, and the loop ends: {shown} (the gate alone: {decision.outcome}). The incumbent stays."
    return replace(decision, outcome="rejected", sentence=sentence)


def described(stage: Stage) -> str:
    """`policy -> group, 32 prompts x 8`, or `rows.jsonl -> sft`."""
    if stage.data is not None:
        return f"{Path(stage.data).name} -> {stage.updater}"
    return f"{stage.generator} -> {stage.updater}, {stage.prompts + sum(stage.replay.values())} prompts x {stage.n}"


def both(before: Sequence[ScoredGroup], after: Sequence[ScoredGroup]) -> tuple[list[ScoredGroup], list[ScoredGroup]]:
    """The answers to items that both arms have answered: one may have been looked at further than the other."""
    shared = {scored.group.prompt.id for scored in before} & {scored.group.prompt.id for scored in after}

    def kept(arm: Sequence[ScoredGroup]) -> list[ScoredGroup]:
        return [scored for scored in arm if scored.group.prompt.id in shared]

    return kept(before), kept(after)


def means(report: EvalReport) -> str:
    """`tool-calls 61.2%, general 55.0%`."""
    return ", ".join(f"{s.suite} {'unscored' if s.mean is None else f'{s.mean:.1%}'}" for s in report.suites)


def as_target(suite: Suite) -> Suite:
    """The suite in the role of target, whatever its own: it is the one that was asked for."""
    return replace(suite, role="target")
