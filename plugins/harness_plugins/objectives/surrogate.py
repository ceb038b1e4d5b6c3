"""What group objectives are made of: the importance ratio, its clipping, the penalty for leaving a reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

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


def is_clipped(log_ratio: Tensor, advantages: Tensor, clip_low: float, clip_high: float) -> Tensor:
    """True where `clipped` has no gradient."""
    ratio = log_ratio.exp()
    low = (ratio < 1 - clip_low) & (advantages < 0)
    high = (ratio > 1 + clip_high) & (advantages > 0)
    return low | high


def reference_kl(
    log_ratio_N_T: Tensor, batch: SequenceBatch, objective: str, estimator: Literal["k1", "k2", "k3"]
) -> Tensor:
    """rho * k [N, T], 0 where masked, with k an estimate of KL(pi || pi_ref) from one token (Schulman 2020,
    "Approximating KL divergence"): with d = log(pi / pi_ref),

        k1 = d,    k2 = d^2 / 2,    k3 = exp(-d) - 1 + d.

    They are estimates under pi, and the tokens are from pi_old, which the token's ratio rho corrects. k1 and k3 are
    unbiased, so rho carries gradient and the gradient is that of the token's KL too (DeepSeek-V3.2, arXiv:2512.02556,
    section 3.1); without it that of k1 would vanish in expectation and that of k3 be biased. k2 is biased, but under pi
    its own gradient d * grad log pi is in expectation that of the KL (arXiv:2510.01555), so there rho is a weight
    without gradient.
    """
    if batch.ref_logps_N_T is None:
        raise HarnessError(
            f"the objective {objective} has kl_coef > 0, but no reference policy is set",
            remedy="Set the updater's reference to 'base', 'previous' or 'snapshot'.",
        )
    difference_N_T = (batch.logps_N_T - batch.ref_logps_N_T) * batch.mask_N_T
    ratio_N_T = log_ratio_N_T.exp()
    if estimator == "k1":
        return ratio_N_T * difference_N_T
    if estimator == "k2":
        return ratio_N_T.detach() * difference_N_T**2 / 2
    return ratio_N_T * ((-difference_N_T).exp() + difference_N_T - 1)


def ratio_metrics(log_ratio_N_T: Tensor, batch: SequenceBatch) -> dict[str, float]:
    """Token means over the step: the ratio, and the k3 estimate of KL(pi_old || pi)."""
    mask_N_T, tokens = batch.mask_N_T, batch.totals.tokens
    log_ratio_N_T = log_ratio_N_T.detach()
    ratio_N_T = log_ratio_N_T.exp()
    return {
        "objective/ratio": ((ratio_N_T * mask_N_T).sum() / tokens).item(),
        "objective/approx_kl": (((ratio_N_T - 1 - log_ratio_N_T) * mask_N_T).sum() / tokens).item(),
    }
