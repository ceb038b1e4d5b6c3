"""Optimizer steps over packed rows, on the public `transformers.Trainer`.

A dataset element is one whole step, a list of rows; the step goes through them one at a time and adds up gradients.
So the loss of a step never depends on how it was cut into rows, and Accelerate, its optimizers, schedulers and clipping
are those of the Trainer.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset
from transformers import PrinterCallback, Trainer, TrainingArguments

from harness.errors import HarnessError, UpdateError
from harness.protocols import Objective, Progress, SequenceBatch, StepTotals
from harness_plugins.adapters import quiet, train_mode
from harness_plugins.baselines import step_baseline
from harness_plugins.configs_training import TrainingConfig
from harness_plugins.packing import Row, TrainingCompletion, TrainingGroup, TrainingStep, split
from harness_plugins.shared_prefix import completion_logps, score_completions

SCHEDULERS = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}


def train(
    model: Any,
    steps: Sequence[TrainingStep],
    objective: Objective,
    config: TrainingConfig,
    *,
    temperature: float,
    seed: int,
    progress: Progress,
) -> dict[str, float]:
    """Train `model` in place, one optimizer step per element of `steps`.

    Returns `update/...` metrics and the objective's own, as means over the steps. `temperature` is the one that
    log-probabilities are taken at. Raises HarnessError when there is nothing to train on, or when a loss or a gradient
    is not finite; the model is then of no use.
    """
    if not any(step.totals.tokens for step in steps):
        raise HarnessError("there is no completion token to train on", remedy="Check the rewards that select them.")
    with tempfile.TemporaryDirectory() as scratch, quiet():
        trainer = StepTrainer(
            model, steps, objective, arguments(config, folder=scratch, seed=seed), temperature=temperature
        )
        started = time.monotonic()
        with progress.task("update", total=len(steps)) as advance:
            trainer.on_step = advance
            trainer.train()
        seconds = time.monotonic() - started
    tokens = sum(step.totals.tokens for step in steps)
    packed_tokens = sum(row.packed_tokens for step in steps for row in step.rows)
    return {
        **{name: sum(values) / len(values) for name, values in trainer.history.items()},
        "update/first_loss": trainer.history["update/loss"][0],
        "update/last_loss": trainer.history["update/loss"][-1],
        "update/steps": float(len(steps)),
        "update/tokens": float(tokens),
        "update/packed_tokens": float(packed_tokens),
        "update/packed_tokens_per_second": packed_tokens / seconds,
        "update/trainable_parameters": float(sum(p.numel() for p in model.parameters() if p.requires_grad)),
    }


def arguments(config: TrainingConfig, *, folder: str, seed: int) -> TrainingArguments:
    """The Trainer's settings: those of `config`, and everything off that the run does itself."""
    return TrainingArguments(
        output_dir=folder,
        num_train_epochs=1,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=1,
        learning_rate=config.learning_rate,
        lr_scheduler_type=SCHEDULERS[config.lr_scheduler_type],
        warmup_steps=config.warmup_steps,
        max_grad_norm=config.max_grad_norm,
        weight_decay=config.weight_decay,
        adam_beta1=config.adam_beta1,
        adam_beta2=config.adam_beta2,
        seed=seed,
        use_cpu=not torch.cuda.is_available(),
        bf16=False,
        gradient_checkpointing=False,
        remove_unused_columns=False,
        logging_strategy="no",
        save_strategy="no",
        eval_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


class StepTrainer(Trainer):
    """A Trainer whose batch is a `TrainingStep`."""

    objective: Objective

    def __init__(
        self,
        model: Any,
        steps: Sequence[TrainingStep],
        objective: Objective,
        args: TrainingArguments,
        *,
        temperature: float,
    ) -> None:
        if args.world_size * max(args.n_gpu, 1) > 1:
            raise HarnessError(
                f"an update runs in one process on one device, not on {args.world_size} x {args.n_gpu}",
                remedy="Make one GPU visible (CUDA_VISIBLE_DEVICES=0) and start one process.",
            )
        self.steps = list(steps)
        super().__init__(model=model, args=args, train_dataset=cast("Dataset[TrainingStep]", self.steps))
        self.remove_callback(PrinterCallback)
        self.objective = objective
        self.temperature = temperature
        self.on_step: Callable[..., None] = lambda amount=1, **figures: None
        self.history: dict[str, list[float]] = defaultdict(list)

    def get_train_dataloader(self) -> DataLoader[Any]:
        dataset = cast("Dataset[TrainingStep]", self.steps)
        return DataLoader(dataset, batch_size=1, shuffle=False, collate_fn=lambda steps: {"step": steps[0]})

    def floating_point_ops(self, inputs: Mapping[str, Any]) -> int:
        return 0  # the Trainer's estimate is for unpacked rows

    def training_step(self, model: Any, inputs: Mapping[str, Any], num_items_in_batch: Any = None) -> Tensor:
        step: TrainingStep = inputs["step"]
        started = time.monotonic()
        train_mode(model)
        sums: dict[str, float] = defaultdict(float)
        loss_of_step = torch.zeros((), device=self.args.device)
        baseline = step_baseline(self.objective, model, step, self.temperature)
        with_entropy = getattr(self.objective, "needs_entropy", False)
        for row in step.rows:
            batch = sequence_batch(model, row, step.totals, self.temperature, with_entropy=with_entropy)
            batch = replace(batch, baseline=baseline)
            output = self.objective(batch)
            self._require_finite(output.loss, "loss")
            self.accelerator.backward(output.loss)
            loss_of_step += output.loss.detach()
            for name, share in output.metrics.items():
                sums[name] += share
        sums["update/loss"] = loss_of_step.item()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        grad_norm = torch.nn.utils.get_total_norm(gradients)
        self._require_finite(grad_norm, "gradient norm")
        sums["update/grad_norm"] = grad_norm.item()
        for name, value in sums.items():
            self.history[name].append(value)
        tokens = sum(row.packed_tokens for row in step.rows)
        self.on_step(1, loss=sums["update/loss"], tokens_per_s=tokens / (time.monotonic() - started))
        return loss_of_step

    def _require_finite(self, value: Tensor, what: str) -> None:
        number = value.item()
        if not math.isfinite(number):
            raise UpdateError(
                f"the {what} is {number} at optimizer step {self.state.global_step + 1}",
                where="update",
                remedy="Lower the learning rate, or look at the step's data.",
            )


def sequence_batch(
    model: Any, row: Row, totals: StepTotals, temperature: float, *, with_entropy: bool = False
) -> SequenceBatch:
    """A row through the model, as the objective sees it."""
    logps_N_T, mask_N_T, entropies_N_T = score_completions(
        model, row, temperature=temperature, with_entropy=with_entropy
    )
    completions, device = row.completions, logps_N_T.device

    def padded(values: Sequence[tuple[float, ...] | None]) -> Tensor | None:
        known = [torch.tensor(value, device=device) for value in values if value is not None]
        return pad_sequence(known, batch_first=True) if len(known) == len(values) else None

    desirable = [c.desirable for c in completions if c.desirable is not None]
    advantages = [c.advantage for c in completions if c.advantage is not None]
    return SequenceBatch(
        logps_N_T=logps_N_T,
        mask_N_T=mask_N_T,
        totals=totals,
        advantages_N=torch.tensor(advantages, device=device) if len(advantages) == len(completions) else None,
        old_logps_N_T=padded([c.old_logps for c in completions]),
        ref_logps_N_T=padded([c.ref_logps for c in completions]),
        pairs_M_2=pairs(row, device),
        desirable_N=torch.tensor(desirable, device=device) if len(desirable) == len(completions) else None,
        entropies_N_T=entropies_N_T,
    )


def pairs(row: Row, device: Any) -> Tensor | None:
    """The pairs of all groups of the row, as indices into its completions."""
    found, start = [], 0
    for group in row.groups:
        found += [(start + chosen, start + rejected) for chosen, rejected in group.pairs]
        start += len(group.completions)
    return torch.tensor(found, device=device) if found else None


@torch.no_grad()
def with_logps(
    model: Any,
    groups: Sequence[TrainingGroup],
    field: Literal["old_logps", "ref_logps"],
    *,
    temperature: float,
    max_tokens: int,
    progress: Progress,
) -> list[TrainingGroup]:
    """The groups with the log-probs of each completion, by the model as it is now, stored in `field`."""
    model.eval()
    result = []
    for group in progress.track(groups, description=field.replace("_", " "), total=len(groups)):
        stored: list[TrainingCompletion] = []
        for part in split(replace(group, pairs=()), max_tokens):
            logps_N_T, _ = completion_logps(model, Row((part,)), temperature=temperature)
            for completion, logps_T in zip(part.completions, logps_N_T.tolist(), strict=True):
                known: dict[str, Any] = {field: tuple(logps_T[: len(completion.token_ids)])}
                stored.append(replace(completion, **known))
        result.append(replace(group, completions=tuple(stored)))
    return result
