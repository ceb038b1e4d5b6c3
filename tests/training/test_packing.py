"""Packing loses nothing, repeats nothing and keeps to its budget."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness_plugins.models.packing import Row, TrainingCompletion, TrainingGroup, lay_out, make_step, pack

ids = st.lists(st.integers(0, 99), min_size=1, max_size=9).map(tuple)
groups = st.lists(
    st.builds(TrainingGroup, ids, st.lists(st.builds(TrainingCompletion, ids), min_size=1, max_size=5).map(tuple)),
    max_size=6,
)


@given(groups, st.integers(0, 60))
def test_every_completion_is_in_one_row_with_its_prompt(given_groups: list[TrainingGroup], budget: int) -> None:
    rows = pack(given_groups, max_tokens=budget)
    packed = sorted((g.prompt_token_ids, c.token_ids) for row in rows for g in row.groups for c in g.completions)
    assert packed == sorted((g.prompt_token_ids, c.token_ids) for g in given_groups for c in g.completions)


@given(groups, st.integers(0, 60))
def test_only_a_lone_completion_may_exceed_the_budget(given_groups: list[TrainingGroup], budget: int) -> None:
    for row in pack(given_groups, max_tokens=budget):
        assert row.packed_tokens == len(lay_out(row).token_ids_T)
        assert row.packed_tokens <= budget or len(row.completions) == 1


@given(groups)
def test_no_budget_is_one_sequence_a_row(given_groups: list[TrainingGroup]) -> None:
    rows = pack(given_groups, max_tokens=0)
    assert all(len(row.completions) == 1 for row in rows if row.packed_tokens > 0)
    assert sum(len(row.completions) for row in rows) == sum(len(g.completions) for g in given_groups)


def test_layout_by_hand() -> None:
    group = TrainingGroup((10, 11, 12), (TrainingCompletion((20, 21, 22)), TrainingCompletion((30,))))
    other = TrainingGroup((40,), (TrainingCompletion((50, 51)),))
    layout = lay_out(Row((group, other)))
    assert layout.token_ids_T == [10, 11, 12, 20, 21, 40, 50]
    assert layout.position_ids_T == [0, 1, 2, 3, 4, 0, 1]
    assert layout.group_T == [0, 0, 0, 0, 0, 1, 1]
    assert layout.segment_T == [0, 0, 0, 1, 1, 0, 1]
    assert layout.scored_S == [2, 3, 4, 2, 5, 6]
    assert layout.target_S == [20, 21, 22, 30, 50, 51]
    assert layout.lengths_N == [3, 1, 2]


def test_step_totals_count_completions_not_prompts() -> None:
    group = TrainingGroup((1, 2, 3), (TrainingCompletion((4, 5)), TrainingCompletion((6, 7, 8))))
    totals = make_step([group, group], max_completion=32, max_tokens=100).totals
    assert (totals.sequences, totals.tokens, totals.max_tokens) == (4, 10, 32)


@pytest.mark.parametrize(("prompt", "completion"), [((), (1,)), ((1,), ())])
def test_empty_parts_are_refused(prompt: tuple[int, ...], completion: tuple[int, ...]) -> None:
    with pytest.raises(HarnessError, match="no tokens"):
        TrainingGroup(prompt, (TrainingCompletion(completion),))
