"""What the group objectives share: the importance ratio, its clipping, and the penalty for leaving a reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.protocols import SequenceBatch

if TYPE_CHECKING:
    from torch import Tensor


def require_advantages(batch: SequenceBatch, objective: str) -> Tensor:
    if batch.advantages_N is None:
        raise HarnessError(
            f"the objective {objective} needs advantages, and this updater gives none",
            remedy="Use a group updater, or the objective nll.",
        )
    return batch.advantages_N


def log_ratio(batch: SequenceBatch) -> Tensor:
    """log(pi / pi_old) [N, T], 0 where masked. Without old log-probs the value is 0 and the gradient that of log pi."""
    old_N_T = batch.logps_N_T.detach() if batch.old_logps_N_T is None else batch.old_logps_N_T
    return (batch.logps_N_T - old_N_T) * batch.mask_N_T


def clipped(log_ratio: Tensor, advantages: Tensor, clip_low: float, clip_high: float) -> Tensor:
    """-min(rho A, clip(rho, 1 - clip_low, 1 + clip_high) A), rho = exp(log_ratio); shapes broadcast.

    PPO's pessimistic surrogate (arXiv:1707.06347, equation 7).
    """
    ratio = log_ratio.exp()
    return -(ratio * advantages).minimum(ratio.clamp(1 - clip_low, 1 + clip_high) * advantages)


def clip_fraction(log_ratio: Tensor, advantages: Tensor, clip_low: float, clip_high: float) -> Tensor:
    """1.0 where `clipped` has no gradient."""
    ratio = log_ratio.exp()
    low = (ratio < 1 - clip_low) & (advantages < 0)
    high = (ratio > 1 + clip_high) & (advantages > 0)
    return (low | high).float()


def reference_kl(log_ratio_N_T: Tensor, batch: SequenceBatch, objective: str) -> Tensor:
    """rho * (exp(d) - d - 1) with d = log(pi_ref / pi) [N, T], 0 where masked.

    The bracket is the k3 estimate of KL(pi || pi_ref), never negative (Schulman 2020, "Approximating KL divergence").
    It is an estimate under pi, and the tokens are from pi_old: the ratio corrects that, and with it the gradient is
    that of the KL too (DeepSeek-V3.2, arXiv:2512.02556, section 3.1).
    """
    if batch.ref_logps_N_T is None:
        raise HarnessError(
            f"the objective {objective} has kl_coef > 0, but no reference policy is set",
            remedy="Set the updater's reference to 'base' or 'parent'.",
        )
    difference = (batch.ref_logps_N_T - batch.logps_N_T) * batch.mask_N_T
    return log_ratio_N_T.exp() * (difference.exp() - difference - 1)


def ratio_metrics(log_ratio_N_T: Tensor, batch: SequenceBatch) -> dict[str, float]:
    """Token means over the step: the ratio, and the k3 estimate of KL(pi_old || pi)."""
    mask_N_T, tokens = batch.mask_N_T, batch.totals.tokens
    log_ratio_N_T = log_ratio_N_T.detach()
    ratio_N_T = log_ratio_N_T.exp()
    return {
        "objective/ratio": ((ratio_N_T * mask_N_T).sum() / tokens).item(),
        "objective/approx_kl": (((ratio_N_T - 1 - log_ratio_N_T) * mask_N_T).sum() / tokens).item(),
    }
