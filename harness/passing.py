"""pass@k and pass^k: how often one of k answers is right, and how often all k are, from n answers an item.

Both are the exact mean over all k-subsets of the n answers, so they are unbiased for k fresh answers. With c
right ones pass@k = 1 - C(n - c, k) / C(n, k) (Chen et al. 2021, arXiv:2107.03374, eq. 1) and pass^k =
C(c, k) / C(n, k) (Yao et al. 2024, arXiv:2406.12045).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

from harness.statistics import Estimate, estimate
from harness.types import ItemResult


@dataclass(frozen=True, slots=True)
class Passing:
    """Means over items: `at_least_one` is pass@k, `all_of_them` is pass^k."""

    k: int
    at_least_one: Estimate
    all_of_them: Estimate


def pass_at_k(n: int, c: int, k: int) -> float:
    """The share of k-subsets of n answers that hold at least one of the c right ones. Raises ValueError unless
    0 <= c <= n and 1 <= k <= n."""
    _require(n, c, k)
    return 1.0 - comb(n - c, k) / comb(n, k)


def pass_hat_k(n: int, c: int, k: int) -> float:
    """The share of k-subsets of n answers of which all are right. Raises ValueError as `pass_at_k` does."""
    _require(n, c, k)
    return comb(c, k) / comb(n, k)


def _require(n: int, c: int, k: int) -> None:
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"{c} right answers of {n}, taken {k} at a time")


def passing(items: Sequence[ItemResult], *, threshold: float = 1.0) -> tuple[Passing, ...]:
    """For k = 1, 2, 4 ... and n, over the items of which every answer is scored; `threshold` and up is right.

    n is the smallest number of answers that any of them has. Empty where no item is scored.
    """
    whole = [item for item in items if item.epochs and None not in item.epochs]
    counts = [(len(item.epochs), sum(e is not None and e >= threshold for e in item.epochs)) for item in whole]
    clusters = [item.cluster for item in whole]
    rows = []
    for k in _sizes(min((n for n, _ in counts), default=0)):
        one = estimate([pass_at_k(n, c, k) for n, c in counts], clusters)
        every = estimate([pass_hat_k(n, c, k) for n, c in counts], clusters)
        rows.append(Passing(k, one, every))
    return tuple(rows)


def _sizes(n: int) -> list[int]:
    return sorted({*(2**power for power in range(n.bit_length())), n}) if n else []
