"""Group-relative policy optimization and the two corrections of its length bias.

All are the clipped surrogate per token plus kl_coef times the penalty,

    l_nt = -min(rho_nt A_n, clip(rho_nt, 1 - clip_low, 1 + clip_high) A_n) + kl_coef * rho_nt * k_nt,

and differ in what the sum over tokens is divided by.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.protocols import SequenceBatch
from harness_plugins.objectives.configs import ClippedConfig
from harness_plugins.objectives.groups import GroupObjective, clipped_tokens, lengths

if TYPE_CHECKING:
    from torch import Tensor


class ClippedObjective(GroupObjective[ClippedConfig]):
    """Base of the three: subclasses say how much each token weighs."""

    def policy_loss(self, log_ratio_N_T: Tensor, advantages_N: Tensor, batch: SequenceBatch) -> tuple[Tensor, Tensor]:
        return clipped_tokens(log_ratio_N_T, advantages_N, self.token_weights(batch), batch, self.config)


class Grpo(ClippedObjective):
    """Mean over each completion's tokens, then over completions (DeepSeekMath, arXiv:2402.03300, equation 3).

    A token of a long completion weighs less than one of a short completion.
    """

    name = "grpo"

    def token_weights(self, batch: SequenceBatch) -> Tensor:
        return 1.0 / (lengths(batch) * batch.totals.sequences)


class DrGrpo(ClippedObjective):
    """Divided by completions times the sampling limit, a constant (Dr. GRPO, arXiv:2503.20783, section 3.2).

    Meant for advantages that are not scaled by the group's spread.
    """

    name = "dr_grpo"

    def token_weights(self, batch: SequenceBatch) -> float:
        return 1.0 / (batch.totals.sequences * batch.totals.max_tokens)


class Dapo(ClippedObjective):
    """Divided by the completion tokens of the whole step, so that all tokens weigh the same (DAPO, arXiv:2503.14476,
    equation 8). The paper clips higher above (0.28) than below (0.2)."""

    name = "dapo"

    def token_weights(self, batch: SequenceBatch) -> float:
        return 1.0 / batch.totals.tokens


class Bnpo(Dapo):
    """As DAPO, with equal clips: the normalization by tokens alone (what TRL calls bnpo)."""

    name = "bnpo"
