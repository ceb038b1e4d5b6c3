"""SLiC's hinge: pairs that are far enough apart are left alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness_plugins.objectives.configs import BetaConfig
from harness_plugins.objectives.pairs import PairObjective, Side

if TYPE_CHECKING:
    from torch import Tensor


class Hinge(PairObjective):
    """max(0, 1 - beta d), d the margin (SLiC, arXiv:2305.10425; with a reference as in RSO, arXiv:2309.06657)."""

    name = "hinge"

    def __init__(self, config: BetaConfig) -> None:
        self.config = config

    def losses(self, chosen: Side, rejected: Side) -> Tensor:
        return (1 - self.config.beta * self.margins(chosen, rejected)).relu()
