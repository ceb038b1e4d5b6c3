"""Negative log-likelihood: supervised fine-tuning on completions."""

from __future__ import annotations

from harness.protocols import LossOutput, SequenceBatch


class Nll:
    """L = -sum over tokens of m * log p / (completion tokens of the step)."""

    def __call__(self, batch: SequenceBatch) -> LossOutput:
        loss = -(batch.logps_N_T * batch.mask_N_T).sum() / batch.totals.tokens
        return LossOutput(loss)
