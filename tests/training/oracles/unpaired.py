"""Objectives on single verdicts: TRL's KTO trainer, and a formula for BCO, which TRL has for pairs only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import Any

import torch
from datasets import Dataset
from tiny_families import tiny_model
from tiny_training import plain_logps
from trl import KTOConfig, KTOTrainer

from harness_plugins.models.packing import TrainingGroup, TrainingStep, make_step, pack
from harness_plugins.updaters.unpaired import mismatch
from oracles.common import Oracle, Outcome, joined, outcome, reference_sums, sequences, tokenizer, trl_options
from oracles.pairs import pair_groups

BETA, GOOD_WEIGHT, BAD_WEIGHT = 0.05, 1.3, 0.7
CONFIG = {"beta": BETA, "desirable_weight": GOOD_WEIGHT, "undesirable_weight": BAD_WEIGHT}


def labelled_groups() -> list[TrainingGroup]:
    """The completions of the pairs, good and bad by turns."""
    return [
        replace(
            group,
            pairs=(),
            completions=tuple(replace(c, desirable=i % 2 == 0) for i, c in enumerate(group.completions)),
        )
        for group in pair_groups()
    ]


def mismatched_groups() -> list[TrainingGroup]:
    """With references that make the KL estimate positive: at 0 it would not show."""
    return [
        replace(g, completions=tuple(replace(c, ref_logps=(-9.0,) * len(c.token_ids)) for c in g.completions))
        for g in mismatch(labelled_groups())
    ]


def step(budget: int) -> TrainingStep:
    made = make_step(labelled_groups(), max_completion=0, max_tokens=budget)
    return replace(made, mismatched=pack(mismatched_groups(), max_tokens=budget))


def kto_trainer(loss_type: str) -> Callable[[], Outcome]:
    def theirs() -> Outcome:
        options = {"loss_type": loss_type, "train_sampling_strategy": "sequential", **CONFIG}
        rows = [
            {"prompt": "t5 t6", "completion": "t7", "label": True},
            {"prompt": "t5", "completion": "t8", "label": False},
        ]
        with TemporaryDirectory() as folder:
            trainer = KTOTrainer(
                model=tiny_model(),
                ref_model=tiny_model(),
                args=KTOConfig(**trl_options(folder), per_device_train_batch_size=2, **options),
                train_dataset=Dataset.from_list(rows),
                processing_class=tokenizer(),
            )
            trainer.precompute_ref_logps = True  # the references are in the inputs
            trainer.model.train()  # no dropout in these models
            known, others = sequences(labelled_groups()), sequences(mismatched_groups())
            inputs: dict[str, Any] = joined(known) | {f"KL_{name}": table for name, table in joined(others).items()}
            inputs |= {"ref_logps": reference_sums(known), "ref_KL_logps": reference_sums(others)}
            inputs["label"] = torch.tensor([c.desirable for _, c in known])
            return outcome(trainer.model, trainer._compute_loss(trainer.model, inputs, return_outputs=False))

    return theirs


def bco() -> Outcome:
    """log(1 + exp(-s (r - delta))) with r = beta log(pi / pi_ref) and delta halfway between the two kinds' means."""
    model, known = tiny_model(), sequences(labelled_groups())
    logps_N = torch.stack([plain_logps(model, prompt, c.token_ids).sum() for prompt, c in known])
    rewards_N = BETA * (logps_N - reference_sums(known))
    good_N = torch.tensor([bool(c.desirable) for _, c in known])
    delta = ((rewards_N[good_N].mean() + rewards_N[~good_N].mean()) / 2).detach()
    good, bad = ((1 + (-s * (rewards_N - delta)).exp()).log() for s in (1, -1))
    losses_N = torch.where(good_N, GOOD_WEIGHT * good, BAD_WEIGHT * bad)
    return outcome(model, losses_N.mean())


ORACLES = (
    Oracle("kto", CONFIG, "TRL KTOTrainer", step, kto_trainer("kto")),
    Oracle("apo_zero_unpaired", CONFIG, "TRL KTOTrainer", step, kto_trainer("apo_zero_unpaired")),
    Oracle("bco", CONFIG, "formula", step, bco),
)
