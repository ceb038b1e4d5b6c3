"""What a round learns from: completions that are sampled and judged, or the rows of a file."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from harness.config import LoopConfig, Stage
from harness.errors import HarnessError
from harness.judging import Bench, seat_judges, verdict_figures
from harness.origins import ranges, row_places
from harness.plugins import Registry
from harness.protocols import Generator, RunContext, Suite
from harness.records import read_groups, write_groups
from harness.sampler import Sampler, draw_groups
from harness.store import RunStore
from harness.training_data import file_digest, file_groups
from harness.types import AdapterCheckpoint, Group, Prompt, Sampling, ScoredGroup

VALIDATION_PROMPTS = 32
"""Training prompts, of which no round trains, that early stopping samples answers to."""


@dataclass(frozen=True)
class Samples:
    """The sampling and judging steps of a run's rounds. `suites[0]` is the target."""

    config: LoopConfig
    suites: Sequence[Suite]
    store: RunStore
    registry: Registry
    context: RunContext
    sampler: Sampler

    def of(self, index: int, stage: Stage, incumbent: AdapterCheckpoint | None) -> list[ScoredGroup]:
        """Always from what is promoted. Completions are stored before they are judged: they are what costs."""
        if stage.data is not None:
            return self.read(index, stage.data)
        sources = [(self.suite(name), count, used) for name, count, used in self.config.sources(index)]

        def make(path: Path) -> Mapping[str, Any]:
            if stage.generator == "policy":
                generator = self.sampler.at(incumbent)
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

        def make(path: Path) -> Mapping[str, Any]:
            if file_digest(Path(data)) != self.store.identity["data"][f"round {index}"]:
                raise HarnessError(
                    "it has changed since the run was started", where=data, remedy="Restore it, or start a new run."
                )
            rows = file_groups(Path(data), self.context)
            write_groups(path, rows)
            return {"places": ranges(row_places(Path(data), len(rows)))}

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

    def rewarder(self, index: int, stage: Stage) -> Callable[[AdapterCheckpoint | None], float]:
        """Mean reward on the target's training prompts that come last in the order that all rounds draw from."""
        target = self.suites[0]
        used = self.config.taken(self.config.rounds + 1)[None]
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
