"""Settings of the built-in updaters. Imports nothing heavy."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    NonNegativeInt,
    PlainValidator,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from harness.specs import Config
from harness_plugins.training.configs import Reference, ReferenceConfig, TrainingConfig

PairChoice = Literal["best_worst", "all", "judged"]


class PairsConfig(Config):
    """What updaters can be told that train on pairs."""

    pairs: PairChoice = "best_worst"
    """Which completions of a group are compared: the best with the worst, every two with different rewards, or those
    that a comparing judge has compared, as it says."""
    min_margin: float = Field(default=0.0, ge=0, le=1)
    """A pair's rewards differ by at least this, or the judges' mean strength is this."""


class CptConfig(TrainingConfig):
    """Continued pretraining: every token of raw text is learnt, in blocks that are packed into rows."""

    objective: str = "nll"
    objective_config: dict[str, Any] = Field(default_factory=dict)
    learning_rate: PositiveFloat = 2e-4
    block_size: PositiveInt = 1024
    """Tokens that a document is cut into, and see each other; at most the model's context. Longer blocks learn longer
    dependencies."""
    tokens_per_step: PositiveInt = 8192
    """Tokens per optimizer step, at least one block."""
    min_reward: float = Field(default=1.0, ge=0, le=1)
    """A document is trained on when its reward is at least this; those of a file have a reward of 1."""


class SftConfig(TrainingConfig):
    """Supervised fine-tuning on the completions that the judges accept."""

    objective: str = "nll"
    objective_config: dict[str, Any] = Field(default_factory=dict)
    learning_rate: PositiveFloat = 1e-3
    epochs: PositiveInt = 2
    batch: PositiveInt = 8
    """Completions per optimizer step."""
    min_reward: float = Field(default=1.0, ge=0, le=1)
    """A completion is trained on when its reward is at least this; an unscored one never is."""
    select: Literal["all", "best"] = "all"
    """Of a group's good completions, all (rejection sampling) or the one with most reward (best of n)."""


class GroupConfig(ReferenceConfig):
    """Reinforcement learning on groups: completions are compared with their siblings."""

    early_stopping: Literal["none", "suite"] = "none"
    """Whether the suite's mean reward on prompts of which no round trains decides when to stop (in a loop)."""
    objective: str = "grpo"
    objective_config: dict[str, Any] = Field(default_factory=dict)
    learning_rate: PositiveFloat = 3e-4
    groups_per_step: PositiveInt = 8
    """Prompts per optimizer step."""
    baseline: Literal["mean", "leave_one_out"] = "mean"
    scale: Literal["group", "batch", "none"] = "group"
    """What a reward's distance from the baseline is divided by: see `harness.advantages`."""
    old_logps: Literal["sampler", "recompute"] = "sampler"
    """The policy that sampled, as the sampler recorded it or as the trainer computes it before the first step. They
    differ by the arithmetic of two engines, which `recompute` takes out of the ratio at the cost of a forward pass."""
    reference: Reference = "none"
    """The policy that `kl_coef` of the objective holds to: the base model, the adapter that training starts from, or
    another adapter."""
    overlong: Literal["keep", "mask", "punish"] = "keep"
    """Completions that ran into the token limit are trained on like others, or masked: they still count in the
    baseline, but are not trained on. `punish` takes up to 1 off the reward of those that come near the limit."""
    overlong_buffer: NonNegativeInt = 0
    """Tokens below the limit in which the punishment grows from 0 to 1. Only with `punish`, which needs some."""

    @model_validator(mode="after")
    def _buffer_is_for_the_punishment(self) -> Self:
        if (self.overlong == "punish") != (self.overlong_buffer > 0):
            raise ValueError("overlong = 'punish' and an overlong_buffer above 0 go together")
        return self


class PreferenceConfig(PairsConfig, ReferenceConfig):
    """Preference optimization: of two completions of a prompt, the better becomes likelier than the worse."""

    objective: str = "dpo"
    objective_config: dict[str, Any] = Field(default_factory=dict)
    learning_rate: PositiveFloat = 5e-5
    groups_per_step: PositiveInt = 8
    """Prompts per optimizer step."""
    reference: Reference | Literal["auto"] = "auto"
    """The policy that log-ratios are taken to: the base model, the adapter that training starts from, or another
    adapter. `auto` is `previous` where the objective needs a reference and `none` where it does not."""


class RewardModelConfig(PairsConfig, TrainingConfig):
    """A reward model: the base with a scalar head, trained on pairs, to be used by the judge `reward_model`."""

    early_stopping: Literal["none", "loss"] = "none"
    """Whether the loss on held-out prompts decides when to stop, and which weights are kept."""
    objective: str = "bradley_terry"
    objective_config: dict[str, Any] = Field(default_factory=dict)
    learning_rate: PositiveFloat = 1e-4
    pairs: PairChoice = "all"
    groups_per_step: PositiveInt = 8
    """Prompts per optimizer step."""


def _threshold(value: Any) -> float | str:
    if value == "mean":
        return "mean"
    if isinstance(value, (int, float)) and not isinstance(value, bool) and -1 <= value <= 1:
        return float(value)
    raise ValueError("neither a number from -1 to 1 nor 'mean'")


class UnpairedConfig(ReferenceConfig):
    """Preference optimization from single verdicts: good completions become likelier, bad ones less likely."""

    objective: str = "kto"
    objective_config: dict[str, Any] = Field(default_factory=dict)
    learning_rate: PositiveFloat = 5e-5
    desirable: Annotated[float | Literal["mean"], PlainValidator(_threshold)] = 0.5
    """A completion is good when its reward is at least this; with `mean`, when it is above its group's mean."""
    groups_per_step: PositiveInt = 8
    """Prompts per optimizer step."""
    reference: Literal["base", "previous", "snapshot"] = "previous"
    """The policy that log-ratios are taken to: the base model, the adapter that training starts from, or another
    adapter."""
