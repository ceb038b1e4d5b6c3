"""What the unpaired preference objectives share: completions that are good or bad by themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from harness.errors import HarnessError
from harness.protocols import LossOutput, SequenceBatch
from harness_plugins.objectives.baselines import Baseline
from harness_plugins.objectives.configs import KtoConfig

if TYPE_CHECKING:
    from torch import Tensor


class UnpairedObjective(ABC):
    """Base of the family: a subclass gives the loss of a desirable and of an undesirable completion.

    The loss of a step is the mean over its completions of w * loss, w by `desirable_weight` or `undesirable_weight`.
    """

    name: ClassVar[str]
    step_baseline: ClassVar[Baseline] = "none"
    """What `batch.baseline` is to hold: see `harness_plugins.objectives.baselines`."""

    def __init__(self, config: KtoConfig) -> None:
        self.config = config

    @abstractmethod
    def losses(self, ratio_N: Tensor, desirable_N: Tensor, baseline: float) -> Tensor:
        """Loss of each completion, [N]; `ratio_N` = log(pi / pi_ref) of whole completions."""

    def __call__(self, batch: SequenceBatch) -> LossOutput:
        if batch.desirable_N is None or batch.ref_logps_N_T is None:
            raise HarnessError(
                f"the objective {self.name} needs completions marked good or bad, and a reference policy",
                remedy="Use the unpaired updater with reference = 'base', 'previous' or 'snapshot'.",
            )
        ratio_N = ((batch.logps_N_T - batch.ref_logps_N_T) * batch.mask_N_T).sum(-1)
        good_N = batch.desirable_N
        weights_N = good_N * self.config.desirable_weight + ~good_N * self.config.undesirable_weight
        sequences, good = batch.totals.sequences, batch.totals.desirable
        metrics = {}
        for kind, marked_N, count in (("desirable", good_N, good), ("undesirable", ~good_N, sequences - good)):
            if count:  # a step without any has no such mean
                metrics[f"objective/{kind}_ratio"] = (ratio_N.detach() * marked_N).sum().item() / count
        return LossOutput((weights_N * self.losses(ratio_N, good_N, batch.baseline)).sum() / sequences, metrics)
