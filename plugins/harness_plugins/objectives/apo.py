"""Anchored preference optimization: says in which direction each side's likelihood is to go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness_plugins.objectives.configs import BetaConfig
from harness_plugins.objectives.pairs import PairObjective, Side

if TYPE_CHECKING:
    from torch import Tensor


class ApoZero(PairObjective):
    """1 - sigmoid(r_c) + sigmoid(r_r), r = beta log(pi / pi_ref) (arXiv:2408.06266, equation 7).

    Chosen up, rejected down: for chosen completions that are better than what the model does now.
    """

    name = "apo_zero"

    def __init__(self, config: BetaConfig) -> None:
        self.config = config

    def losses(self, chosen: Side, rejected: Side) -> Tensor:
        beta = self.config.beta
        return 1 - (beta * chosen.ratio_M).sigmoid() + (beta * rejected.ratio_M).sigmoid()


class ApoDown(PairObjective):
    """sigmoid(r_c) + 1 - sigmoid(r_c - r_r) (arXiv:2408.06266, equation 8).

    Both down, the rejected further: for chosen completions that are worse than what the model does now.
    """

    name = "apo_down"

    def __init__(self, config: BetaConfig) -> None:
        self.config = config

    def losses(self, chosen: Side, rejected: Side) -> Tensor:
        beta = self.config.beta
        return (beta * chosen.ratio_M).sigmoid() + 1 - (beta * self.margins(chosen, rejected)).sigmoid()
