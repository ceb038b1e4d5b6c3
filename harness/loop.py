"""The loop: sample, judge, update, evaluate, gate, commit. Every step is stored before the next begins.

There are no callbacks and no states: to resume is to run it again, and the store skips what it has.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from harness.checkpoints import open_checkpoint
from harness.config import LoopConfig, Stage
from harness.errors import HarnessError, UpdateError
from harness.gate import TargetRule, confirm, contradictory, gate
from harness.judging import Bench, seat_judges, verdict_figures
from harness.launching import make_updater
from harness.looks import FEWEST_FRESH, kept_back, measured
from harness.measuring import Measures, round_answers, round_report
from harness.plugins import Registry
from harness.protocols import Generator, RunContext, Suite
from harness.records import read_decision, read_groups, write_groups, write_json
from harness.sampler import Sampler, draw_groups
from harness.stopping import enough
from harness.store import RunStore
from harness.training_data import file_digest, file_groups
from harness.types import BASE_POLICY, AdapterCheckpoint, EvalReport, GateDecision, Group, Prompt, Sampling, ScoredGroup
from harness.watching import Watch

VALIDATION_PROMPTS = 32
"""Training prompts, of which no round trains, that early stopping samples answers to."""


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
            for index in range(1, self.config.rounds + 1):
                if self.store.stopped and index > self.store.committed():
                    break
                advance()
                incumbent = self.round(index, incumbent)
            return self.confirmed(incumbent)

    def round(self, index: int, incumbent: Incumbent) -> Incumbent:
        stage = self.config.stage_of(index)
        if self.store.entry(index, "commit") is not None:
            shutil.rmtree(self._scratch(index), ignore_errors=True)  # of a crash between the two
            return self.stored(index) if self.store.incumbent_round(upto=index) == index else incumbent
        self.registry.notify("harness_round_started", run=self.store.folder.name, index=index, stage=stage.updater)
        self.context.progress.note(
            f"round {index}/{self.config.rounds}: {described(stage)}, from {incumbent.version[:12]}"
        )
        groups = self.sample(index, stage, incumbent)
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

    def stored(self, index: int) -> Incumbent:
        """The candidate that a committed round promoted."""
        base = self.context.require_model().fingerprint
        checkpoint = self.store.load(index, "update", lambda path: open_checkpoint(path, base=base))
        return Incumbent(checkpoint, round_report(self.store, index))

    # ------------------------------------------------------------ steps

    def sample(self, index: int, stage: Stage, incumbent: Incumbent) -> list[ScoredGroup]:
        """Always from what is promoted. Completions are stored before they are judged: they are what costs."""
        if stage.data is not None:
            return self.read(index, stage.data)
        sources = [(self.suite(name), count, used) for name, count, used in self.config.sources(index)]

        def make(path: Path) -> Mapping[str, Any]:
            if stage.generator == "policy":
                generator = self.sampler.at(incumbent.checkpoint)
            else:
                generator = self.registry.create("generator", stage.generator, {}, self.context, where=f"round {index}")
            groups = [group for source in sources for group in self._draw(index, stage, generator, *source)]
            if stage.generator != "policy":
                generator.close()
            unjudged = [ScoredGroup(g, tuple(() for _ in g.completions), (None,) * len(g.completions)) for g in groups]
            write_groups(path, unjudged)
            return {"tokens": sum(len(c.token_ids) for g in groups for c in g.completions)}

        sampled = self.store.step(index, "sample", "completions.parquet", make=make, read=read_groups)

        def judge(path: Path) -> Mapping[str, Any]:
            groups = iter([group.group for group in sampled])
            scored: list[ScoredGroup] = []
            figures: dict[str, float] = {}
            for suite, count, _ in sources:
                bench = self.bench(suite, stage)
                scored += bench.score(list(islice(groups, count)))
                beside = "" if suite is self.suites[0] else f"{suite.name}/"
                figures |= {f"{beside}{name}": value for name, value in bench.figures().items()}
                bench.close()
            write_groups(path, scored)
            self.registry.notify("harness_groups_scored", run=self.store.folder.name, index=index, groups=scored)
            return reward_figures(scored) | verdict_figures(scored) | figures

        return self.store.step(index, "judge", "groups.parquet", make=judge, read=read_groups)

    def read(self, index: int, data: str) -> list[ScoredGroup]:
        """The rows of a file in place of what is sampled and judged: their rewards come with them."""

        def make(path: Path) -> None:
            if file_digest(Path(data)) != self.store.identity["data"][f"round {index}"]:
                raise HarnessError(
                    "it has changed since the run was started", where=data, remedy="Restore it, or start a new run."
                )
            write_groups(path, file_groups(Path(data), self.context))

        groups = self.store.step(index, "sample", "completions.parquet", make=make, read=read_groups)

        def keep(path: Path) -> Mapping[str, Any]:
            write_groups(path, groups)
            self.registry.notify("harness_groups_scored", run=self.store.folder.name, index=index, groups=groups)
            return reward_figures(groups)

        return self.store.step(index, "judge", "groups.parquet", make=keep, read=read_groups)

    def bench(self, suite: Suite, stage: Stage) -> Bench:
        """The suite's judges of training samples; the target's weights are the stage's."""
        weights = stage.reward_weights if suite is self.suites[0] else None
        return seat_judges(suite, "train", self.registry, self.context, weights=weights, limits=self.config.judging)

    def _draw(self, index: int, stage: Stage, generator: Generator, suite: Suite, count: int, used: int) -> list[Group]:
        sampling = Sampling(stage.temperature, max_tokens=stage.max_tokens or suite.sampling.max_tokens)
        prompts = train_batch(suite, self.config.seed, used, count)
        return draw_groups(generator, prompts, n=stage.n, sampling=sampling, seed=derive_seed(self.config.seed, index))

    def suite(self, name: str | None) -> Suite:
        """The target for None, else the suite beside it of that name."""
        return self.suites[0] if name is None else next(suite for suite in self.suites if suite.name == name)

    def update(
        self, index: int, stage: Stage, groups: Sequence[ScoredGroup], incumbent: Incumbent
    ) -> AdapterCheckpoint | None:
        """The round's candidate, or None when the update failed by itself and the round is committed as rejected."""
        model = self.context.require_model()
        scratch = self._scratch(index)

        def make(path: Path) -> Mapping[str, Any]:
            context = replace(self.context, scratch=scratch, score=self._score(index, stage))
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

    def _score(self, index: int, stage: Stage) -> Callable[[AdapterCheckpoint | None], float]:
        """Mean reward on the target's training prompts that come last in the order that all rounds draw from."""
        target = self.suites[0]
        drawn = [source for i in range(1, self.config.rounds + 1) for source in self.config.sources(i)]
        used = sum(count for name, count, _ in drawn if name is None)
        spare = min(VALIDATION_PROMPTS, len(target.train) - used)

        def score(checkpoint: AdapterCheckpoint | None) -> float:
            if spare < 1:
                raise HarnessError(
                    f"the rounds train on {used} of {len(target.train)} prompts and leave none to stop early by",
                    where=f"round {index}",
                    remedy="Train on fewer, or watch the loss.",
                )
            sampling = Sampling(temperature=0.0, max_tokens=stage.max_tokens or target.sampling.max_tokens)
            prompts = train_batch(target, self.config.seed, len(target.train) - spare, spare)
            groups = draw_groups(self.sampler.at(checkpoint), prompts, n=1, sampling=sampling, seed=self.config.seed)
            bench = self.bench(target, stage)
            mean = reward_figures(bench.score(groups)).get("reward/mean")
            bench.close()
            if mean is None:
                raise HarnessError(
                    f"none of {len(groups)} answers is scored, so there is nothing to stop early by",
                    where=f"round {index}",
                    remedy="Look at the judges, or watch the loss.",
                )
            return mean

        return score

    @cached_property
    def measures(self) -> Measures:
        target, fresh = kept_back(measured(self.suites[0], self.config.eval.limit), self.config.gate)
        seen = [target, *(measured(suite, self.config.eval.limit) for suite in self.suites[1:])]
        return Measures(self.config, seen, fresh, self.store, self.registry, self.context, self.sampler)

    def enough(self, index: int, decision: GateDecision, report: EvalReport) -> str:
        standing = index if decision.promoted else self.store.incumbent_round(upto=index)
        promoted = report if decision.promoted else None
        return enough(self.config.stop, index, standing, promoted, self.config.gate.alpha, looks=self.config.rounds + 1)

    @property
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


def train_batch(suite: Suite, seed: int, used: int, count: int) -> list[Prompt]:
    """The next `count` training prompts after `used`, going round and round one seeded order of all of them.

    One order for every pass: a batch across two passes then holds no prompt twice, unless it is larger than the suite.
    """
    order = random.Random(f"{seed}/prompts").sample(suite.train, len(suite.train))
    return [order[index % len(order)] for index in range(used, used + count)]


def derive_seed(seed: int, index: int) -> int:
    """A seed a round. Not `seed + index`, which would give round 2 of seed 0 the draws of round 1 of seed 1."""
    return random.Random(f"{seed}/{index}").getrandbits(31)


def reward_figures(groups: Sequence[ScoredGroup]) -> dict[str, float]:
    """`reward/mean`, `reward/unscored` (share of completions), and how many groups hold a difference
    (`reward/groups_with_signal`) or no reward at all (`reward/groups_dropped`)."""
    rewards = [value for group in groups for value in group.rewards]
    known = [value for value in rewards if value is not None]
    signal = sum(len({value for value in group.rewards if value is not None}) > 1 for group in groups)
    figures = {
        "reward/unscored": 1 - len(known) / len(rewards),
        "reward/groups_with_signal": float(signal),
        "reward/groups_dropped": float(sum(set(group.rewards) == {None} for group in groups)),
    }
    return figures | ({"reward/mean": sum(known) / len(known)} if known else {})


def means(report: EvalReport) -> str:
    """`tool-calls 61.2%, general 55.0%`."""
    return ", ".join(f"{s.suite} {'unscored' if s.mean is None else f'{s.mean:.1%}'}" for s in report.suites)


def as_target(suite: Suite) -> Suite:
    """The suite in the role of target, whatever its own: it is the one that was asked for."""
    return replace(suite, role="target")
