"""Identity preference optimization: a target for the margin instead of a margin without end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness_plugins.objectives.configs import BetaConfig
from harness_plugins.objectives.pairs import PairObjective, Side

if TYPE_CHECKING:
    from torch import Tensor


class Ipo(PairObjective):
    """(d - 1 / (2 beta))^2 with d the margin per token (arXiv:2310.12036, equation 17, tau = beta).

    By token, because the target does not know how long completions are.
    """

    name = "ipo"

    def __init__(self, config: BetaConfig) -> None:
        self.config = config

    def margins(self, chosen: Side, rejected: Side) -> Tensor:
        return chosen.mean_ratio_M - rejected.mean_ratio_M

    def losses(self, chosen: Side, rejected: Side) -> Tensor:
        return (self.margins(chosen, rejected) - 1 / (2 * self.config.beta)) ** 2
