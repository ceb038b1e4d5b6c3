"""Odds ratio preference optimization: fine-tuning and preference in one stage, without a reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import logsigmoid

from harness_plugins.objectives.configs import OrpoConfig
from harness_plugins.objectives.pairs import PairObjective, Side

if TYPE_CHECKING:
    from torch import Tensor


class Orpo(PairObjective):
    """-log p_c - beta log sigmoid(log odds(p_c) - log odds(p_r)), p the geometric mean of a completion's token
    probabilities and odds(p) = p / (1 - p) (arXiv:2403.07691, equations 4 to 7; beta is the paper's lambda)."""

    name = "orpo"
    needs_reference = False

    def __init__(self, config: OrpoConfig) -> None:
        self.config = config

    def margins(self, chosen: Side, rejected: Side) -> Tensor:
        return log_odds(chosen.mean_ratio_M) - log_odds(rejected.mean_ratio_M)

    def losses(self, chosen: Side, rejected: Side) -> Tensor:
        return -chosen.mean_ratio_M - self.config.beta * logsigmoid(self.margins(chosen, rejected))


def log_odds(logp: Tensor) -> Tensor:
    """log(p / (1 - p)) from log p <= 0; expm1 keeps the digits of 1 - p where p is near 1."""
    return logp - torch.log(-torch.expm1(logp.clamp(max=-1e-7)))
