"""What an oracle is, and what the oracles of all families are made of."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import torch
from datasets import disable_progress_bars
from tiny_families import VOCABULARY, tiny_model
from tiny_training import gradients
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from harness.plugins import load_registry, make_objective
from harness.protocols import RunContext, SequenceBatch
from harness_plugins.models.packing import TrainingCompletion, TrainingGroup, TrainingStep
from harness_plugins.objectives.baselines import step_baseline
from harness_plugins.training.steps import sequence_batch

disable_progress_bars()  # of the data sets of a row or two that TRL's trainers prepare

REGISTRY = load_registry(third_party=False)

BUDGETS = {"one a row": 0, "split groups": 30, "one row": 1000}
"""Tokens of a packed row: the loss of a step must not depend on them."""

Sequences = Sequence[tuple[tuple[int, ...], TrainingCompletion]]
"""Prompts, each with one completion."""


class Outcome(NamedTuple):
    loss: float
    gradients: dict[str, torch.Tensor]


class Errors(NamedTuple):
    """Of the loss relative to the loss, of each parameter's gradient relative to its largest entry, the worst."""

    loss: float
    gradient: float


@dataclass(frozen=True, eq=False)
class Oracle:
    """Loss and gradient of a step by other means than the objective that is registered under this name."""

    objective: str
    config: Mapping[str, Any]
    source: str
    """Whose computation it is; `formula` is one by hand on the log-probs of plain forward passes."""
    step: Callable[[int], TrainingStep]
    """The data, in rows of so many tokens."""
    theirs: Callable[[], Outcome]
    note: str = ""
    model: Callable[[], Any] = tiny_model
    temperature: float = 1.0
    batch: Callable[..., SequenceBatch] = sequence_batch

    @property
    def name(self) -> str:
        return f"{self.objective} ({self.note})" if self.note else self.objective

    @cached_property
    def expected(self) -> Outcome:
        return self.theirs()

    def compare(self, budget: int) -> Errors:
        loss, found = self.ours(budget)
        expected_loss, expected = self.expected
        if found.keys() != expected.keys():
            return Errors(math.inf, math.inf)
        worst = max(relative(found[name], gradient) for name, gradient in expected.items())
        return Errors(relative(torch.tensor(loss), torch.tensor(expected_loss)), worst)

    def ours(self, budget: int) -> Outcome:
        objective = make_objective(self.objective, self.config, RunContext(components=REGISTRY))
        model, step = self.model(), self.step(budget)
        baseline = step_baseline(objective, model, step, self.temperature)
        with_entropy = getattr(objective, "needs_entropy", False)
        loss = 0.0
        for row in step.rows:
            batch = self.batch(model, row, step.totals, self.temperature, with_entropy=with_entropy)
            share = objective(replace(batch, baseline=baseline)).loss
            share.backward()
            loss += share.item()
        return Outcome(loss, gradients(model))


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference over the largest entry. Infinite where one is not a number, or the other is 0: such a
    comparison would say nothing."""
    scale, difference = expected.abs().max().item(), (found - expected).abs().max().item()
    return difference / scale if scale and math.isfinite(difference) else math.inf


def outcome(model: Any, loss: torch.Tensor) -> Outcome:
    loss.backward()
    return Outcome(loss.item(), gradients(model))


def sequences(groups: Sequence[TrainingGroup]) -> Sequences:
    return [(group.prompt_token_ids, completion) for group in groups for completion in group.completions]


def padded(rows: Sequence[tuple[Any, ...]], *, left: bool = False) -> torch.Tensor:
    width = max(map(len, rows))
    return torch.tensor([(0,) * (width - len(r)) + r if left else r + (0,) * (width - len(r)) for r in rows])


def joined(known: Sequences) -> dict[str, torch.Tensor]:
    """Prompts and completions as right-padded rows, as TRL's offline trainers take them."""
    return {
        "input_ids": padded([prompt + c.token_ids for prompt, c in known]),
        "attention_mask": padded([(1,) * len(prompt + c.token_ids) for prompt, c in known]),
        "completion_mask": padded([(0,) * len(prompt) + (1,) * len(c.token_ids) for prompt, c in known]),
    }


def labelled(known: Sequences) -> dict[str, torch.Tensor]:
    """As above, with the labels that a language-model loss takes."""
    inputs = joined(known)
    mask = inputs.pop("completion_mask")
    return {**inputs, "labels": inputs["input_ids"].masked_fill(mask == 0, -100)}


def reference_sums(known: Sequences) -> torch.Tensor:
    return torch.tensor([sum(c.ref_logps or ()) for _, c in known])


def tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel({f"t{i}": i for i in range(VOCABULARY)}, unk_token="t3"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="t0", eos_token="t2")


def trl_options(folder: str) -> dict[str, Any]:
    """What every TRL trainer is told: the CPU, fp32, and nothing written or printed."""
    return {
        "output_dir": folder,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
    }
