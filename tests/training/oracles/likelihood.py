"""Objectives that learn completions: the loss of transformers, and TRL's."""

from __future__ import annotations

from tempfile import TemporaryDirectory

from datasets import Dataset
from tiny_families import tiny_model
from tiny_training import tokens
from trl import SFTConfig, SFTTrainer

from harness_plugins.models.packing import TrainingCompletion, TrainingGroup, TrainingStep, make_step
from oracles.common import Oracle, Outcome, labelled, outcome, sequences, tokenizer, trl_options


def training_groups() -> list[TrainingGroup]:
    """Two prompts of unequal length, three completions each."""
    return [
        TrainingGroup(
            tokens(length, p), tuple(TrainingCompletion(tokens(3 + 2 * g + p, 50 + 10 * p + g)) for g in range(3))
        )
        for p, length in enumerate((9, 6))
    ]


def step(budget: int) -> TrainingStep:
    return make_step(training_groups(), max_completion=0, max_tokens=budget)


def transformers_loss() -> Outcome:
    model = tiny_model()
    return outcome(model, model(**labelled(sequences(training_groups()))).loss)


def trl_dft() -> Outcome:
    with TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            model=tiny_model(),
            args=SFTConfig(**trl_options(folder), loss_type="dft"),
            train_dataset=Dataset.from_list([{"text": "t5 t6"}]),
            processing_class=tokenizer(),
        )
        trainer.model.train()  # no dropout in these models
        return outcome(trainer.model, trainer.compute_loss(trainer.model, labelled(sequences(training_groups()))))


ORACLES = (
    Oracle("nll", {}, "transformers", step, transformers_loss),
    Oracle("dft", {}, "TRL SFTTrainer", step, trl_dft),
)
