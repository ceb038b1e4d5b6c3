"""A whole round of reinforcement learning, ours against TRL's GRPOTrainer: sample, judge, update, and hand over.

    python benchmarks/whole_round.py RUN [--round 2] [--prompts 8] [--skip 0] [--max-tokens 192] [--repeats 1]

Both start from the adapter that this round of RUN started from, take the same prompts token for token, eight
completions each at temperature 1, the suite's training judges, DAPO's loss, and make one optimizer step: bf16 base,
LoRA in fp32. Sides take turns in one process. Ours samples with RUN's generator; an engine stays up and idle while it
is TRL's turn (the CPU time that it takes then is shown). Ours loads the model anew to update, and skips the groups
whose rewards are equal, of which TRL's loss has no gradient but which it computes. TRL samples with transformers: it
hands weights to vLLM on CUDA only. Of its side `train()` alone is counted, without making the model and the trainer,
and nothing is handed over; its forward passes take one group. The start of our engine is not counted: it is shown.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import Any
from unittest.mock import patch

import psutil
from side_by_side import Timed, alternating, ratios, seconds, write_json
from trl_grpo import make_grpo

import harness
from harness import assets
from harness.api import find_suite, start_generator
from harness.checkpoints import open_checkpoint
from harness.cli.tables import table
from harness.config import GeneratorRef
from harness.judging import Bench, seat_judges
from harness.protocols import RunContext, Suite
from harness.records import read_groups
from harness.sampler import Sampler, draw_groups
from harness.store import RunStore
from harness.types import AdapterCheckpoint, Sampling, ScoredGroup

N = 8
LEARNING_RATE = 1e-4
OURS, TRL = "harness", "TRL"


@dataclass
class Round:
    """What one turn took, stage by stage in seconds, and what it did."""

    stages: dict[str, float] = field(default_factory=dict)
    completions: int = 0
    tokens: int = 0
    with_signal: int = 0
    """Groups whose rewards differ."""
    steps: int = 0
    start_up: float = 0.0
    """Seconds that are not counted: making the model and the trainer."""
    engine_cpu: float = 0.0
    """CPU seconds of the vLLM engine meanwhile."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.stages[name] = time.perf_counter() - started


@dataclass
class Sides:
    """The two sides, on the same prompts from the same adapter. Each turn draws with a seed of its own."""

    registry: harness.Registry
    context: RunContext
    sampler: Sampler
    bench: Bench
    suite: Suite
    groups: Sequence[ScoredGroup]
    """Of these the prompts are used."""
    parent: AdapterCheckpoint
    sampling: Sampling
    turns: int = 0

    def ours(self) -> Round:
        self.turns += 1
        done, engine = Round(), engine_cpu()
        prompts = [scored.group.prompt for scored in self.groups]
        config = {"objective": "dapo", "learning_rate": LEARNING_RATE, "groups_per_step": len(prompts)}
        updater = self.registry.create("updater", "group", config, self.context)
        with tempfile.TemporaryDirectory() as folder:
            with done.stage("sample"):
                generator = self.sampler.at(self.parent)
                drawn = draw_groups(generator, prompts, n=N, sampling=self.sampling, seed=self.turns)
            with done.stage("judge"):
                scored = self.bench.score(drawn)
            with done.stage("update"):
                update = updater.update(scored, parent=self.parent, out=Path(folder) / "out", seed=0)
            with done.stage("hand-over"):
                self.sampler.at(update.checkpoint)
        given = [scored.group.prompt_token_ids for scored in self.groups]  # TRL's trainer refuses to be made on others
        require_equal([group.prompt_token_ids for group in drawn], given, "prompt tokens")
        done.engine_cpu = engine_cpu() - engine
        lengths = [len(completion.token_ids) for group in drawn for completion in group.completions]
        done.completions, done.tokens = len(lengths), sum(lengths)
        done.with_signal = sum(len(set(group.rewards)) > 1 for group in scored)
        done.steps = int(update.metrics["update/steps"])
        self.sampler.at(self.parent)
        return said(OURS, done)

    def trl(self) -> Round:
        from trl.extras.profiling import ProfilingContext  # here, or the engine's processes would import it too

        from harness_plugins.trl.common import silence

        self.turns += 1
        done, engine, spans = Round(), engine_cpu(), dict[str, float]()
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            made = make_grpo(
                self.suite,
                self.groups,
                self.registry,
                self.context,
                parent=self.parent,
                sampling=self.sampling,
                n=N,
                groups_per_step=len(self.groups),
                learning_rate=LEARNING_RATE,
                folder=Path(folder),
                seed=self.turns,
            )
            done.start_up = time.perf_counter() - started
            with silence(), patch.object(ProfilingContext, "_log_metrics", noted(spans)), done.stage("whole"):
                made.trainer.train()
        whole = done.stages["whole"]
        prepared, forward = spans["_prepare_inputs"], spans["compute_loss"]
        done.stages = {
            "sample": spans["transformers.generate"],
            "judge": spans["_calculate_rewards"],
            "batches": prepared - spans["transformers.generate"] - spans["_calculate_rewards"],
            "forward": forward,
            "backward and step": whole - prepared - forward,
        }
        figures = made.job.metrics()
        done.engine_cpu = engine_cpu() - engine
        done.completions, done.tokens = int(figures["update/completions"]), int(figures["update/tokens"])
        done.with_signal = len(self.groups) - int(figures["update/groups_without_signal"])
        done.steps = int(made.trainer.state.global_step)
        return said(TRL, done)


def said(side: str, done: Round) -> Round:
    stages = ", ".join(f"{name} {took:.1f} s" for name, took in done.stages.items())
    print(f"{side}: {stages}; {done.tokens} tokens, engine {done.engine_cpu:.1f} s of CPU", file=sys.stderr, flush=True)
    return done


def noted(spans: dict[str, float]) -> Callable[[Any, float], None]:
    """In place of TRL's sender of timings to trackers, of which none is set up: adds them up by name."""

    def note(self: Any, duration: float) -> None:
        name = self.name.removeprefix("GRPOTrainer.")
        spans[name] = spans.get(name, 0.0) + duration

    return note


def engine_cpu() -> float:
    """CPU seconds that the engine's processes have taken so far."""
    times = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    return sum(each.user + each.system for each in times)


def require_equal(ours: Any, theirs: Any, what: str) -> None:
    if ours != theirs:
        raise SystemExit(f"the sides do not do equal work: {what} differ")


def row(side: str, turns: Sequence[Timed[Round]]) -> dict[str, Any]:
    done = [turn.result for turn in turns]
    return {
        "side": side,
        "seconds": [turn.seconds for turn in turns],
        "seconds per 64 completions": seconds(turns) * 64 / done[0].completions,
        "stages": {name: median(each.stages[name] for each in done) for name in done[0].stages},
        "completions": done[0].completions,
        "tokens": [each.tokens for each in done],
        **{name: [getattr(each, name) for each in done] for name in ("with_signal", "start_up", "engine_cpu")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a finished run of `harness loop --suite tool-calls`, or one like it")
    parser.add_argument("--round", type=int, default=2)
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--skip", type=int, default=0, help="prompts of the round to leave out at its start")
    parser.add_argument("--max-tokens", type=int, default=192)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    store, registry = RunStore.open(options.run), harness.load_registry()
    config = store.identity["config"]
    context = RunContext(model=assets.model(config["model"]), adapter=config["adapter"], components=registry)
    base = context.require_model().fingerprint
    if not (standing := store.incumbent_round(upto=options.round - 1)):
        parser.error(
            f"round {options.round} of {options.run} starts from the base, which earns no reward to learn from"
        )
    suite = find_suite(config["suite"], registry, context)
    sampler = Sampler(lambda: start_generator(GeneratorRef(**config["generator"]), registry, context))
    with closing(sampler):
        bench = seat_judges(suite, "train", registry, context)
        groups = store.load(options.round, "judge", read_groups)[options.skip :][: options.prompts]
        parent = store.load(standing, "update", lambda path: open_checkpoint(path, base=base))
        sampling = Sampling(temperature=1.0, max_tokens=options.max_tokens)
        sides = Sides(registry, context, sampler, bench, suite, groups, parent, sampling)
        started = time.perf_counter()
        sampler.at(sides.parent)
        engine_start = time.perf_counter() - started
        turns = alternating({OURS: sides.ours, TRL: sides.trl}, options.repeats)
    both = {side: [Timed(sum(t.result.stages.values()), t.result) for t in done] for side, done in turns.items()}
    for name in ("completions", "steps"):
        require_equal(*({getattr(turn.result, name) for turn in done} for done in both.values()), what=name)
    show(both, sides, engine_start)
    if options.json:
        told = {name: str(value) for name, value in vars(options).items()}
        settled = {"ratios": ratios(both[TRL], both[OURS]), "engine start": engine_start, "options": told}
        write_json(options.json, [*(row(side, done) for side, done in both.items()), settled])


def show(both: dict[str, list[Timed[Round]]], sides: Sides, engine_start: float) -> None:
    lines = []
    for side, turns in both.items():
        done = row(side, turns)
        lines += [[side, name, f"{took:.1f}", "", ""] for name, took in done["stages"].items()]
        tokens = " ".join(map(str, done["tokens"]))
        lines.append([side, "round", f"{seconds(turns):.1f}", f"{done['seconds per 64 completions']:.0f}", tokens])
    length = fmean(len(scored.group.prompt_token_ids) for scored in sides.groups)
    title = f"{len(sides.groups)} prompts of {length:.0f} tokens, {N} completions each; medians"
    print(table(["side", "stage", "seconds", "per 64 completions", "tokens of each turn"], lines, title=title))
    each = ratios(both[TRL], both[OURS])
    sampled = [sum(turn.result.tokens for turn in both[side]) for side in (OURS, TRL)]
    print(f"tokens that TRL sampled for each of ours: {sampled[1] / sampled[0]:.2f}")
    print(f"TRL / harness: {median(each):.2f} (each repetition: {', '.join(f'{ratio:.2f}' for ratio in each)})")
    made = median(turn.result.start_up for turn in both[TRL])
    print(f"not counted: {engine_start:.0f} s to start our engine with the adapter, {made:.1f} s to make TRL's trainer")
    for side, turns in both.items():
        took = median(turn.result.engine_cpu for turn in turns)
        signal = " ".join(str(turn.result.with_signal) for turn in turns)
        print(f"{side}: our engine takes {took:.1f} s of CPU; groups with signal {signal} of {len(sides.groups)}")


if __name__ == "__main__":
    main()
