"""What the updaters have in common: load, plan the steps, train, seal, let go."""

from __future__ import annotations

import hashlib
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from harness.errors import ConfigError, UpdateError
from harness.protocols import RunContext
from harness.types import AdapterCheckpoint, Update
from harness_plugins.models.adapters import load_base, start_adapter
from harness_plugins.models.lora_linear import fuse_lora
from harness_plugins.models.memory import release
from harness_plugins.models.packing import TrainingGroup, TrainingStep, hold_out, within
from harness_plugins.models.rms_norm import fuse_norms
from harness_plugins.models.weights import saved_settings, trains_weights
from harness_plugins.objectives.baselines import step_baseline
from harness_plugins.training.configs import TrainingConfig
from harness_plugins.training.early_stopping import EarlyStopping
from harness_plugins.training.processes import processes
from harness_plugins.training.steps import Midway, train
from harness_plugins.training.updater import AdapterUpdater, Pass, Selection


def fit(
    updater: AdapterUpdater, selection: Selection, *, parent: AdapterCheckpoint | None, out: Path, seed: int
) -> Update:
    """Train the parent adapter, or a new one, on the selection, and seal it in `out`."""
    context, config = updater.context, updater.config
    model = updater.open(parent=parent, seed=seed)
    try:
        reason = updater.why_not_shareable(model)
        if reason:
            context.progress.note(f"each completion is computed with a prompt of its own, because {reason}")
        how = Pass(parent, selection.temperature, 0 if reason else config.max_tokens_per_row)
        groups, too_long = fitting_groups(model, selection)
        known = updater.prepare(model, groups, how)
        steps, validation = plan(updater, known, selection, how, seed=seed)
        before = trained_digest(model)
        trained = train(
            model,
            steps,
            updater.objective,
            config,
            batch_of=updater.batch,
            temperature=selection.temperature,
            seed=seed,
            progress=context.progress,
            midway=midway(updater, selection, parent, seed),
            stopping=early_stopping(updater, validation, selection, parent),
        )
        if not processes().is_main_process:
            return Update(AdapterCheckpoint(out, "", ""), trained.metrics)  # the first process has it
        if trained.gathered is not None:
            del model
            release()
            model = updater.open(parent=parent, seed=seed)
            put_in(model, trained.gathered)
        if trained_digest(model) == before:  # hours of evaluating a candidate that is its parent
            raise UpdateError(
                "no weight has changed",
                where="update",
                remedy="Take more optimizer steps, a shorter warm-up or a higher learning rate.",
            )
        out.mkdir(parents=True, exist_ok=True)
        checkpoint = updater.seal(model, out, selection.probe_token_ids)
    finally:
        del model  # the sampler needs the memory next
        release()
    figures = {**selection.metrics, **how.metrics, "update/too_long": float(too_long), **trained.metrics}
    return Update(checkpoint, {**figures, "update/shared_prefix": float(not reason)})


def open_trainable(context: RunContext, config: TrainingConfig, *, parent: AdapterCheckpoint | None, seed: int) -> Any:
    """The model that is trained. Raises ConfigError where its parts do not go together."""
    reference = context.require_model()
    settings = saved_settings(parent.path) if parent else context.adapter
    quantization = "" if config.quantization == "none" else config.quantization
    if parent is not None and parent.quantization != quantization:
        raise ConfigError(
            f"the adapter was trained on a base with quantization {parent.quantization or 'none'!r}, and this update "
            f"has {config.quantization!r}",
            where="quantization",
            remedy="Go on with the same, or start anew from the base.",
        )
    whole = trains_weights(settings)
    if whole and quantization:
        raise ConfigError(
            f"{settings['peft_type']} trains the weights that quantization = {quantization!r} freezes",
            where="quantization",
            remedy="Train an adapter such as LORA on a quantized base, or leave quantization out.",
        )
    # Weights that are trained are held in float32, or updates smaller than their rounding would be lost.
    dtype = "float32" if whole else config.dtype
    base = load_base(reference.path, dtype, quantization=quantization, device=processes().device)
    base.compute_dtype = getattr(torch, config.dtype)
    if config.gradient_checkpointing:
        base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model = start_adapter(base, context.adapter, parent=parent, model=reference, seed=seed)
    if model.device.type == "cpu":
        fuse_lora(model)
        fuse_norms(model)
    return model


def fitting_groups(model: Any, selection: Selection) -> tuple[list[TrainingGroup], int]:
    """The groups without what is longer than the model's context, and how many completions that is."""
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if limit is None:
        return list(selection.groups), 0
    groups, too_long = within(selection.groups, limit)
    if not groups:
        raise UpdateError(
            f"all {too_long} completions are longer with their prompts than the model's context of {limit} tokens",
            where="update",
            remedy="Shorten the prompts, or choose a model with a longer context.",
        )
    return groups, too_long


def plan(
    updater: AdapterUpdater, groups: Sequence[TrainingGroup], selection: Selection, how: Pass, *, seed: int
) -> tuple[list[TrainingStep], TrainingStep | None]:
    """The optimizer steps, in order, and what early stopping watches the loss on."""
    config = updater.config
    sizes = {"max_completion": selection.max_completion, "max_tokens": how.max_tokens}
    validation = None
    if config.early_stopping == "loss":
        groups, held = hold_out(groups, config.validation)
        if not groups or not held:
            raise UpdateError(
                f"{len(groups) + len(held)} prompts cannot be parted into training and validation",
                where="early_stopping",
                remedy="Train on more prompts, or set early_stopping to none.",
            )
        validation = updater.step(held, **sizes)
    random_order = random.Random(seed)
    steps = [
        updater.step(batch, **sizes) for _ in range(config.epochs) for batch in updater.batches(groups, random_order)
    ]
    return steps, validation


def midway(updater: AdapterUpdater, selection: Selection, parent: AdapterCheckpoint | None, seed: int) -> Midway | None:
    """Where checkpoints of this update are kept, None where the caller gives no place.

    The plan is all that an update is made from. What is computed from it (log-probs of a reference) stays out: on
    another machine its last bits differ.
    """
    context = updater.context
    if context.scratch is None or not updater.config.save_steps:
        return None
    context.scratch.mkdir(parents=True, exist_ok=True)
    made_from = [
        context.require_model().fingerprint,
        type(updater).__name__,
        type(updater.objective).__name__,
        updater.config,
        sorted(context.adapter.items()),
        parent and parent.version,
        seed,
        processes().num_processes,
    ]
    hasher = hashlib.sha256(repr(made_from).encode())
    for group in selection.groups:
        hasher.update(repr(group).encode())
    return Midway(context.scratch, hasher.hexdigest())


def early_stopping(
    updater: AdapterUpdater, validation: TrainingStep | None, selection: Selection, parent: AdapterCheckpoint | None
) -> EarlyStopping | None:
    config, score = updater.config, updater.context.score
    if config.early_stopping == "none":
        return None
    measure: Callable[[Any, int], float]
    if validation is not None:
        name = "validation loss"

        def measure(model: Any, step: int) -> float:
            return loss_on(updater, model, validation, selection.temperature)

    elif score is None:
        raise ConfigError(
            "early_stopping = 'suite' needs a suite, and this update has none",
            where="early_stopping",
            remedy="Use it in a loop, or watch the loss.",
        )
    else:
        name = "loss of the suite (1 - mean reward)"

        def measure(model: Any, step: int) -> float:
            if step == 0:  # the parent itself: a fresh adapter that changes nothing cannot be told from the base
                return 1 - score(parent)
            with tempfile.TemporaryDirectory() as folder:
                return 1 - score(updater.seal(model, Path(folder), selection.probe_token_ids))

    return EarlyStopping(measure, name, config.eval_steps, config.patience)


@torch.no_grad()
def loss_on(updater: AdapterUpdater, model: Any, step: TrainingStep, temperature: float) -> float:
    """The objective's loss of a whole step, without dropout."""
    model.eval()
    baseline = step_baseline(updater.objective, model, step, temperature)
    losses = []
    for row in step.rows:
        batch = updater.batch(model, row, step.totals, temperature, baseline=baseline)
        losses.append(updater.objective(batch).loss.item())
    return sum(losses)


@torch.no_grad()
def put_in(model: Any, gathered: Mapping[str, torch.Tensor]) -> None:
    """The weights that were trained in shares, into a model that is whole."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and gathered:
            parameter.copy_(gathered[name])


def trained_digest(model: Any) -> str:
    """sha256 (hex) of the weights that are trained."""
    hasher = hashlib.sha256()
    for parameter in trainable(model):
        hasher.update(parameter.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return hasher.hexdigest()


def trainable(model: torch.nn.Module) -> Iterator[torch.nn.Parameter]:
    return (parameter for parameter in model.parameters() if parameter.requires_grad)
