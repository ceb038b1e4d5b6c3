"""Several preference losses at once, and the likelihood of the chosen completion, which is often one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.protocols import LossOutput, Objective, SequenceBatch
from harness_plugins.objectives.pairs import PairObjective, Side

if TYPE_CHECKING:
    from torch import Tensor


class ChosenNll(PairObjective):
    """-log pi_c / |c|: fine-tuning on the chosen completions. With DPO it is the loss of RPO (arXiv:2404.19733,
    equation 1)."""

    name = "chosen_nll"
    needs_reference = False

    def losses(self, chosen: Side, rejected: Side) -> Tensor:
        return -chosen.mean_ratio_M


class Mixture:
    """The sum of preference objectives times their weights. Its metrics are those of the first, and each one's loss."""

    def __init__(self, parts: Sequence[tuple[str, float, Objective]]) -> None:
        self.parts = tuple(parts)
        self.needs_reference = any(getattr(objective, "needs_reference", True) for _, _, objective in self.parts)

    def __call__(self, batch: SequenceBatch) -> LossOutput:
        outputs = [(name, weight, objective(batch)) for name, weight, objective in self.parts]
        loss = sum((weight * output.loss for _, weight, output in outputs[1:]), outputs[0][1] * outputs[0][2].loss)
        metrics = dict(outputs[0][2].metrics)
        metrics |= {f"objective/{name}": output.loss.item() for name, _, output in outputs}
        return LossOutput(loss, metrics)
