"""What the updaters have in common: load, train, save, prove, let go."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from harness.errors import UpdateError
from harness.protocols import Objective, RunContext
from harness.types import AdapterCheckpoint, Update
from harness_plugins.adapters import load_base, save_adapter, start_adapter
from harness_plugins.configs_training import TrainingConfig
from harness_plugins.memory import release
from harness_plugins.packing import TrainingStep
from harness_plugins.shared_prefix import why_not_shareable
from harness_plugins.training import train

PlanSteps = Callable[[Any, int], Sequence[TrainingStep]]
"""(model before training, token budget of a row) -> the optimizer steps."""


def fit_adapter(
    context: RunContext,
    config: TrainingConfig,
    objective: Objective,
    plan_steps: PlanSteps,
    *,
    parent: AdapterCheckpoint | None,
    out: Path,
    seed: int,
    temperature: float,
    probe_token_ids: Sequence[int],
    metrics: Mapping[str, float],
) -> Update:
    """Train the parent adapter, or a new one, through the planned steps and seal it in `out`."""
    reference = context.require_model()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    base: Any = load_base(reference.path, config.dtype)
    base.to(device)
    model = start_adapter(base, context.adapter, parent=parent, model=reference, seed=seed)
    try:
        reason = why_not_shareable(model)
        if reason:
            context.progress.note(f"each completion is computed with a prompt of its own, because {reason}")
        steps = plan_steps(model, 0 if reason else config.max_tokens_per_row)
        # Only what is trained: a few million numbers, against hours of evaluating a candidate that is its parent.
        before = [parameter.detach().clone() for parameter in trainable(model)]
        trained = train(model, steps, objective, config, temperature=temperature, seed=seed, progress=context.progress)
        if all(torch.equal(old, new) for old, new in zip(before, trainable(model), strict=True)):
            raise UpdateError(
                "no weight has changed",
                where="update",
                remedy="Take more optimizer steps, a shorter warm-up or a higher learning rate.",
            )
        out.mkdir(parents=True, exist_ok=True)
        checkpoint = save_adapter(model, out, base=reference.fingerprint, probe_token_ids=probe_token_ids)
    finally:
        del base, model  # the sampler needs the memory next
        release()
    return Update(checkpoint, {**metrics, **trained, "update/shared_prefix": float(not reason)})


def trainable(model: torch.nn.Module) -> Iterator[torch.nn.Parameter]:
    return (parameter for parameter in model.parameters() if parameter.requires_grad)
