"""What an unpaired objective compares log-ratios with: one number a step, without gradient."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any, Literal

import torch

from harness.errors import HarnessError
from harness.protocols import Objective
from harness_plugins.models.packing import Row, TrainingStep
from harness_plugins.models.shared_prefix import completion_logps

Baseline = Literal["none", "kl", "mean"]
"""`none` is 0. `kl` is the mean log-ratio of the step's mismatched completions, at least 0: an estimate of
KL(pi || pi_ref) (KTO, arXiv:2402.01306, section 4.2). `mean` is the mean log-ratio of the good completions and that of
the bad ones, averaged, or the one of the two that there is (BCO, arXiv:2404.04656, section 4.1)."""


def step_baseline(objective: Objective, model: Any, step: TrainingStep, temperature: float) -> float:
    """The baseline that `objective` names in its attribute `step_baseline`, in nats. Raises HarnessError for one that
    there is not, or that this step has no data for."""
    kind: Baseline = getattr(objective, "step_baseline", "none")
    if kind == "none":
        return 0.0
    data = {"kl": step.mismatched, "mean": step.rows}.get(kind, ())
    if not data or any(c.ref_logps is None for row in data for c in row.completions):
        raise HarnessError(
            f"the objective wants the baseline {kind!r}, and this updater has no data for it",
            where="update",
            remedy="Use it with the unpaired updater; baselines are none, kl and mean.",
        )
    if kind == "kl":
        return max(0.0, fmean(log_ratios(model, step.mismatched, temperature)))
    ratios = log_ratios(model, step.rows, temperature)
    good = [completion.desirable for row in step.rows for completion in row.completions]
    kinds = [[r for r, is_good in zip(ratios, good, strict=True) if is_good is kind] for kind in (True, False)]
    return fmean(fmean(found) for found in kinds if found)


@torch.no_grad()
def log_ratios(model: Any, rows: Sequence[Row], temperature: float) -> list[float]:
    """log(pi / pi_ref) of each completion of the rows."""
    found = []
    for row in rows:
        logps_N_T, _ = completion_logps(model, row, temperature=temperature)
        for logp, completion in zip(logps_N_T.sum(-1).tolist(), row.completions, strict=True):
            found.append(logp - sum(completion.ref_logps or ()))
    return found
