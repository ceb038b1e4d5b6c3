"""Settings of the updaters that drive TRL's trainers. Imports nothing heavy."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from harness.specs import JudgeSeat
from harness_plugins.training.configs import OptimizationConfig
from harness_plugins.updaters.configs import PairChoice, PairsConfig


class TrlConfig(OptimizationConfig):
    """What every updater of this folder can be told; the rest of TRL's settings goes through `args`."""

    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Of the frozen base model. The adapter is trained in float32, on CUDA under TRL's bf16 autocast if this is so."""
    args: dict[str, Any] = Field(default_factory=dict)
    """Fields of TRL's own config class (SFTConfig, DPOConfig, ...), such as `loss_type` or `beta`, handed to it as
    they are. Those that the run decides itself are refused."""


class TrlSftConfig(TrlConfig):
    """Supervised fine-tuning by TRL's SFTTrainer on the completions that the judges accept."""

    learning_rate: PositiveFloat = 1e-3
    epochs: PositiveInt = 2
    batch: PositiveInt = 8
    """Completions per forward pass; a step takes `gradient_accumulation_steps` (of `args`, 1 by default) of them."""
    min_reward: float = Field(default=1.0, ge=0, le=1)
    """A completion is trained on when its reward is at least this; an unscored one never is."""


class TrlDpoConfig(PairsConfig, TrlConfig):
    """Preference optimization by TRL's DPOTrainer; its `loss_type` is set through `args`."""

    learning_rate: PositiveFloat = 5e-5
    batch: PositiveInt = 8
    """Pairs per forward pass; a step takes `gradient_accumulation_steps` (of `args`, 1 by default) of them."""


class TrlKtoConfig(TrlConfig):
    """Preference optimization from single verdicts by TRL's KTOTrainer."""

    learning_rate: PositiveFloat = 5e-5
    batch: Annotated[int, Field(ge=2)] = 8
    """Completions per forward pass, among which the KL divergence is estimated; a step takes
    `gradient_accumulation_steps` (of `args`, 1 by default) of them."""
    desirable: Annotated[float, Field(strict=True, ge=-1, le=1)] | Literal["mean"] = 0.5
    """A completion is good when its reward is at least this; with `mean`, when it is above its group's mean."""


class RewardingJudge(JudgeSeat):
    """A judge that rewards what GRPOTrainer samples."""

    weight: float = 1.0


class TrlGrpoConfig(TrlConfig):
    """Reinforcement learning by TRL's GRPOTrainer, which samples by itself: of the groups only the prompts are used."""

    learning_rate: PositiveFloat = 3e-4
    judges: tuple[RewardingJudge, ...] = ()
    """Who rewards the completions: the reward is their weighted mean. At least one."""
    groups_per_step: PositiveInt = 8
    """Prompts per forward pass; a step takes `gradient_accumulation_steps` (of `args`, 1 by default) of them."""
    n: Annotated[int, Field(ge=2)] | None = None
    """Completions a prompt. As many as the groups have, unless it is given."""
    max_tokens: PositiveInt | None = None
    """Limit on a completion's tokens. That of the groups' sampling, unless it is given."""
    temperature: PositiveFloat | None = None
    """Of sampling and of the loss. That of the groups' sampling, unless it is given."""


class TrlRewardConfig(PairsConfig, TrlConfig):
    """A reward model by TRL's RewardTrainer, on pairs."""

    learning_rate: PositiveFloat = 1e-4
    batch: PositiveInt = 8
    """Pairs per forward pass; a step takes `gradient_accumulation_steps` (of `args`, 1 by default) of them."""
    pairs: PairChoice = "all"
