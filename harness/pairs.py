"""From a group's rewards to preferences: which completion is better than which, and which are good by themselves."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from typing import Literal

from harness.types import Preference

TIE = 1e-9
"""Rewards are weighted means: equal verdicts can differ in the last bits, and that is no preference."""


Margins = Mapping[tuple[int, int], float]
"""(better, worse) indices of a group's completions, and by how much."""


def reward_margins(rewards_G: Sequence[float | None]) -> Margins:
    """Of every two scored completions whose rewards differ. Raises ValueError on a reward that is not finite."""
    scored = [(index, reward) for index, reward in enumerate(rewards_G) if reward is not None]
    if not all(math.isfinite(reward) for _, reward in scored):
        raise ValueError(f"a reward is not a finite number: {list(rewards_G)}")
    differences = {(a, b): reward_a - reward_b for (a, reward_a), (b, reward_b) in combinations(scored, 2)}
    return _ahead(differences)


def judged_margins(preferences: Sequence[Preference]) -> Margins:
    """Of every two completions that were compared: the mean of the strengths, those the other way counted as negative.
    What judges contradict each other on is no preference."""
    strengths: dict[tuple[int, int], list[float]] = {}
    for p in preferences:
        low, high = sorted((p.better, p.worse))
        strengths.setdefault((low, high), []).append(p.strength if p.better == low else -p.strength)
    return _ahead({pair: sum(values) / len(values) for pair, values in strengths.items()})


def _ahead(differences: Margins) -> Margins:
    """The better one first; without ties."""
    found = {(pair if d > 0 else (pair[1], pair[0])): abs(d) for pair, d in differences.items()}
    return {pair: margin for pair, margin in found.items() if margin > TIE}


def choose_pairs(
    margins: Margins,
    contents_G: Sequence[object],
    *,
    best_only: bool = False,
    min_margin: float = 0.0,
    never_chosen: Collection[int] = (),
) -> list[tuple[int, int]]:
    """(chosen, rejected) indices of a group, by falling margin; with `best_only` the first of them.

    A pair needs a margin of at least `min_margin`, and two completions that differ: `contents_G` is what they consist
    of. Completions in `never_chosen` can be rejected only.
    """
    found = [
        (margin, better, worse)
        for (better, worse), margin in margins.items()
        if margin >= min_margin - TIE and better not in never_chosen and contents_G[better] != contents_G[worse]
    ]
    found.sort(key=lambda pair: (-pair[0], pair[1:]))
    chosen = [(better, worse) for _, better, worse in found]
    return chosen[:1] if best_only else chosen


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
