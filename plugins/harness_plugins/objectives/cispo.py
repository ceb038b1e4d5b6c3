"""Clipped importance-sampling policy optimization: the weight is capped, the gradient never cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.protocols import SequenceBatch
from harness_plugins.objectives.configs import CispoConfig
from harness_plugins.objectives.groups import GroupObjective

if TYPE_CHECKING:
    from torch import Tensor


class Cispo(GroupObjective[CispoConfig]):
    """L = -sum over tokens of min(rho, 1 + clip_high) A log pi / (completion tokens of the step), the weight without
    gradient, plus kl_coef * rho * k (MiniMax-M1, arXiv:2506.13585, equations 4 and 5)."""

    name = "cispo"

    def policy_loss(self, log_ratio_N_T: Tensor, advantages_N: Tensor, batch: SequenceBatch) -> tuple[Tensor, Tensor]:
        tokens, cap = batch.totals.tokens, 1 + self.config.clip_high
        ratio_N_T = log_ratio_N_T.detach().exp()
        loss_N_T = -ratio_N_T.clamp(max=cap) * advantages_N[:, None] * batch.logps_N_T
        is_capped_N_T = (ratio_N_T > cap) & batch.mask_N_T
        return (loss_N_T * batch.mask_N_T).sum() / tokens, is_capped_N_T.sum() / tokens

    def token_weights(self, batch: SequenceBatch) -> float:
        return 1.0 / batch.totals.tokens
