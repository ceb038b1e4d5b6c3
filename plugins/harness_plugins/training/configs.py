"""What updaters have among their settings. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from harness.specs import Config

Reference = Literal["none", "base", "previous", "snapshot"]
"""The policy that an update is compared with: none, the base model, the adapter that training starts from, or another
adapter."""


class OptimizationConfig(Config):
    """What every updater can be told, whoever trains."""

    epochs: PositiveInt = 1
    """Passes over the training data."""
    learning_rate: PositiveFloat
    lr_scheduler_type: Literal["constant", "linear", "cosine"] = "constant"
    """What the learning rate does after the warm-up."""
    warmup_steps: NonNegativeFloat = 0.0
    """Optimizer steps of linear warm-up; below 1 it is a share of all steps."""
    max_grad_norm: NonNegativeFloat = 1.0
    """Gradients are scaled down to this norm; 0 leaves them as they are."""
    weight_decay: NonNegativeFloat = 0.0


class TrainingConfig(OptimizationConfig):
    """What every updater that trains an adapter itself can be told."""

    adam_beta1: float = Field(default=0.9, ge=0, lt=1)
    adam_beta2: float = Field(default=0.999, ge=0, lt=1)
    max_tokens_per_row: NonNegativeInt = 1024
    """Budget of a packed row, the unit of a forward pass: more uses more memory and spends more on masked attention.
    0 computes every sequence alone."""
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Of the frozen base model and of its arithmetic. What is trained is held in float32."""
    quantization: Literal["none", "nf4"] = "none"
    """`nf4` holds the frozen base in 4 bits (QLoRA): NormalFloat, double quantization, computing in `dtype`."""
    gradient_checkpointing: bool = False
    """Recompute each layer in the backward pass instead of holding its activations: less memory, a third more time."""
    optimizer: Literal["adamw", "adamw_8bit", "adafactor"] = "adamw"
    """`adamw_8bit` (bitsandbytes) and `adafactor` hold less beside the weights, which counts in full fine-tuning."""
    exploding_grad_norm: NonNegativeFloat = 10_000.0
    """A gradient of a larger norm, before clipping, stops the update; 0 lets any pass."""
    early_stopping: Literal["none", "loss", "suite"] = "none"
    """What decides when to stop, and which weights are kept: the loss on held-out prompts, or the suite's mean reward
    on training prompts of which no round trains (in a loop). The best of all measurements is kept."""
    eval_steps: PositiveInt = 25
    """Optimizer steps between two measurements of early stopping."""
    patience: PositiveInt = 3
    """Measurements without a new best, in a row, after which training stops."""
    validation: float = Field(default=0.1, gt=0, lt=1)
    """Share of prompts held out where early stopping watches the loss."""
    save_steps: NonNegativeInt = 25
    """Optimizer steps between checkpoints, from which a killed update goes on; 0 makes none."""


class ReferenceConfig(TrainingConfig):
    """What updaters can be told whose objective compares the policy with another."""

    reference: Reference | Literal["auto"]
    """The policy that is compared with."""
    reference_adapter: Path | None = None
    """The folder of the adapter that is the `snapshot`, such as an earlier round's. Only with that reference."""

    @model_validator(mode="after")
    def _snapshot_has_an_adapter(self) -> Self:
        if (self.reference == "snapshot") != (self.reference_adapter is not None):
            raise ValueError("reference = 'snapshot' and reference_adapter go together")
        return self


def reference_content(config: Any) -> str:
    """Version of the snapshot that an updater's settings name, "" where they name none."""
    from harness.checkpoints import open_checkpoint

    return open_checkpoint(config.reference_adapter).version if config.reference_adapter is not None else ""
