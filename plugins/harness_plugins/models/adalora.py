"""AdaLoRA's duties that no trainer does for it: rank allocation after each step, and its regularization.

Its paper (arXiv:2303.10512) moves a budget of ranks between layers by importance (section 3.2, algorithm 1) and holds
the factors P and Q near orthogonal (equation 4).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from peft import AdaLoraConfig
from torch import Tensor

from harness.errors import ConfigError

PLANNED_LATER = 1_000_000_000
"""PEFT wants the number of steps before the model exists on which they are planned."""


def adalora_config(model: Any) -> AdaLoraConfig | None:
    """The adapter's config if it is AdaLoRA."""
    config = getattr(model, "peft_config", {}).get("default")
    return config if isinstance(config, AdaLoraConfig) else None


def allocates(config: AdaLoraConfig) -> bool:
    """Whether ranks are still to be allocated: an adapter that goes on keeps those that it was left."""
    return not config.rank_pattern


def plan_ranks(model: Any, config: AdaLoraConfig, steps: int, *, stops_early: bool) -> None:
    """Tell the allocator how many optimizer steps there are. Raises ConfigError when its phases do not fit, or when
    training may stop before they are through."""
    if not allocates(config):
        return
    if stops_early:
        raise ConfigError(
            "AdaLoRA plans its ranks over all steps, so it cannot stop early",
            where="early_stopping",
            remedy="Set early_stopping to none.",
        )
    if config.total_step not in (PLANNED_LATER, steps):
        raise ConfigError(
            f"total_step = {config.total_step} and the update has {steps} steps",
            where="adapter",
            remedy="Leave total_step out.",
        )
    if config.tinit >= steps - config.tfinal:
        raise ConfigError(
            f"tinit = {config.tinit} and tfinal = {config.tfinal} leave none of {steps} steps to allocate ranks in",
            where="adapter",
            remedy="Lower them, or train longer.",
        )
    config.total_step = steps
    model.base_model.rankallocator.set_total_step(steps)


def allocate_ranks(model: Any, step: int) -> None:
    """To be called between the optimizer's step (1-based) and the clearing of gradients, which it reads."""
    model.base_model.update_and_allocate(step)


@torch.no_grad()
def restore_factors(model: Any, saved: Mapping[str, Tensor]) -> None:
    """Give a loaded adapter its saved weights again: as PEFT cuts the factors to their ranks it makes them anew in the
    base's dtype, which has rounded them."""
    for name, parameter in model.named_parameters():
        if (value := saved.get(name.replace(".default", ""))) is not None:
            parameter.data = value.to(parameter.device)


def orthogonality(model: Any, config: AdaLoraConfig) -> Tensor:
    """orth_reg_weight * mean over factors of the Frobenius norm of P^T P - I, or Q Q^T - I. Scalar."""
    norms = []
    for name, factor in model.named_parameters():
        if factor.requires_grad and ("lora_A" in name or "lora_B" in name):
            gram = factor @ factor.T if "lora_A" in name else factor.T @ factor
            norms.append(torch.linalg.matrix_norm(gram - torch.eye(len(gram), device=gram.device, dtype=gram.dtype)))
    return config.orth_reg_weight * torch.stack(norms).mean()
