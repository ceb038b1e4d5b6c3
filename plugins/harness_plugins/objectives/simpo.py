"""Simple preference optimization: no reference, log-probs per token, and a margin to win by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn.functional import logsigmoid

from harness_plugins.objectives.configs import SimpoConfig
from harness_plugins.objectives.pairs import PairObjective, Side

if TYPE_CHECKING:
    from torch import Tensor


class Simpo(PairObjective):
    """-log sigmoid(beta (log pi_c / |c| - log pi_r / |r|) - gamma) (arXiv:2405.14734, equation 6)."""

    name = "simpo"
    needs_reference = False

    def __init__(self, config: SimpoConfig) -> None:
        self.config = config

    def margins(self, chosen: Side, rejected: Side) -> Tensor:
        return chosen.mean_ratio_M - rejected.mean_ratio_M

    def losses(self, chosen: Side, rejected: Side) -> Tensor:
        return -logsigmoid(self.config.beta * self.margins(chosen, rejected) - self.config.gamma)
