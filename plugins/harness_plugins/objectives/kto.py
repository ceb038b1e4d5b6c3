"""Kahneman-Tversky optimization: gains and losses against a reference point, from thumbs up and thumbs down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness_plugins.objectives.unpaired import UnpairedObjective

if TYPE_CHECKING:
    from torch import Tensor


class Kto(UnpairedObjective):
    """1 - sigmoid(beta (h - z)) of a desirable completion and 1 - sigmoid(beta (z - h)) of an undesirable one, with
    h = log(pi / pi_ref) and z an estimate of KL(pi || pi_ref) (arXiv:2402.01306, equation 7)."""

    name = "kto"
    step_baseline = "kl"

    def losses(self, ratio_N: Tensor, desirable_N: Tensor, baseline: float) -> Tensor:
        sign_N = desirable_N * 2 - 1
        return 1 - (self.config.beta * sign_N * (ratio_N - baseline)).sigmoid()


class ApoZeroUnpaired(UnpairedObjective):
    """KTO with z = 0: desirable completions up, undesirable ones down (arXiv:2408.06266, equation 7, unpaired)."""

    name = "apo_zero_unpaired"

    def losses(self, ratio_N: Tensor, desirable_N: Tensor, baseline: float) -> Tensor:
        sign_N = desirable_N * 2 - 1
        return 1 - (self.config.beta * sign_N * ratio_N).sigmoid()
