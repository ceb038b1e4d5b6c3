"""From a group's rewards to advantages: how much better each completion is than its siblings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal


@dataclass(frozen=True, slots=True)
class GroupAdvantages:
    """`advantages_P_G[p][g]` is None where the reward was None. `signal_P[p]` is False where a group teaches nothing:
    fewer than two of its completions are scored, or all its rewards are equal."""

    advantages_P_G: tuple[tuple[float | None, ...], ...]
    signal_P: tuple[bool, ...]


def group_advantages(
    rewards_P_G: Sequence[Sequence[float | None]],
    *,
    baseline: Literal["mean", "leave_one_out"],
    scale: Literal["group", "batch", "none"],
    epsilon: float = 1e-4,
) -> GroupAdvantages:
    """A = (r - baseline) / (spread + epsilon), over the scored completions of each group.

    baseline `mean` is the group's mean reward (GRPO, arXiv:2402.03300); `leave_one_out` is the mean of the others
    (RLOO, arXiv:2402.14740), which does not depend on the completion it is subtracted from. spread is a sample standard
    deviation (n - 1): with `group` of the group's rewards (GRPO), with `batch` of all rewards, or of all advantages
    under `leave_one_out` (REINFORCE++, arXiv:2501.03262). `none` divides by nothing (Dr. GRPO, arXiv:2503.20783).

    A group of which fewer than two completions are scored has advantages of 0. Raises ValueError on a reward that is
    not finite.
    """
    for p, rewards_G in enumerate(rewards_P_G):
        for g, reward in enumerate(rewards_G):
            if reward is not None and not math.isfinite(reward):
                raise ValueError(f"the reward of completion {g} of group {p} is {reward}, not a finite number")

    centred_P_G = [_centre(rewards_G, baseline) for rewards_G in rewards_P_G]
    if scale == "batch":
        pool = rewards_P_G if baseline == "mean" else centred_P_G
        batch_spread = _spread([value for row in pool for value in row if value is not None])

    advantages_P_G = []
    for rewards_G, centred_G in zip(rewards_P_G, centred_P_G, strict=True):
        if scale == "none":
            divisor = 1.0
        elif scale == "group":
            divisor = _spread([reward for reward in rewards_G if reward is not None]) + epsilon
        else:
            divisor = batch_spread + epsilon
        advantages_P_G.append(tuple(None if value is None else value / divisor for value in centred_G))

    # Rewards are weighted means: equal verdicts can differ in the last bits, and a spread of 1e-17 is no signal.
    signal_P = tuple(
        len(scored := [r for r in rewards_G if r is not None]) > 1 and max(scored) - min(scored) > 1e-9
        for rewards_G in rewards_P_G
    )
    return GroupAdvantages(tuple(advantages_P_G), signal_P)


def _centre(rewards_G: Sequence[float | None], baseline: str) -> list[float | None]:
    scored = [reward for reward in rewards_G if reward is not None]
    if len(scored) < 2:
        return [None if reward is None else 0.0 for reward in rewards_G]
    mean = fmean(scored)
    # r - mean of the others = (r - mean of all) * n / (n - 1)
    factor = 1.0 if baseline == "mean" else len(scored) / (len(scored) - 1)
    return [None if reward is None else (reward - mean) * factor for reward in rewards_G]


def _spread(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0
