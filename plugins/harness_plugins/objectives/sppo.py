"""Self-play preference optimization: log-ratios are regressed onto the two sides' chances of winning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness_plugins.objectives.configs import BetaConfig
from harness_plugins.objectives.pairs import PairObjective, Side

if TYPE_CHECKING:
    from torch import Tensor


class Sppo(PairObjective):
    """(h_c - 1 / (2 beta))^2 + (h_r + 1 / (2 beta))^2 with h = log(pi / pi_ref): equation 4.7 of arXiv:2405.00675 where
    the chosen wins with probability 1 and eta = 1 / beta."""

    name = "sppo"

    def __init__(self, config: BetaConfig) -> None:
        self.config = config

    def losses(self, chosen: Side, rejected: Side) -> Tensor:
        target = 1 / (2 * self.config.beta)
        return (chosen.ratio_M - target) ** 2 + (rejected.ratio_M + target) ** 2
