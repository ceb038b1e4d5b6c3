"""Independent computations that the objectives must equal. One or more for every built-in objective."""

from __future__ import annotations

from oracles import groups, likelihood, pairs, rewards, unpaired
from oracles.common import BUDGETS, REGISTRY, Errors, Oracle

__all__ = ["BUDGETS", "ORACLES", "REGISTRY", "Errors", "Oracle"]

ORACLES: tuple[Oracle, ...] = (
    *likelihood.ORACLES,
    *pairs.ORACLES,
    *unpaired.ORACLES,
    *groups.ORACLES,
    *rewards.ORACLES,
)
