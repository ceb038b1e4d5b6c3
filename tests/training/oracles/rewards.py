"""The objective of reward models: TRL's reward trainer."""

from __future__ import annotations

from collections.abc import Callable
from tempfile import TemporaryDirectory
from typing import Any

import torch
from datasets import Dataset
from tiny_families import FAMILIES
from transformers import AutoModelForSequenceClassification
from trl import RewardConfig, RewardTrainer

from harness.protocols import SequenceBatch, StepTotals
from harness_plugins.models.packing import Row, TrainingStep, make_step
from harness_plugins.training.reward_head import reward_batch
from harness_plugins.updaters.reward_model import read_to_the_end
from oracles import pairs
from oracles.common import Oracle, Outcome, joined, outcome, tokenizer, trl_options


def model() -> Any:
    """A classifier that pools at the last token that is not 0, which no completion of the tests ends with."""
    torch.manual_seed(0)
    config = FAMILIES["llama"]()
    config.num_labels = 1
    return AutoModelForSequenceClassification.from_config(config, attn_implementation="sdpa", dtype=torch.float32)


def step(budget: int) -> TrainingStep:
    groups = [read_to_the_end(group) for group in pairs.pair_groups()]
    return make_step(groups, max_completion=0, max_tokens=budget)


def batch(model: Any, row: Row, totals: StepTotals, temperature: float, *, with_entropy: bool) -> SequenceBatch:
    return reward_batch(model, row, totals)


def trl_reward(center: float) -> Callable[[], Outcome]:
    def theirs() -> Outcome:
        with TemporaryDirectory() as folder:
            trainer = RewardTrainer(
                model=model(),
                args=RewardConfig(**trl_options(folder), center_rewards_coefficient=center),
                train_dataset=Dataset.from_list([{"chosen": "t5 t6", "rejected": "t7"}]),
                processing_class=tokenizer(),
            )
            trainer.model.train()  # no dropout in these models
            chosen, rejected = pairs.sides()
            inputs = joined([*chosen, *rejected])
            inputs.pop("completion_mask")
            return outcome(trainer.model, trainer.compute_loss(trainer.model, inputs))

    return theirs


ORACLES = tuple(
    Oracle(
        "bradley_terry",
        {"center_coef": center},
        "TRL RewardTrainer",
        step,
        trl_reward(center),
        note=note,
        model=model,
        batch=batch,
    )
    for note, center in (("", 0.0), ("centred", 0.05))
)
