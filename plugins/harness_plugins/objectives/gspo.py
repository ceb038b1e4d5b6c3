"""Group sequence policy optimization: one ratio a completion, as rewards are one a completion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.protocols import SequenceBatch
from harness_plugins.objectives.configs import GspoConfig
from harness_plugins.objectives.groups import GroupObjective, clipped_completions, lengths

if TYPE_CHECKING:
    from torch import Tensor


class Gspo(GroupObjective[GspoConfig]):
    """L = mean over completions of -min(s A, clip(s) A) + kl_coef * mean over tokens of s * k, with s the geometric
    mean of the tokens' ratios (arXiv:2507.18071, equations 5 to 7).

    Ratios of whole completions hardly leave 1: the paper clips at 3e-4 below and 4e-4 above.
    """

    name = "gspo"
    sequence_level = True

    def policy_loss(self, log_ratio_N_T: Tensor, advantages_N: Tensor, batch: SequenceBatch) -> tuple[Tensor, Tensor]:
        return clipped_completions(mean_by_token(log_ratio_N_T, batch)[:, 0], advantages_N, batch, self.config)

    def token_weights(self, batch: SequenceBatch) -> Tensor:
        return 1.0 / (lengths(batch) * batch.totals.sequences)

    def penalty_log_ratio(self, log_ratio_N_T: Tensor, batch: SequenceBatch) -> Tensor:
        return mean_by_token(log_ratio_N_T, batch).expand_as(log_ratio_N_T)


def mean_by_token(log_ratio_N_T: Tensor, batch: SequenceBatch) -> Tensor:
    """log s, [N, 1]."""
    return log_ratio_N_T.sum(-1, keepdim=True) / lengths(batch)
