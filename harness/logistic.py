"""Logistic regression on a few columns with clustered errors: behind win rates and strengths. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Fit:
    """Coefficients in log-odds, their covariance, and in how many clusters the rows fell."""

    coefficients_K: NDArray[float64]
    covariance_K_K: NDArray[float64]
    clusters: int

    def bounds(self, contrast_K: Sequence[float], *, alpha: float) -> tuple[float, float, float]:
        """A sum of coefficients with one-sided bounds at level `alpha` each (Student's t, clusters - 1 degrees)."""
        import numpy as np
        from scipy.special import stdtrit

        contrast = np.asarray(contrast_K, dtype=float)
        estimate = float(contrast @ self.coefficients_K)
        error = float(np.sqrt(max(0.0, contrast @ self.covariance_K_K @ contrast)))
        reach = float(stdtrit(self.clusters - 1, 1.0 - alpha)) * error
        return estimate, estimate - reach, estimate + reach


def fit_logistic(x_N_K: Sequence[Sequence[float]], y_N: Sequence[float], clusters: Sequence[str]) -> Fit:
    """Maximises sum of y log p + (1 - y) log(1 - p), logit p = x b, for outcomes y in [0, 1], by Newton's method.

    The covariance is the cluster-robust sandwich H^-1 (sum over clusters of s s^T) H^-1 C / (C - 1), with s a cluster's
    sum of (y - p) x (Liang and Zeger 1986). Raises ValueError where there is no finite maximum to be found.
    """
    import numpy as np

    x, y = np.asarray(x_N_K, dtype=float), np.asarray(y_N, dtype=float)
    beta = np.zeros(x.shape[1])
    for _ in range(100):
        p = 1.0 / (1.0 + np.exp(-(x @ beta)))
        hessian = (x * (p * (1 - p))[:, None]).T @ x
        try:
            step = np.linalg.solve(hessian, x.T @ (y - p))
        except np.linalg.LinAlgError:
            raise ValueError("the outcomes do not determine the coefficients") from None
        beta = beta + step * min(1.0, 4.0 / max(4.0, float(np.abs(step).max())))
        if float(np.abs(step).max()) < 1e-10:
            break
    else:
        raise ValueError("the outcomes have no finite maximum-likelihood fit")
    names, index = np.unique(np.asarray(clusters), return_inverse=True)
    scores = np.zeros((len(names), x.shape[1]))
    np.add.at(scores, index, (y - 1.0 / (1.0 + np.exp(-(x @ beta))))[:, None] * x)
    bread = np.linalg.inv(hessian)
    count = len(names)
    return Fit(beta, bread @ (scores.T @ scores) @ bread * count / (count - 1), count)


def probability(log_odds: float) -> float:
    """The inverse of the log-odds."""
    return 1.0 / (1.0 + math.exp(-log_odds)) if log_odds >= 0 else 1.0 - probability(-log_odds)
