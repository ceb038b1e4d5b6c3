"""Preference objectives: TRL's trainers, its loss functions on plain forward passes where only those are public."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from tiny_families import tiny_model
from tiny_training import plain_logps, tokens, with_lora
from trl import DPOConfig, DPOTrainer
from trl.experimental.cpo import CPOTrainer
from trl.experimental.orpo import ORPOTrainer

from harness_plugins.models.packing import TrainingCompletion, TrainingGroup, TrainingStep, make_step
from oracles.common import Oracle, Outcome, joined, outcome, reference_sums, tokenizer, trl_options


@cache
def pair_groups() -> list[TrainingGroup]:
    """Three prompts, the second with two pairs that share their rejected completion; margins of both signs."""
    generator = torch.Generator().manual_seed(7)
    model = with_lora(tiny_model()).eval()
    groups = []
    for p, pairs in enumerate([((0, 1),), ((2, 0), (1, 0)), ((1, 0),)]):
        prompt = tokens(5 + 2 * p, p)
        completions = []
        for g in range(1 + max(max(pair) for pair in pairs)):
            answer = tokens(3 + 2 * g + p, 80 + 10 * p + g)
            with torch.no_grad():
                logps_T = plain_logps(model, prompt, answer)
            reference = (logps_T + 0.4 * torch.randn(len(answer), generator=generator)).tolist()
            completions.append(TrainingCompletion(answer, ref_logps=tuple(reference)))
        groups.append(TrainingGroup(prompt, tuple(completions), pairs))
    return groups


def step(budget: int) -> TrainingStep:
    return make_step(pair_groups(), max_completion=0, max_tokens=budget)


def sides() -> tuple[list[tuple[tuple[int, ...], TrainingCompletion]], ...]:
    """The chosen and the rejected completions of all pairs, each with its prompt."""
    pairs = [(g.prompt_token_ids, g.completions[c], g.completions[r]) for g in pair_groups() for c, r in g.pairs]
    return [(prompt, chosen) for prompt, chosen, _ in pairs], [(prompt, rejected) for prompt, _, rejected in pairs]


# ---------------------------------------------------------------- TRL's DPO trainer


def dpo_trainer(**options: Any) -> Callable[[], Outcome]:
    def theirs() -> Outcome:
        with TemporaryDirectory() as folder:
            trainer = DPOTrainer(
                model=tiny_model(),
                ref_model=tiny_model(),
                args=DPOConfig(**trl_options(folder), **options),
                train_dataset=Dataset.from_list([{"prompt": "t5 t6", "chosen": "t7", "rejected": "t8"}]),
                processing_class=tokenizer(),
            )
            trainer.precompute_ref_logps = True  # the references are in the inputs
            trainer.model.train()  # no dropout in these models
            chosen, rejected = sides()
            inputs = joined([*chosen, *rejected])
            inputs |= {"ref_chosen_logps": reference_sums(chosen), "ref_rejected_logps": reference_sums(rejected)}
            return outcome(trainer.model, trainer._compute_loss(trainer.model, inputs, return_outputs=False))

    return theirs


def dpo_family(objective: str, loss_type: Any, config: dict[str, Any], **options: Any) -> Oracle:
    """`options` are TRL's names of what our `config` says."""
    return Oracle(objective, config, "TRL DPOTrainer", step, dpo_trainer(loss_type=loss_type, **options))


# ---------------------------------------------------------------- on plain forward passes


class Sides(NamedTuple):
    """Of M pairs: log-probs of whole completions, and their lengths."""

    chosen_M: torch.Tensor
    rejected_M: torch.Tensor
    chosen_lengths_M: torch.Tensor
    rejected_lengths_M: torch.Tensor

    @property
    def by_token(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.chosen_M / self.chosen_lengths_M, self.rejected_M / self.rejected_lengths_M


def on_plain_logps(loss: Callable[[Sides], torch.Tensor]) -> Callable[[], Outcome]:
    def theirs() -> Outcome:
        model = tiny_model()
        sums = [torch.stack([plain_logps(model, p, c.token_ids).sum() for p, c in side]) for side in sides()]
        lengths = [torch.tensor([len(c.token_ids) for _, c in side]) for side in sides()]
        return outcome(model, loss(Sides(*sums, *lengths)))

    return theirs


def cpo_loss(loss_type: str, by_token: bool, **options: Any) -> Callable[[Sides], torch.Tensor]:
    trainer = SimpleNamespace(
        alpha=0.0, label_smoothing=0.0, loss_type=loss_type, accelerator=SimpleNamespace(device="cpu"), **options
    )

    def loss(sides: Sides) -> torch.Tensor:
        given = sides.by_token if by_token else (sides.chosen_M, sides.rejected_M)
        losses: torch.Tensor = CPOTrainer.cpo_loss(trainer, *given)[0]
        return losses.mean()

    return loss


def orpo_loss(beta: float) -> Callable[[Sides], torch.Tensor]:
    trainer = SimpleNamespace(beta=beta, accelerator=SimpleNamespace(device="cpu"))

    def loss(sides: Sides) -> torch.Tensor:
        losses: torch.Tensor = ORPOTrainer.odds_ratio_loss(trainer, *sides.by_token)[0]
        return chosen_nll(sides) - losses.mean()

    return loss


def chosen_nll(sides: Sides) -> torch.Tensor:
    """TRL has the likelihood of all chosen tokens of a batch; ours is a mean by pair."""
    return -sides.by_token[0].mean()


MIXED = [
    {"objective": "dpo", "config": {"beta": 0.3}, "weight": 0.8},
    {"objective": "ipo", "config": {"beta": 0.3}, "weight": 0.2},
]

ORACLES = (
    dpo_family("dpo", "sigmoid", {"beta": 0.3}, beta=0.3),
    dpo_family("dpo_norm", "sigmoid_norm", {"beta": 0.3}, beta=0.3),
    dpo_family("robust_dpo", "robust", {"beta": 0.3, "flip_rate": 0.2}, beta=0.3, label_smoothing=0.2),
    dpo_family("ipo", "ipo", {"beta": 0.3}, beta=0.3),
    dpo_family("hinge", "hinge", {"beta": 1.5}, beta=1.5),
    dpo_family("exo", "exo_pair", {"beta": 0.3, "label_smoothing": 0.01}, beta=0.3, label_smoothing=0.01),
    dpo_family("nca", "nca_pair", {"beta": 0.3}, beta=0.3),
    dpo_family("sppo", "sppo_hard", {"beta": 0.3}, beta=0.3),
    dpo_family("apo_zero", "apo_zero", {"beta": 0.3}, beta=0.3),
    dpo_family("apo_down", "apo_down", {"beta": 0.3}, beta=0.3),
    dpo_family("discopop", "discopop", {"beta": 0.3, "tau": 0.4}, beta=0.3, discopop_tau=0.4),
    dpo_family("mixture", ["sigmoid", "ipo"], {"parts": MIXED}, beta=0.3, loss_weights=[0.8, 0.2]),
    Oracle(
        "simpo",
        {"beta": 2.5, "gamma": 0.6},
        "TRL CPOTrainer",
        step,
        on_plain_logps(cpo_loss("simpo", by_token=True, beta=2.5, simpo_gamma=0.6)),
    ),
    Oracle(
        "cpo",
        {"beta": 0.3, "nll_weight": 0.7},
        "TRL CPOTrainer",
        step,
        on_plain_logps(lambda sides: cpo_loss("sigmoid", by_token=False, beta=0.3)(sides) + 0.7 * chosen_nll(sides)),
    ),
    Oracle("orpo", {"beta": 0.4}, "TRL ORPOTrainer", step, on_plain_logps(orpo_loss(0.4))),
    Oracle("chosen_nll", {}, "formula", step, on_plain_logps(chosen_nll)),
)
