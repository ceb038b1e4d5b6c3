"""The loss that a language model found when it was asked for better preference losses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn.functional import logsigmoid

from harness_plugins.objectives.configs import DiscopopConfig
from harness_plugins.objectives.pairs import PairObjective, Side

if TYPE_CHECKING:
    from torch import Tensor


class Discopop(PairObjective):
    """(1 - w) (-log sigmoid(z)) + w exp(-z) with z = beta d and w = sigmoid(z / tau) (arXiv:2406.08414, equation 5)."""

    name = "discopop"

    def __init__(self, config: DiscopopConfig) -> None:
        self.config = config

    def losses(self, chosen: Side, rejected: Side) -> Tensor:
        z_M = self.config.beta * self.margins(chosen, rejected)
        share_M = (z_M / self.config.tau).sigmoid()
        return (1 - share_M) * -logsigmoid(z_M) + share_M * (-z_M).clamp(max=80).exp()
