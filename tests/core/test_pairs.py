"""From rewards to preference pairs: which are built, in which order, and which never."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.pairs import choose_pairs, desirable, judged_margins, reward_margins
from harness.types import Preference


def test_best_against_worst() -> None:
    assert choose_pairs(reward_margins([0.2, None, 0.9, 0.0]), "abcd", best_only=True) == [(2, 3)]


def test_all_pairs_by_falling_margin() -> None:
    assert choose_pairs(reward_margins([0.5, 1.0, 0.0, 1.0]), "abcd") == [
        (1, 2),
        (3, 2),
        (0, 2),
        (1, 0),
        (3, 0),
    ]


@pytest.mark.parametrize("rewards", [[], [1.0], [None, 1.0], [0.5, 0.5], [0.1 + 0.2, 0.3], [None, None]])
def test_nothing_to_prefer(rewards: list[float | None]) -> None:
    assert choose_pairs(reward_margins(rewards), range(len(rewards))) == []


def test_a_pair_needs_its_margin() -> None:
    assert choose_pairs(reward_margins([1.0, 0.7, 0.0]), "abc", min_margin=0.7) == [(0, 2), (1, 2)]


def test_equal_completions_are_no_pair_whatever_a_noisy_judge_says() -> None:
    assert choose_pairs(reward_margins([1.0, 0.0, 0.5]), "aab") == [(0, 2), (2, 1)]
    assert choose_pairs(reward_margins([1.0, 0.0]), "aa", best_only=True) == []


def test_a_reward_must_be_a_number() -> None:
    with pytest.raises(ValueError, match="not a finite number"):
        reward_margins([1.0, float("nan")])


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
    pairs = choose_pairs(reward_margins(rewards), range(len(rewards)), min_margin=min_margin)
    assert len(set(pairs)) == len(pairs)
    for chosen, rejected in pairs:
        assert rewards[chosen] - rewards[rejected] >= max(min_margin - 1e-8, 1e-9)
    assert (
        choose_pairs(reward_margins(rewards), range(len(rewards)), best_only=True, min_margin=min_margin) == pairs[:1]
    )


def preferred(better: int, worse: int, strength: float = 1.0) -> Preference:
    return Preference("test", better, worse, strength)


def test_comparisons_are_pairs_by_falling_strength() -> None:
    margins = judged_margins([preferred(0, 1, 0.4), preferred(2, 0), preferred(1, 2, 0.9)])
    assert choose_pairs(margins, "abc") == [(2, 0), (1, 2), (0, 1)]
    assert choose_pairs(margins, "abc", min_margin=0.5, never_chosen={1}) == [(2, 0)]


def test_contradictions_cancel_and_majorities_win() -> None:
    """Two judges of three say 0 over 1: (1 + 1 - 1) / 3. One of two says 2 over 0: nothing."""
    verdicts = [preferred(0, 1), preferred(0, 1), preferred(1, 0), preferred(2, 0), preferred(0, 2)]
    assert judged_margins(verdicts) == {(0, 1): pytest.approx(1 / 3)}


@pytest.mark.parametrize(("better", "worse", "strength"), [(1, 1, 1.0), (0, 1, 0.0), (0, 1, 1.5), (0, 1, float("nan"))])
def test_a_preference_prefers_one_of_two(better: int, worse: int, strength: float) -> None:
    with pytest.raises(ValueError, match="with a strength of"):
        preferred(better, worse, strength)
