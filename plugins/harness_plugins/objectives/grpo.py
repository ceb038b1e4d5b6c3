"""Group-relative policy optimization and the two corrections of its length bias.

All three are the clipped surrogate per token plus kl_coef times the k3 penalty,

    l_nt = -min(rho_nt A_n, clip(rho_nt, 1 - clip_low, 1 + clip_high) A_n) + kl_coef * rho_nt * k3_nt,

and differ in what the sum over tokens is divided by.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from harness.protocols import LossOutput, SequenceBatch
from harness_plugins.configs_objectives import ClippedConfig
from harness_plugins.objectives import surrogate

if TYPE_CHECKING:
    from torch import Tensor


class ClippedObjective(ABC):
    """Base of the family: subclasses say how much each token weighs."""

    name: ClassVar[str]

    def __init__(self, config: ClippedConfig) -> None:
        self.config = config

    @property
    def kl_coef(self) -> float:
        return self.config.kl_coef

    @abstractmethod
    def weights(self, batch: SequenceBatch) -> Tensor | float:
        """What each token's loss is multiplied by, broadcastable to [N, T]."""

    def __call__(self, batch: SequenceBatch) -> LossOutput:
        clip = self.config.clip_low, self.config.clip_high
        advantages_N_1 = surrogate.require_advantages(batch, self.name)[:, None]
        log_ratio_N_T = surrogate.log_ratio(batch)
        loss_N_T = surrogate.clipped(log_ratio_N_T, advantages_N_1, *clip)

        metrics = surrogate.ratio_metrics(log_ratio_N_T, batch)
        clipped_N_T = surrogate.clip_fraction(log_ratio_N_T, advantages_N_1, *clip) * batch.mask_N_T
        metrics["objective/clip_fraction"] = (clipped_N_T.sum() / batch.totals.tokens).item()
        if self.kl_coef > 0:
            kl_N_T = surrogate.reference_kl(log_ratio_N_T, batch, self.name)
            loss_N_T = loss_N_T + self.kl_coef * kl_N_T
            metrics["objective/reference_kl"] = ((kl_N_T.detach() * batch.mask_N_T).sum() / batch.totals.tokens).item()

        return LossOutput((loss_N_T * batch.mask_N_T * self.weights(batch)).sum(), metrics)


class Grpo(ClippedObjective):
    """Mean over each completion's tokens, then over completions (DeepSeekMath, arXiv:2402.03300, equation 3).

    A token of a long completion weighs less than one of a short completion.
    """

    name = "grpo"

    def weights(self, batch: SequenceBatch) -> Tensor:
        lengths_N_1 = batch.mask_N_T.sum(-1, keepdim=True).clamp(min=1)
        return 1.0 / (lengths_N_1 * batch.totals.sequences)


class DrGrpo(ClippedObjective):
    """Divided by completions times the sampling limit, a constant (Dr. GRPO, arXiv:2503.20783, section 3.2).

    Meant for advantages that are not scaled by the group's spread.
    """

    name = "dr_grpo"

    def weights(self, batch: SequenceBatch) -> float:
        return 1.0 / (batch.totals.sequences * batch.totals.max_tokens)


class Dapo(ClippedObjective):
    """Divided by the completion tokens of the whole step, so that all tokens weigh the same (DAPO, arXiv:2503.14476,
    equation 8). The paper clips higher above (0.28) than below (0.2)."""

    name = "dapo"

    def weights(self, batch: SequenceBatch) -> float:
        return 1.0 / batch.totals.tokens


class Bnpo(Dapo):
    """As DAPO, with equal clips: the normalization by tokens alone (what TRL calls bnpo)."""

    name = "bnpo"
