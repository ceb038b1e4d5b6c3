"""Advantages by hand; `test_advantages_against_trl.py` compares them with TRL's trainers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.advantages import group_advantages

rewards = st.lists(st.lists(st.none() | st.floats(0, 1), min_size=1, max_size=6), min_size=1, max_size=5)


def test_mean_baseline_and_group_scale_by_hand() -> None:
    result = group_advantages([[1.0, 0.0, 0.5, None]], baseline="mean", scale="group")
    expected = (0.5 / 0.5001, -0.5 / 0.5001, 0.0, None)  # sample deviation of 1, 0, .5 is .5
    assert result.advantages_P_G[0] == pytest.approx(expected)
    assert result.signal_P == (True,)


def test_leave_one_out_by_hand() -> None:
    result = group_advantages([[1.0, 0.0, 0.5, None]], baseline="leave_one_out", scale="none")
    assert result.advantages_P_G[0] == pytest.approx((1 - 0.25, 0 - 0.75, 0.5 - 0.5, None))


def test_batch_scale_is_one_number_for_all_groups() -> None:
    result = group_advantages([[1.0, 0.0], [0.4, 0.6]], baseline="mean", scale="batch", epsilon=0.0)
    spread = math.sqrt((0.25 + 0.25 + 0.01 + 0.01) / 3)
    assert result.advantages_P_G == (
        pytest.approx((0.5 / spread, -0.5 / spread)),
        pytest.approx((-0.1 / spread, 0.1 / spread)),
    )


@pytest.mark.parametrize("group", [[1.0, 1.0, 1.0], [0.1 + 0.2, 0.3], [None, None], [None, 0.7], [0.7], []])
@pytest.mark.parametrize("baseline", ["mean", "leave_one_out"])
def test_groups_that_teach_nothing(group: list[float | None], baseline: str) -> None:
    result = group_advantages([group], baseline=baseline, scale="group")  # type: ignore[arg-type]
    assert result.signal_P == (False,)
    assert all(value is None or abs(value) < 1e-9 for value in result.advantages_P_G[0])


@given(rewards, st.sampled_from(["mean", "leave_one_out"]), st.sampled_from(["group", "batch", "none"]))
def test_advantages_of_a_group_sum_to_zero_and_keep_the_order(rewards_P_G, baseline, scale) -> None:
    result = group_advantages(rewards_P_G, baseline=baseline, scale=scale)
    for rewards_G, advantages_G in zip(rewards_P_G, result.advantages_P_G, strict=True):
        assert [value is None for value in advantages_G] == [value is None for value in rewards_G]
        scored = [(r, a) for r, a in zip(rewards_G, advantages_G, strict=True) if r is not None and a is not None]
        assert sum(a for _, a in scored) == pytest.approx(0, abs=1e-6)
        if max((r for r, _ in scored), default=0) > min((r for r, _ in scored), default=0) + 1e-6:
            assert max(scored)[1] > 0 > min(scored)[1]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_rewards_must_be_finite(bad: float) -> None:
    with pytest.raises(ValueError, match="completion 1 of group 0"):
        group_advantages([[0.5, bad]], baseline="mean", scale="none")
