"""REINFORCE with a leave-one-out baseline: the whole completion is one action."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.protocols import SequenceBatch
from harness_plugins.objectives.configs import ClippedConfig
from harness_plugins.objectives.groups import GroupObjective, clipped_completions

if TYPE_CHECKING:
    from torch import Tensor


class Rloo(GroupObjective[ClippedConfig]):
    """L = mean over completions of -min(rho A, clip(rho) A) + kl_coef * sum over tokens of rho_t * k_t,
    with rho_t = pi / pi_old of a token and rho the product over the completion (arXiv:2402.14740).

    The paper takes the KL penalty off the reward; here it is a term of the loss, as in the other objectives.
    """

    name = "rloo"
    sequence_level = True

    def policy_loss(self, log_ratio_N_T: Tensor, advantages_N: Tensor, batch: SequenceBatch) -> tuple[Tensor, Tensor]:
        return clipped_completions(log_ratio_N_T.sum(-1), advantages_N, batch, self.config)

    def token_weights(self, batch: SequenceBatch) -> float:
        return 1.0 / batch.totals.sequences
