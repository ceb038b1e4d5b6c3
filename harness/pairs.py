"""From a group's rewards to preferences: which completion is better than which, and which are good by themselves."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from itertools import combinations
from typing import Literal

Pairing = Literal["best_worst", "all"]

TIE = 1e-9
"""Rewards are weighted means: equal verdicts can differ in the last bits, and that is no preference."""


def preference_pairs(
    rewards_G: Sequence[float | None],
    contents_G: Sequence[object],
    *,
    pairing: Pairing,
    min_margin: float = 0.0,
    never_chosen: Collection[int] = (),
) -> list[tuple[int, int]]:
    """(chosen, rejected) indices of a group, by falling margin.

    `best_worst` gives at most one pair, `all` every pair of scored completions whose rewards differ. A pair needs a
    margin of at least `min_margin` (and more than a rounding error), and two completions that differ: `contents_G` is
    what they consist of. Completions in `never_chosen` can be rejected only. Raises ValueError on a reward that is not
    finite.
    """
    scored = [(index, reward) for index, reward in enumerate(rewards_G) if reward is not None]
    if not all(math.isfinite(reward) for _, reward in scored):
        raise ValueError(f"a reward is not a finite number: {list(rewards_G)}")
    found = []
    for (a, reward_a), (b, reward_b) in combinations(scored, 2):
        margin = abs(reward_a - reward_b)
        if margin > TIE and margin >= min_margin - TIE and contents_G[a] != contents_G[b]:
            better, worse = (a, b) if reward_a > reward_b else (b, a)
            if better not in never_chosen:
                found.append((margin, better, worse))
    found.sort(key=lambda pair: (-pair[0], pair[1:]))
    chosen = [(better, worse) for _, better, worse in found]
    return chosen[:1] if pairing == "best_worst" else chosen


def desirable(rewards_G: Sequence[float | None], threshold: float | Literal["mean"]) -> list[bool | None]:
    """Which completions are good by themselves: those with a reward of at least `threshold`, or above their group's
    mean. None where the reward is unknown, or where the mean tells nothing apart."""
    scored = [reward for reward in rewards_G if reward is not None]
    if not all(map(math.isfinite, scored)):
        raise ValueError(f"a reward is not a finite number: {list(rewards_G)}")
    if threshold == "mean":
        if not scored or max(scored) - min(scored) <= TIE:
            return [None] * len(rewards_G)
        mean = sum(scored) / len(scored)
        return [None if reward is None else reward > mean + TIE for reward in rewards_G]
    return [None if reward is None else reward >= threshold - TIE for reward in rewards_G]
