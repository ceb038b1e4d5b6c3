"""Group sequence policy optimization: one ratio a completion, as rewards are one a completion."""

from __future__ import annotations

from harness.protocols import LossOutput, SequenceBatch
from harness_plugins.configs_objectives import GspoConfig
from harness_plugins.objectives import surrogate


class Gspo:
    """L = mean over completions of -min(s A, clip(s) A) + kl_coef * mean over tokens of s * k3, with s the geometric
    mean of the tokens' ratios (arXiv:2507.18071, equations 5 to 7).

    Ratios of whole completions hardly leave 1: the paper clips at 3e-4 below and 4e-4 above.
    """

    name = "gspo"
    sequence_level = True

    def __init__(self, config: GspoConfig) -> None:
        self.config = config

    @property
    def kl_coef(self) -> float:
        return self.config.kl_coef

    def __call__(self, batch: SequenceBatch) -> LossOutput:
        clip = self.config.clip_low, self.config.clip_high
        sequences = batch.totals.sequences
        advantages_N = surrogate.require_advantages(batch, self.name)
        log_ratio_N_T = surrogate.log_ratio(batch)
        lengths_N = batch.mask_N_T.sum(-1).clamp(min=1)
        log_ratio_N = log_ratio_N_T.sum(-1) / lengths_N
        loss = surrogate.clipped(log_ratio_N, advantages_N, *clip).sum() / sequences

        metrics = surrogate.ratio_metrics(log_ratio_N_T, batch)
        clipped_N = surrogate.clip_fraction(log_ratio_N, advantages_N, *clip)
        metrics["objective/clip_fraction"] = (clipped_N.sum() / sequences).item()
        if self.kl_coef > 0:
            kl_N_T = surrogate.reference_kl(log_ratio_N[:, None].expand_as(log_ratio_N_T), batch, self.name)
            loss = loss + self.kl_coef * (kl_N_T.sum(-1) / lengths_N).sum() / sequences
            metrics["objective/reference_kl"] = (kl_N_T.detach().sum() / batch.totals.tokens).item()
        return LossOutput(loss, metrics)
