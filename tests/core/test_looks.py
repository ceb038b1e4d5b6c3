from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.gate import GateConfig
from harness.looks import FEWEST_FRESH, at_look, kept_back, measured
from harness.protocols import JudgeUse, Suite
from harness.stopping import StopConfig, enough
from harness.types import EvalReport, ItemResult, Prompt, SuiteReport


def made(clusters: list[int], **changes: object) -> Suite:
    """A suite whose clusters have these sizes."""
    items = tuple(
        Prompt(f"{cluster}-{i}", ({"role": "user", "content": f"{cluster} {i}"},), cluster=str(cluster))
        for cluster, size in enumerate(clusters)
        for i in range(size)
    )
    return replace(Suite("s", "1", "target", items, (JudgeUse("exact"),)), **changes)  # type: ignore[arg-type]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=120), st.floats(0, 0.5))
def test_parts_are_of_whole_clusters_and_hold_every_item_once(sizes: list[int], share: float) -> None:
    gate = GateConfig(confirm=share)
    suite = made(sizes)
    seen, fresh = kept_back(suite, gate)
    parts = [at_look(seen, 1, gate), at_look(seen, 2, gate), fresh.items if fresh else ()]
    assert sorted(i.id for part in parts for i in part) == sorted(i.id for i in suite.items)
    clusters = [{i.cluster for i in part} for part in parts]
    assert sum(map(len, clusters)) == len(sizes)
    for part in parts:
        assert [i for i in suite.items if i in part] == list(part)  # in the suite's own order
    if fresh is not None:
        assert max(FEWEST_FRESH, share * len(suite.items)) <= len(fresh.items) < share * len(suite.items) + 9 + 1


def test_halves_are_halves_and_no_prefix() -> None:
    suite = made([1] * 400)
    first = at_look(suite, 1, GateConfig())
    assert len(first) == 200
    assert 60 < sum(int(item.cluster) < 200 for item in first) < 140


def test_one_look_or_a_rule_on_each_item_sees_everything_at_once() -> None:
    suite = made([1] * 40)
    assert at_look(suite, 1, GateConfig(looks=1)) == suite.items
    incidents = replace(suite, role="guard", rule="no_new_failures")
    assert (at_look(incidents, 1, GateConfig()), at_look(incidents, 2, GateConfig())) == (suite.items, ())


def test_too_few_items_confirm_nothing_and_are_not_kept_back() -> None:
    assert kept_back(made([1] * 240), GateConfig(confirm=0.2))[1] is None
    assert kept_back(made([1] * 250), GateConfig(confirm=0.2))[1] is not None
    assert kept_back(made([1] * 1000), GateConfig(confirm=0.0))[1] is None
    assert len(measured(made([1] * 40), 7).items) == 7


def report(right: int, of: int) -> EvalReport:
    items = tuple(ItemResult(str(i), str(i), str(i), float(i < right)) for i in range(of))
    return EvalReport("p", (SuiteReport("s", "target", "f", items),))


@pytest.mark.parametrize(
    ("config", "index", "standing", "promoted", "says"),
    [
        (StopConfig(), 9, 0, None, ""),
        (StopConfig(patience=3), 4, 2, None, ""),
        (StopConfig(patience=3), 5, 2, None, "3 rounds in a row"),
        (StopConfig(goal=0.8), 5, 2, None, ""),
        (StopConfig(goal=0.8), 5, 5, report(85, 100), ""),  # 85 of 100 may be 80 by luck
        (StopConfig(goal=0.8), 5, 5, report(850, 1000), "s is at least 83."),
    ],
)
def test_a_loop_has_done_enough(
    config: StopConfig, index: int, standing: int, promoted: EvalReport | None, says: str
) -> None:
    found = enough(config, index, standing, promoted, 0.05)
    assert found == "" if not says else says in found
