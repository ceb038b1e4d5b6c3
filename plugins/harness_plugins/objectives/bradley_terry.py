"""The Bradley-Terry model of preferences, which reward models are trained by."""

from __future__ import annotations

from torch.nn.functional import logsigmoid

from harness.errors import HarnessError
from harness.protocols import LossOutput, SequenceBatch
from harness_plugins.objectives.configs import BradleyTerryConfig


class BradleyTerry:
    """L = mean over pairs of -log sigmoid(r_chosen - r_rejected) + center_coef (r_chosen + r_rejected)^2.

    InstructGPT (arXiv:2203.02155, equation 1); the second term, which settles the offset that differences leave open,
    is of arXiv:2312.09244, section 3.
    """

    name = "bradley_terry"

    def __init__(self, config: BradleyTerryConfig) -> None:
        self.config = config

    def __call__(self, batch: SequenceBatch) -> LossOutput:
        if batch.rewards_N is None or batch.pairs_M_2 is None:
            raise HarnessError(
                f"the objective {self.name} needs a reward model and pairs", remedy="Use the updater reward_model."
            )
        chosen_M, rejected_M = batch.rewards_N[batch.pairs_M_2].unbind(-1)
        margins_M = chosen_M - rejected_M
        losses_M = -logsigmoid(margins_M) + self.config.center_coef * (chosen_M + rejected_M) ** 2
        pairs = batch.totals.pairs
        return LossOutput(
            losses_M.sum() / pairs,
            {
                "objective/margin": (margins_M.detach().sum() / pairs).item(),
                "objective/accuracy": ((margins_M > 0).sum() / pairs).item(),
                "objective/reward": ((chosen_M + rejected_M).detach().sum() / (2 * pairs)).item(),
            },
        )
