"""Noise-contrastive alignment: holds up the likelihood of the chosen completion, not only its distance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn.functional import logsigmoid

from harness_plugins.objectives.configs import BetaConfig
from harness_plugins.objectives.pairs import PairObjective, Side

if TYPE_CHECKING:
    from torch import Tensor


class Nca(PairObjective):
    """-log sigmoid(r_c) - (log sigmoid(-r_c) + log sigmoid(-r_r)) / 2, r = beta log(pi / pi_ref) (arXiv:2402.05369,
    for pairs)."""

    name = "nca"

    def __init__(self, config: BetaConfig) -> None:
        self.config = config

    def losses(self, chosen: Side, rejected: Side) -> Tensor:
        chosen_M, rejected_M = self.config.beta * chosen.ratio_M, self.config.beta * rejected.ratio_M
        return -logsigmoid(chosen_M) - (logsigmoid(-chosen_M) + logsigmoid(-rejected_M)) / 2
