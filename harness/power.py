"""What an evaluation can show: margins and gains within reach of the gate's estimator, before anything is run. Pure."""

from __future__ import annotations

import math


def smallest_margin(n: int, clusters: int, alpha: float) -> float:
    """How far the lower bound of `paired_interval` lies below 0 when no item differs, in score units.

    No margin up to this can be shown by `n` items in `clusters` clusters at the one-sided level `alpha`, whatever the
    candidate: for differences of 0 the standard error is that of the two pseudo-items alone,
    sqrt(2 C / (C - 1)) / (n + 2), with C = clusters + 2. Raises ValueError unless 0 <= clusters <= n.
    """
    from scipy.special import stdtrit

    if not 0 <= clusters <= n:
        raise ValueError(f"{clusters} clusters of {n} items")
    count = clusters + 2
    return float(stdtrit(count - 1, 1.0 - alpha)) * math.sqrt(2.0 * count / (count - 1)) / (n + 2)
