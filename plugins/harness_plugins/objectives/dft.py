"""Dynamic fine-tuning: likelihood weighted by the model's own probability."""

from __future__ import annotations

from harness.protocols import LossOutput, SequenceBatch


class Dft:
    """L = -sum over tokens of m * p * log p / (completion tokens of the step), p without gradient (arXiv:2508.05629,
    equation 9).

    The weight takes out the 1/p that makes the gradient of a token the model finds unlikely so large.
    """

    def __call__(self, batch: SequenceBatch) -> LossOutput:
        weighted_N_T = batch.logps_N_T.detach().exp() * batch.logps_N_T
        return LossOutput(-(weighted_N_T * batch.mask_N_T).sum() / batch.totals.tokens)
