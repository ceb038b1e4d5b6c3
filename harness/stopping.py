"""When a loop has done enough before its last round."""

from __future__ import annotations

from pydantic import Field

from harness.specs import Config
from harness.statistics import mean_interval
from harness.types import EvalReport


class StopConfig(Config):
    """`[stop]`: what ends a loop early. What has been promoted by then is confirmed as at its end."""

    patience: int | None = Field(default=None, ge=1, description="rounds in a row without a promotion")
    goal: float | None = Field(
        default=None, gt=0, le=1, description="score on the target that the incumbent is shown to have (lower bound)"
    )


def enough(
    config: StopConfig, index: int, standing: int, promoted: EvalReport | None, alpha: float, *, looks: int = 1
) -> str:
    """Why no round is to follow round `index`, "" if one is. `standing` is the round last promoted; `promoted` is how
    this round's policy was evaluated if it was promoted. The goal is tested at `alpha` over all `looks` that there can
    be at it (Boole)."""
    if config.patience is not None and index - standing >= config.patience:
        return f"{index - standing} rounds in a row without a promotion (stop.patience = {config.patience})"
    if config.goal is None or promoted is None:
        return ""
    target = next(suite for suite in promoted.suites if suite.role == "target")
    known = [(item.score, item.cluster) for item in target.items if item.score is not None]
    bound = mean_interval([score for score, _ in known], [cluster for _, cluster in known], alpha=alpha / looks).lower
    reached = f"{target.suite} is at least {bound:.1%} with {1 - alpha:.0%} confidence"
    return f"{reached} (stop.goal = {config.goal:g})" if bound >= config.goal else ""
