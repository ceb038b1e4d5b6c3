"""Supervised fine-tuning on completions that the judges accept: gold answers, or the policy's own best samples."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UpdateError
from harness.plugins import make_objective
from harness.protocols import Objective, RunContext
from harness.types import AdapterCheckpoint, ScoredGroup, Update
from harness_plugins.configs_training import SftConfig
from harness_plugins.packing import TrainingCompletion, TrainingGroup, TrainingStep, make_step, shuffled_batches


class SftUpdater:
    """Trains on every completion whose reward is at least `min_reward`, at temperature 1."""

    def __init__(self, config: SftConfig, context: RunContext, *, objective: Objective | None = None) -> None:
        self.config = config
        self.context = context
        self.objective = objective or make_objective(config.objective, config.objective_config, context)

    def update(
        self, groups: Sequence[ScoredGroup], *, parent: AdapterCheckpoint | None, out: Path, seed: int
    ) -> Update:
        from harness_plugins.fitting import fit_adapter

        chosen = choose(groups, self.config.min_reward)
        if not chosen.demonstrations:
            raise UpdateError(
                f"none of {chosen.seen} completions has a reward of at least {self.config.min_reward} "
                f"({chosen.unscored} are unscored, {chosen.truncated} have it and are cut off)",
                where="sft",
                remedy="Lower min_reward, or look at the judges' verdicts.",
            )
        max_completion = max(group.group.sampling.max_tokens for group in groups)

        def plan_steps(model: Any, max_tokens: int) -> list[TrainingStep]:
            random_order = random.Random(seed)
            return [
                make_step(by_prompt(batch), max_completion=max_completion, max_tokens=max_tokens)
                for _ in range(self.config.epochs)
                for batch in shuffled_batches(chosen.demonstrations, self.config.batch, random_order)
            ]

        first = chosen.demonstrations[0]
        return fit_adapter(
            self.context,
            self.config,
            self.objective,
            plan_steps,
            parent=parent,
            out=out,
            seed=seed,
            temperature=1.0,
            probe_token_ids=first.prompt_token_ids + first.completions[0].token_ids,
            metrics={
                "update/demonstrations": float(len(chosen.demonstrations)),
                "update/unscored": float(chosen.unscored),
                "update/below_min_reward": float(chosen.below),
                "update/truncated": float(chosen.truncated),
            },
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """What is trained on, one completion a group, and how many completions are not and why."""

    demonstrations: tuple[TrainingGroup, ...]
    unscored: int
    below: int
    truncated: int

    @property
    def seen(self) -> int:
        return len(self.demonstrations) + self.unscored + self.below + self.truncated


def choose(groups: Sequence[ScoredGroup], min_reward: float) -> Choice:
    demonstrations, unscored, below, truncated = [], 0, 0, 0
    for scored in groups:
        for completion, reward in zip(scored.group.completions, scored.rewards, strict=True):
            if reward is None:
                unscored += 1
            elif completion.finish_reason == "length":
                truncated += 1  # it lacks the end of turn: learning it is learning to run on
            elif reward < min_reward or not completion.token_ids:
                below += 1
            else:
                demonstrations.append(
                    TrainingGroup(scored.group.prompt_token_ids, (TrainingCompletion(completion.token_ids),))
                )
    return Choice(tuple(demonstrations), unscored, below, truncated)


def by_prompt(demonstrations: Sequence[TrainingGroup]) -> list[TrainingGroup]:
    """Demonstrations of one prompt as one group, so that they share its computation."""
    completions: dict[tuple[int, ...], list[TrainingCompletion]] = {}
    for demonstration in demonstrations:
        completions.setdefault(demonstration.prompt_token_ids, []).extend(demonstration.completions)
    return [TrainingGroup(prompt, tuple(several)) for prompt, several in completions.items()]
