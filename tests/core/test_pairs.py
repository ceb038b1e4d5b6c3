"""From rewards to preference pairs: which are built, in which order, and which never."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.pairs import desirable, preference_pairs


def test_best_against_worst() -> None:
    assert preference_pairs([0.2, None, 0.9, 0.0], "abcd", pairing="best_worst") == [(2, 3)]


def test_all_pairs_by_falling_margin() -> None:
    assert preference_pairs([0.5, 1.0, 0.0, 1.0], "abcd", pairing="all") == [(1, 2), (3, 2), (0, 2), (1, 0), (3, 0)]


@pytest.mark.parametrize("rewards", [[], [1.0], [None, 1.0], [0.5, 0.5], [0.1 + 0.2, 0.3], [None, None]])
def test_nothing_to_prefer(rewards: list[float | None]) -> None:
    assert preference_pairs(rewards, range(len(rewards)), pairing="all") == []


def test_a_pair_needs_its_margin() -> None:
    assert preference_pairs([1.0, 0.7, 0.0], "abc", pairing="all", min_margin=0.7) == [(0, 2), (1, 2)]


def test_equal_completions_are_no_pair_whatever_a_noisy_judge_says() -> None:
    assert preference_pairs([1.0, 0.0, 0.5], "aab", pairing="all") == [(0, 2), (2, 1)]
    assert preference_pairs([1.0, 0.0], "aa", pairing="best_worst") == []


def test_a_reward_must_be_a_number() -> None:
    with pytest.raises(ValueError, match="not a finite number"):
        preference_pairs([1.0, float("nan")], "ab", pairing="all")


@pytest.mark.parametrize(
    ("rewards", "threshold", "good"),
    [
        ([0.4, None, 0.5], 0.5, [False, None, True]),
        ([0.1 + 0.2, 0.1], 0.3, [True, False]),
        ([0.1, 0.4, 0.7], "mean", [False, False, True]),
        ([0.5, 0.5], "mean", [None, None]),
        ([None, 0.5], "mean", [None, None]),
    ],
)
def test_good_by_itself(rewards: list[float | None], threshold: Any, good: list[bool | None]) -> None:
    assert desirable(rewards, threshold) == good


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=8), st.floats(0, 1))
def test_the_chosen_is_always_better_by_the_margin(rewards: list[float | None], min_margin: float) -> None:
    pairs = preference_pairs(rewards, range(len(rewards)), pairing="all", min_margin=min_margin)
    assert len(set(pairs)) == len(pairs)
    for chosen, rejected in pairs:
        assert rewards[chosen] - rewards[rejected] >= max(min_margin - 1e-8, 1e-9)
    assert preference_pairs(rewards, range(len(rewards)), pairing="best_worst", min_margin=min_margin) == pairs[:1]
