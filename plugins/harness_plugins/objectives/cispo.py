"""Clipped importance-sampling policy optimization: the weight is capped, the gradient never cut."""

from __future__ import annotations

from harness.protocols import LossOutput, SequenceBatch
from harness_plugins.configs_objectives import CispoConfig
from harness_plugins.objectives import surrogate


class Cispo:
    """L = -sum over tokens of min(rho, 1 + clip_high) A log pi / (completion tokens of the step), the weight without
    gradient, plus kl_coef * rho * k3 (MiniMax-M1, arXiv:2506.13585, equations 4 and 5)."""

    name = "cispo"

    def __init__(self, config: CispoConfig) -> None:
        self.config = config

    @property
    def kl_coef(self) -> float:
        return self.config.kl_coef

    def __call__(self, batch: SequenceBatch) -> LossOutput:
        tokens = batch.totals.tokens
        advantages_N_1 = surrogate.require_advantages(batch, self.name)[:, None]
        log_ratio_N_T = surrogate.log_ratio(batch)
        ratio_N_T = log_ratio_N_T.detach().exp()
        cap = 1 + self.config.clip_high
        loss_N_T = -ratio_N_T.clamp(max=cap) * advantages_N_1 * batch.logps_N_T

        metrics = surrogate.ratio_metrics(log_ratio_N_T, batch)
        metrics["objective/clip_fraction"] = (((ratio_N_T > cap) * batch.mask_N_T).sum() / tokens).item()
        if self.kl_coef > 0:
            kl_N_T = surrogate.reference_kl(log_ratio_N_T, batch, self.name)
            loss_N_T = loss_N_T + self.kl_coef * kl_N_T
            metrics["objective/reference_kl"] = ((kl_N_T.detach() * batch.mask_N_T).sum() / tokens).item()
        return LossOutput((loss_N_T * batch.mask_N_T).sum() / tokens, metrics)
