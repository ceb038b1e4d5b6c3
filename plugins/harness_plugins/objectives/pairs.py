"""What the pairwise preference objectives share: a pair's two sides, and the sum over a step's pairs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from harness.errors import HarnessError
from harness.protocols import LossOutput, SequenceBatch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Side:
    """The chosen or the rejected completions of M pairs; log-probs are sums over a completion's tokens."""

    logps_M: Tensor
    ref_logps_M: Tensor | None
    lengths_M: Tensor

    @property
    def ratio_M(self) -> Tensor:
        """log(pi / pi_ref) of the whole completion: the implicit reward of DPO, over beta. log pi without reference."""
        return self.logps_M if self.ref_logps_M is None else self.logps_M - self.ref_logps_M

    @property
    def mean_ratio_M(self) -> Tensor:
        """`ratio_M` by token."""
        return self.ratio_M / self.lengths_M


class PairObjective(ABC):
    """Base of the family: a subclass gives the loss of each pair, and the loss of a step is their mean."""

    name: ClassVar[str]
    needs_reference: ClassVar[bool] = True

    @abstractmethod
    def losses(self, chosen: Side, rejected: Side) -> Tensor:
        """Loss of each pair, [M]."""

    def margins(self, chosen: Side, rejected: Side) -> Tensor:
        """How far the chosen is ahead of the rejected by what the loss compares, [M], in nats."""
        return chosen.ratio_M - rejected.ratio_M

    def __call__(self, batch: SequenceBatch) -> LossOutput:
        chosen, rejected = sides(batch, self.name, with_reference=self.needs_reference)
        margins_M = self.margins(chosen, rejected).detach()
        pairs = batch.totals.pairs
        return LossOutput(
            self.losses(chosen, rejected).sum() / pairs,
            {
                "objective/margin": (margins_M.sum() / pairs).item(),
                "objective/accuracy": ((margins_M > 0).sum() / pairs).item(),
                "objective/chosen_ratio": (chosen.ratio_M.detach().sum() / pairs).item(),
                "objective/rejected_ratio": (rejected.ratio_M.detach().sum() / pairs).item(),
            },
        )


def sides(batch: SequenceBatch, objective: str, *, with_reference: bool) -> tuple[Side, Side]:
    """Chosen and rejected side of the batch's pairs. Raises HarnessError where pairs or reference are missing."""
    if batch.pairs_M_2 is None:
        raise HarnessError(
            f"the objective {objective} needs pairs, and this updater gives none", remedy="Use the preference updater."
        )
    if with_reference and batch.ref_logps_N_T is None:
        raise HarnessError(
            f"the objective {objective} needs a reference policy",
            remedy="Set the updater's reference to 'base', 'previous' or 'snapshot'.",
        )
    logps_N = (batch.logps_N_T * batch.mask_N_T).sum(-1)
    ref_logps_N = (batch.ref_logps_N_T * batch.mask_N_T).sum(-1) if with_reference else None
    lengths_N = batch.mask_N_T.sum(-1).clamp(min=1)
    chosen, rejected = (
        Side(logps_N[side_M], None if ref_logps_N is None else ref_logps_N[side_M], lengths_N[side_M])
        for side_M in batch.pairs_M_2.unbind(-1)
    )
    return chosen, rejected
