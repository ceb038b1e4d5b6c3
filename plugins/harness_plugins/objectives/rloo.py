"""REINFORCE with a leave-one-out baseline: the whole completion is one action."""

from __future__ import annotations

from harness.protocols import LossOutput, SequenceBatch
from harness_plugins.configs_objectives import ClippedConfig
from harness_plugins.objectives import surrogate


class Rloo:
    """L = mean over completions of -min(rho A, clip(rho) A) + kl_coef * sum over tokens of rho_t * k3_t,
    with rho_t = pi / pi_old of a token and rho the product over the completion (arXiv:2402.14740).

    The paper takes the KL penalty off the reward; here it is a term of the loss, as in the other objectives.
    """

    name = "rloo"
    sequence_level = True
    """The ratio is a product over tokens: the noise between two engines, harmless in one, would drown it."""

    def __init__(self, config: ClippedConfig) -> None:
        self.config = config

    @property
    def kl_coef(self) -> float:
        return self.config.kl_coef

    def __call__(self, batch: SequenceBatch) -> LossOutput:
        clip = self.config.clip_low, self.config.clip_high
        sequences = batch.totals.sequences
        advantages_N = surrogate.require_advantages(batch, self.name)
        log_ratio_N_T = surrogate.log_ratio(batch)
        log_ratio_N = log_ratio_N_T.sum(-1)
        loss = surrogate.clipped(log_ratio_N, advantages_N, *clip).sum() / sequences

        metrics = surrogate.ratio_metrics(log_ratio_N_T, batch)
        clipped_N = surrogate.clip_fraction(log_ratio_N, advantages_N, *clip)
        metrics["objective/clip_fraction"] = (clipped_N.sum() / sequences).item()
        if self.kl_coef > 0:
            kl_N_T = surrogate.reference_kl(log_ratio_N_T, batch, self.name)
            loss = loss + self.kl_coef * kl_N_T.sum() / sequences
            metrics["objective/reference_kl"] = (kl_N_T.detach().sum() / batch.totals.tokens).item()
        return LossOutput(loss, metrics)
