"""Direct preference optimization and the forms of it that differ in how sure they are of the labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn.functional import logsigmoid

from harness_plugins.objectives.configs import DpoConfig, RobustDpoConfig
from harness_plugins.objectives.pairs import PairObjective, Side

if TYPE_CHECKING:
    from torch import Tensor


class Dpo(PairObjective):
    """-(1 - s) log sigmoid(beta d) - s log sigmoid(-beta d), d the margin (DPO, arXiv:2305.18290, equation 7).

    With s = label_smoothing > 0 it is the conservative DPO of Mitchell (2023): a share s of the labels is taken to be
    wrong, and margins stop growing where the odds reach (1 - s) / s.
    """

    name = "dpo"

    def __init__(self, config: DpoConfig) -> None:
        self.config = config

    def losses(self, chosen: Side, rejected: Side) -> Tensor:
        logits_M = self.config.beta * self.margins(chosen, rejected)
        smoothing = self.config.label_smoothing
        return -(1 - smoothing) * logsigmoid(logits_M) - smoothing * logsigmoid(-logits_M)


class DpoNorm(Dpo):
    """DPO on log-ratios per token, so that long pairs do not have larger margins by their length alone
    (length-normalized DPO, Tulu 3, arXiv:2411.15124)."""

    name = "dpo_norm"

    def margins(self, chosen: Side, rejected: Side) -> Tensor:
        return chosen.mean_ratio_M - rejected.mean_ratio_M


class RobustDpo(PairObjective):
    """(-(1 - s) log sigmoid(beta d) + s log sigmoid(-beta d)) / (1 - 2 s) (arXiv:2403.00409).

    In expectation over labels that are flipped at the rate s this is DPO's loss on the true labels.
    """

    name = "robust_dpo"

    def __init__(self, config: RobustDpoConfig) -> None:
        self.config = config

    def losses(self, chosen: Side, rejected: Side) -> Tensor:
        logits_M = self.config.beta * self.margins(chosen, rejected)
        flipped = self.config.flip_rate
        return (-(1 - flipped) * logsigmoid(logits_M) + flipped * logsigmoid(-logits_M)) / (1 - 2 * flipped)
