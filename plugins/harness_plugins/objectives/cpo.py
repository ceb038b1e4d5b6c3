"""Contrastive preference optimization: DPO without a reference, held in place by likelihood."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn.functional import logsigmoid

from harness_plugins.objectives.configs import CpoConfig
from harness_plugins.objectives.pairs import PairObjective, Side

if TYPE_CHECKING:
    from torch import Tensor


class Cpo(PairObjective):
    """-log sigmoid(beta (log pi_c - log pi_r)) - nll_weight * log pi_c / |c| (arXiv:2401.08417)."""

    name = "cpo"
    needs_reference = False

    def __init__(self, config: CpoConfig) -> None:
        self.config = config

    def losses(self, chosen: Side, rejected: Side) -> Tensor:
        contrast_M = -logsigmoid(self.config.beta * self.margins(chosen, rejected))
        return contrast_M - self.config.nll_weight * chosen.mean_ratio_M
