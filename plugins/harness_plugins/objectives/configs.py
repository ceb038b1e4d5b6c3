"""Settings of the built-in objectives. Imports nothing heavy."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, field_validator

from harness.specs import Config

# ---------------------------------------------------------------- pairs


class BetaConfig(Config):
    """An objective with a scale and nothing else."""

    beta: PositiveFloat = 0.1
    """Scale of log-ratios: how strongly the policy is held to its reference. Small values let it go further."""


class DpoConfig(BetaConfig):
    """Direct preference optimization."""

    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """Share of labels taken to be wrong (conservative DPO)."""


class RobustDpoConfig(BetaConfig):
    """DPO for labels that are known to be flipped at some rate."""

    flip_rate: float = Field(default=0.1, ge=0, lt=0.5)
    """Share of pairs whose label is the wrong way round."""


class ExoConfig(BetaConfig):
    """Efficient exact optimization."""

    label_smoothing: float = Field(default=1e-3, gt=0, lt=0.5)
    """Probability that the rejected completion is the better one."""


class DiscopopConfig(BetaConfig):
    """Discovered preference optimization."""

    beta: PositiveFloat = 0.05
    """Scale of log-ratios: how strongly the policy is held to its reference."""
    tau: PositiveFloat = 0.05
    """How sharply the loss changes from logistic to exponential as the margin grows."""


class SimpoConfig(Config):
    """Simple preference optimization."""

    beta: PositiveFloat = 2.0
    """Scale of the log-probability per token."""
    gamma: NonNegativeFloat = 1.0
    """What the chosen must be ahead by, after `beta`."""


class CpoConfig(Config):
    """Contrastive preference optimization."""

    beta: PositiveFloat = 0.1
    """Scale of the difference of log-probabilities."""
    nll_weight: NonNegativeFloat = 1.0
    """Weight of the chosen completion's negative log-likelihood per token."""


class OrpoConfig(Config):
    """Odds ratio preference optimization."""

    beta: PositiveFloat = 0.1
    """Weight of the odds ratio beside the likelihood."""


class Part(Config):
    """One objective of a mixture."""

    objective: str
    config: dict[str, Any] = Field(default_factory=dict)
    weight: PositiveFloat = 1.0


class MixtureConfig(Config):
    """Several preference objectives at once."""

    parts: Annotated[tuple[Part, ...], Field(min_length=1)] = (
        Part(objective="dpo"),
        Part(objective="chosen_nll"),
    )
    """Each with its settings and its weight; no objective twice."""

    @field_validator("parts")
    @classmethod
    def _distinct(cls, parts: tuple[Part, ...]) -> tuple[Part, ...]:
        names = [part.objective for part in parts]
        if len(set(names)) < len(names):
            raise ValueError("an objective is named twice")
        return parts


class BradleyTerryConfig(Config):
    """A reward model's loss on pairs."""

    center_coef: NonNegativeFloat = 0.0
    """Weight of the square of the sum of a pair's rewards, which holds them around 0; the paper that proposes it takes
    0.01."""


# ---------------------------------------------------------------- single completions


class KtoConfig(BetaConfig):
    """Completions that are good or bad by themselves."""

    desirable_weight: PositiveFloat = 1.0
    """Weight of a good completion. The KTO paper asks for weight times count of the good ones to be 1 to 4/3 of that
    of the bad ones."""
    undesirable_weight: PositiveFloat = 1.0
    """Weight of a bad completion."""


# ---------------------------------------------------------------- groups


class GroupObjectiveConfig(Config):
    """What every policy-gradient loss can have added to it."""

    kl_coef: NonNegativeFloat = 0.0
    """Weight of the penalty for leaving the updater's reference policy."""
    kl_estimator: Literal["k1", "k2", "k3"] = "k3"
    """How the penalty is estimated from one token: k1 = log(pi / pi_ref), k2 = k1^2 / 2, k3 = pi_ref / pi - 1 + k1. All
    pull along the gradient of the KL divergence; k1 is noisy and can be negative, the value of k2 is biased."""
    entropy_coef: NonNegativeFloat = 0.0
    """Weight of the bonus for the policy's entropy, in nats, its mean over the step's completion tokens."""


class ClippedConfig(GroupObjectiveConfig):
    """A policy-gradient loss with a clipped ratio."""

    clip_low: float = Field(default=0.2, ge=0, le=1)
    """The ratio's gradient stops below 1 - clip_low (where the advantage is negative)."""
    clip_high: NonNegativeFloat = 0.2
    """The ratio's gradient stops above 1 + clip_high (where the advantage is positive)."""


class DapoConfig(ClippedConfig):
    """As above, with the higher upper clip of the DAPO paper."""

    clip_high: NonNegativeFloat = 0.28


class GspoConfig(ClippedConfig):
    """Ratios of whole completions stay nearer to 1 than those of tokens."""

    clip_low: float = Field(default=3e-4, ge=0, le=1)
    clip_high: NonNegativeFloat = 4e-4


class CispoConfig(GroupObjectiveConfig):
    """A policy gradient whose importance weight is capped."""

    clip_high: NonNegativeFloat = 4.0
    """A token's ratio counts as at most 1 + clip_high."""
