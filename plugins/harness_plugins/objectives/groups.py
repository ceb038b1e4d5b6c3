"""What the group objectives share: a policy-gradient loss, the penalty for leaving a reference, the entropy bonus."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from harness.errors import HarnessError
from harness.protocols import LossOutput, SequenceBatch
from harness_plugins.objectives import surrogate
from harness_plugins.objectives.configs import ClippedConfig, GroupObjectiveConfig

if TYPE_CHECKING:
    from torch import Tensor

C = TypeVar("C", bound=GroupObjectiveConfig)


class GroupObjective(ABC, Generic[C]):
    """Base of the family: L = policy loss + kl_coef * sum over tokens of w * rho * k - entropy_coef * mean entropy.

    A subclass gives the policy loss, the weight w of a token, and the ratio rho of the penalty where it is not the
    token's own. k is the estimate of the KL divergence that `kl_estimator` names (see `surrogate.reference_kl`). The
    entropy's mean is over the step's completion tokens whatever w is, so that `entropy_coef` means the same everywhere
    (as in TRL's GRPO).
    """

    name: ClassVar[str]
    sequence_level: ClassVar[bool] = False
    """The ratio is one of whole completions: the noise between two engines, harmless in one token, would drown it."""

    def __init__(self, config: C) -> None:
        self.config = config

    @property
    def kl_coef(self) -> float:
        return self.config.kl_coef

    @property
    def needs_entropy(self) -> bool:
        """Whether batches are to hold `entropies_N_T`."""
        return self.config.entropy_coef > 0

    @abstractmethod
    def policy_loss(self, log_ratio_N_T: Tensor, advantages_N: Tensor, batch: SequenceBatch) -> tuple[Tensor, Tensor]:
        """This micro-batch's share of the loss, and of the part of its actions whose ratio is clipped."""

    @abstractmethod
    def token_weights(self, batch: SequenceBatch) -> Tensor | float:
        """What a token's penalty is multiplied by, broadcastable to [N, T]."""

    def penalty_log_ratio(self, log_ratio_N_T: Tensor, batch: SequenceBatch) -> Tensor:
        """log rho of the penalty, [N, T]."""
        return log_ratio_N_T

    def __call__(self, batch: SequenceBatch) -> LossOutput:
        tokens = batch.totals.tokens
        advantages_N = surrogate.require_advantages(batch, self.name)
        log_ratio_N_T = surrogate.log_ratio(batch)
        loss, clip_fraction = self.policy_loss(log_ratio_N_T, advantages_N, batch)
        metrics = surrogate.ratio_metrics(log_ratio_N_T, batch)
        metrics["objective/clip_fraction"] = clip_fraction.item()

        if self.kl_coef > 0:
            log_rho_N_T = self.penalty_log_ratio(log_ratio_N_T, batch)
            kl_N_T = surrogate.reference_kl(log_rho_N_T, batch, self.name, self.config.kl_estimator)
            loss = loss + self.kl_coef * (kl_N_T * self.token_weights(batch)).sum()
            metrics["objective/reference_kl"] = (kl_N_T.detach().sum() / tokens).item()

        if self.needs_entropy:
            if batch.entropies_N_T is None:
                raise HarnessError(
                    f"the objective {self.name} has entropy_coef > 0, and this updater computes no entropies",
                    remedy="Use the group updater, or set entropy_coef to 0.",
                )
            entropy = (batch.entropies_N_T * batch.mask_N_T).sum() / tokens
            loss = loss - self.config.entropy_coef * entropy
            metrics["objective/entropy"] = entropy.item()

        return LossOutput(loss, metrics)


def clipped_tokens(
    log_ratio_N_T: Tensor, advantages_N: Tensor, weights: Tensor | float, batch: SequenceBatch, config: ClippedConfig
) -> tuple[Tensor, Tensor]:
    """The clipped surrogate with tokens as actions: sum of weight * loss, and the share of tokens that are clipped."""
    given = log_ratio_N_T, advantages_N[:, None], config.clip_low, config.clip_high
    loss = (surrogate.clipped(*given) * batch.mask_N_T * weights).sum()
    return loss, (surrogate.is_clipped(*given) & batch.mask_N_T).sum() / batch.totals.tokens


def clipped_completions(
    log_ratio_N: Tensor, advantages_N: Tensor, batch: SequenceBatch, config: ClippedConfig
) -> tuple[Tensor, Tensor]:
    """The clipped surrogate with completions as actions: mean loss, and the share of completions that are clipped."""
    given = log_ratio_N, advantages_N, config.clip_low, config.clip_high
    sequences = batch.totals.sequences
    return surrogate.clipped(*given).sum() / sequences, surrogate.is_clipped(*given).sum() / sequences


def lengths(batch: SequenceBatch) -> Tensor:
    """Completion tokens, [N, 1]; at least 1, as they are divided by."""
    return batch.mask_N_T.sum(-1, keepdim=True).clamp(min=1)
