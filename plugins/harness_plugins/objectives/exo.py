"""Efficient exact optimization: the reverse KL to a softened preference."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch.nn.functional import logsigmoid

from harness_plugins.objectives.configs import ExoConfig
from harness_plugins.objectives.pairs import PairObjective, Side

if TYPE_CHECKING:
    from torch import Tensor


class Exo(PairObjective):
    """KL(p || [1 - s, s]) with p = [sigmoid(beta d), sigmoid(-beta d)], d the margin (arXiv:2402.00856, equation 16).

    DPO is the forward KL of the same two distributions: this one seeks the mode.
    """

    name = "exo"

    def __init__(self, config: ExoConfig) -> None:
        self.config = config

    def losses(self, chosen: Side, rejected: Side) -> Tensor:
        smoothing = self.config.label_smoothing
        logits_M = self.config.beta * self.margins(chosen, rejected)
        wins, losses = logsigmoid(logits_M), logsigmoid(-logits_M)
        return wins.exp() * (wins - math.log1p(-smoothing)) + losses.exp() * (losses - math.log(smoothing))
