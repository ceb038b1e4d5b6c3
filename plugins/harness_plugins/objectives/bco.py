"""Binary classifier optimization: the implicit reward is trained to tell good completions from bad ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn.functional import logsigmoid

from harness_plugins.objectives.unpaired import UnpairedObjective

if TYPE_CHECKING:
    from torch import Tensor


class Bco(UnpairedObjective):
    """-log sigmoid(s (beta h - delta)), s = +1 for desirable and -1 for undesirable completions, h = log(pi / pi_ref)
    and delta the mean of the two kinds' mean rewards (arXiv:2404.04656).

    The paper averages delta over steps; here it is that of the step.
    """

    name = "bco"
    step_baseline = "mean"

    def losses(self, ratio_N: Tensor, desirable_N: Tensor, baseline: float) -> Tensor:
        sign_N = desirable_N * 2 - 1
        return -logsigmoid(sign_N * self.config.beta * (ratio_N - baseline))
