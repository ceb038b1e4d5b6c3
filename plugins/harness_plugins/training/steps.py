"""Optimizer steps over packed rows, on the public `transformers.Trainer`.

A dataset element is one whole step, a list of rows; the step goes through them one at a time and adds up gradients.
So the loss of a step never depends on how it was cut into rows, and Accelerate, its optimizers, schedulers and clipping
are those of the Trainer.
"""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from harness.errors import ConfigError, HarnessError, UpdateError
from harness.protocols import Objective, Progress, SequenceBatch, StepTotals
from harness_plugins.models.adalora import adalora_config, allocate_ranks, allocates, orthogonality, plan_ranks
from harness_plugins.models.adapters import quiet, train_mode
from harness_plugins.models.packing import Row, TrainingCompletion, TrainingGroup, TrainingStep, pack
from harness_plugins.models.shared_prefix import completion_logps, score_completions
from harness_plugins.objectives.baselines import step_baseline
from harness_plugins.training.configs import TrainingConfig
from harness_plugins.training.early_stopping import EarlyStopping
from harness_plugins.training.processes import each_elsewhere, on_cpu, processes, share, summed
from harness_plugins.training.resuming import KEPT, Resuming, take_up, why_not_resumable

OPTIMIZERS = {"adamw": "adamw_torch_fused", "adamw_8bit": "adamw_8bit", "adafactor": "adafactor"}
SCHEDULERS = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}


BatchOf = Callable[..., SequenceBatch]
"""(model, row, totals, temperature, baseline=) -> the row as the objective sees it."""


@dataclass(frozen=True)
class Midway:
    """Where an update keeps its checkpoints, and the digest of all that it is made from."""

    folder: Path
    plan: str


@dataclass(frozen=True)
class Result:
    """`update/...` metrics and the objective's own, as means over the steps."""

    metrics: dict[str, float]
    gathered: dict[str, Tensor] | None = None
    """Weights by name, on the CPU, where the engine had shared them out over processes (empty but on the first)."""


def train(
    model: Any,
    steps: Sequence[TrainingStep],
    objective: Objective,
    config: TrainingConfig,
    *,
    batch_of: BatchOf,
    temperature: float,
    seed: int,
    progress: Progress,
    midway: Midway | None = None,
    stopping: EarlyStopping | None = None,
) -> Result:
    """Train `model` in place, one optimizer step per element of `steps`.

    `temperature` is the one that log-probabilities are taken at.
    With `midway` a killed update goes on from its last checkpoint, to the same end.
    Raises HarnessError when there is nothing to train on, and UpdateError when a loss or a gradient is not finite or
    a gradient explodes; the model is then of no use.
    """
    if not any(step.totals.tokens for step in steps):
        raise HarnessError("there is no completion token to train on", remedy="Check the rewards that select them.")
    adaptive = adalora_config(model)
    if adaptive is not None:
        plan_ranks(model, adaptive, len(steps), stops_early=stopping is not None)
    if midway is not None and (reason := why_not_resumable(model)):
        progress.note(f"no checkpoints are kept on the way, because {reason}")
        midway = None
    with ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory()) if midway is None else str(midway.folder)
        stack.enter_context(quiet())
        settings = arguments(config, folder=scratch, seed=seed, save_steps=config.save_steps if midway else 0)
        trainer = StepTrainer(
            model, steps, objective, settings, config=config, batch_of=batch_of, temperature=temperature
        )
        trainer.stopping = stopping
        if processes().num_processes > 1:
            engine = trainer.accelerator.distributed_type.value
            progress.note(f"{processes().num_processes} processes, as {engine}")
        started = time.monotonic()
        with progress.task("update", total=len(steps)) as advance:
            trainer.on_step = advance
            resumed = None
            if midway is not None:
                trainer.add_callback(Resuming(trainer, midway.plan))
                resumed = take_up(trainer, midway.folder, midway.plan)
            if resumed is not None:
                done = len(trainer.history["update/loss"])
                progress.note(f"the update goes on after {done} of {len(steps)} steps")
                advance(done)
            elif stopping is not None:
                stopping.look(model, 0)
            had_stopped = resumed is not None and stopping is not None and stopping.exhausted
            if not had_stopped:
                trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
        seconds = time.monotonic() - started
        if stopping is not None:
            stopping.put_back_best(model)
    taken = len(trainer.history["update/loss"])
    tokens = sum(step.totals.tokens for step in steps[:taken])
    packed_tokens = sum(row.packed_tokens for step in steps[:taken] for row in step.rows)
    here = packed_tokens if resumed is None else trainer.packed_tokens
    metrics = {
        **{name: sum(values) / len(values) for name, values in trainer.history.items()},
        "update/first_loss": trainer.history["update/loss"][0],
        "update/last_loss": trainer.history["update/loss"][-1],
        "update/steps": float(taken),
        "update/tokens": float(tokens),
        "update/packed_tokens": float(packed_tokens),
        "update/packed_tokens_per_second": here / seconds,
        "update/processes": float(processes().num_processes),
        "update/trainable_parameters": float(sum(p.numel() for p in model.parameters() if p.requires_grad)),
        **(stopping.metrics if stopping is not None else {}),
    }
    gathered = trainer.accelerator.get_state_dict(trainer.model_wrapped) if trainer.is_fsdp_enabled else None
    return Result(metrics, gathered)


def arguments(config: TrainingConfig, *, folder: str, seed: int, save_steps: int = 0) -> TrainingArguments:
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
        optim=OPTIMIZERS[config.optimizer],
        seed=seed,
        use_cpu=on_cpu(),
        bf16=False,
        gradient_checkpointing=False,
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        logging_strategy="no",
        save_strategy="steps" if save_steps else "no",
        save_steps=save_steps or 1,
        save_total_limit=KEPT,
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
        config: TrainingConfig,
        batch_of: BatchOf,
        temperature: float,
    ) -> None:
        sharded = os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE") == "3"
        if sharded and os.environ.get("ACCELERATE_USE_DEEPSPEED", "false") == "true":
            raise ConfigError(
                "DeepSpeed's stage 3 parts weights between processes, and they are not put together again here",
                where="launcher",
                remedy="Take stage 2, or FSDP.",
            )
        if args.n_gpu > 1:
            raise HarnessError(
                f"{args.n_gpu} GPUs are visible to one process",
                remedy="Start a process for each (`--launcher accelerate`), or set CUDA_VISIBLE_DEVICES=0.",
            )
        self.steps = list(steps)
        super().__init__(model=model, args=args, train_dataset=cast("Dataset[TrainingStep]", self.steps))
        self.remove_callback(PrinterCallback)
        self.add_callback(_AfterStep(self))
        self.objective = objective
        self.config = config
        self.batch_of = batch_of
        self.temperature = temperature
        self.stopping: EarlyStopping | None = None
        self.adaptive = adalora_config(model)
        self.allocates = self.adaptive is not None and allocates(self.adaptive)
        self.on_step: Callable[..., None] = lambda amount=1, **figures: None
        self.history: dict[str, list[float]] = defaultdict(list)
        self.packed_tokens = 0

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Not prepared by Accelerate: every process goes through all steps, and takes its share of each one's rows."""
        dataset = cast("Dataset[TrainingStep]", self.steps)
        return DataLoader(dataset, batch_size=1, shuffle=False, collate_fn=lambda steps: {"step": steps[0]})

    def floating_point_ops(self, inputs: Mapping[str, Any]) -> int:
        return 0  # the Trainer's estimate is for unpacked rows

    def training_step(self, model: Any, inputs: Mapping[str, Any], num_items_in_batch: Any = None) -> Tensor:
        step: TrainingStep = inputs["step"]
        started = time.monotonic()
        train_mode(model)
        sums: dict[str, float] = defaultdict(float)
        baseline = step_baseline(self.objective, model, step, self.temperature)
        rows = share(step.rows)
        for place, (row, counts) in enumerate(rows):
            last = place == len(rows) - 1
            self.accelerator.sync_gradients = last  # DeepSpeed steps where it is told that gradients are whole
            with nullcontext() if last else self.accelerator.no_sync(model):
                batch = self.batch_of(model, row, step.totals, self.temperature, baseline=baseline)
                output = self.objective(batch)
                loss = output.loss if counts else output.loss * 0.0
                if self.adaptive is not None and place == 0:
                    loss = loss + orthogonality(model, self.adaptive) / processes().num_processes
                # Engines average gradients over processes, and a step's loss is the sum of its rows' shares.
                self.accelerator.backward(loss * processes().num_processes)
            sums["update/loss"] += loss.item()
            for name, part in output.metrics.items():
                sums[name] += part if counts else 0.0
        for name, value in self._checked(summed(sums), model).items():
            self.history[name].append(value)
        tokens = sum(row.packed_tokens for row in step.rows)
        self.packed_tokens += tokens
        loss_of_step = self.history["update/loss"][-1]
        self.on_step(1, loss=loss_of_step, tokens_per_s=tokens / (time.monotonic() - started))
        return torch.tensor(loss_of_step, device=self.args.device)

    def _checked(self, figures: dict[str, float], model: Any) -> dict[str, float]:
        """With the norm of the gradients. Every process sees the same figures, so all of them stop, or none."""
        self._require_finite(figures["update/loss"], "loss")
        norm = self._grad_norm(model)
        self._require_finite(norm, "gradient norm")
        limit = self.config.exploding_grad_norm
        if limit and norm > limit:
            raise UpdateError(
                f"the gradient norm is {norm:.4g} at optimizer step {self.state.global_step + 1}: it explodes "
                f"(the limit is {limit:g})",
                where="update",
                remedy="Lower the learning rate, look at the step's data, or raise exploding_grad_norm.",
            )
        return {**figures, "update/grad_norm": norm}

    def _grad_norm(self, model: Any) -> float:
        if self.is_deepspeed_enabled:  # it has taken the gradients away
            return float(self.accelerator.deepspeed_engine_wrapped.get_global_grad_norm() or 0.0)
        norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
        return float((norm.full_tensor() if hasattr(norm, "full_tensor") else norm).item())

    def _require_finite(self, number: float, what: str) -> None:
        if not math.isfinite(number):
            raise UpdateError(
                f"the {what} is {number} at optimizer step {self.state.global_step + 1}",
                where="update",
                remedy="Lower the learning rate, or look at the step's data.",
            )


class _AfterStep(TrainerCallback):
    """What an optimizer step is followed by: ranks are allocated, and early stopping has its look."""

    def __init__(self, trainer: StepTrainer) -> None:
        self.trainer = trainer

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.trainer.allocates:
            allocate_ranks(self.trainer.model, state.global_step + 1)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        stopping = self.trainer.stopping
        if stopping is not None and (state.global_step % stopping.every == 0 or state.global_step == state.max_steps):
            control.should_training_stop = stopping.look(self.trainer.model, state.global_step) or (
                control.should_training_stop
            )


def sequence_batch(
    model: Any,
    row: Row,
    totals: StepTotals,
    temperature: float,
    *,
    baseline: float = 0.0,
    with_entropy: bool = False,
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
        baseline=baseline,
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
    """The groups with the log-probs of each completion, by the model as it is now, stored in `field`.

    Several groups share a row, as they do in training: in bf16 a row of another length is rounded otherwise, which
    would show as a margin before the first step (measured on random text: 0.05 nats a token; in fp32 nothing).
    """
    model.eval()

    def of_row(row: Row) -> list[list[float]]:
        logps_N_T, _ = completion_logps(model, row, temperature=temperature)
        advance(len(row.groups))
        return [logps_T[: len(c.token_ids)] for c, logps_T in zip(row.completions, logps_N_T.tolist(), strict=True)]

    rows = pack((replace(group, pairs=()) for group in groups), max_tokens=max_tokens)
    with progress.task(field.replace("_", " "), total=sum(len(row.groups) for row in rows)) as advance:
        scored = each_elsewhere(rows, of_row)
    known = {  # the parts of a split group hold the very objects of the group
        (id(group.prompt_token_ids), id(completion)): logps_T
        for row, logps_N_T in zip(rows, scored, strict=True)
        for (group, completion), logps_T in zip(
            ((group, completion) for group in row.groups for completion in group.completions), logps_N_T, strict=True
        )
    }

    def stored(group: TrainingGroup, completion: TrainingCompletion) -> TrainingCompletion:
        found: dict[str, Any] = {field: tuple(known[id(group.prompt_token_ids), id(completion)])}
        return replace(completion, **found)

    return [replace(group, completions=tuple(stored(group, c) for c in group.completions)) for group in groups]
