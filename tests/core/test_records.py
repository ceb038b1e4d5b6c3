from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from harness.records import read_decision, read_groups, read_report, write_groups, write_json
from harness.types import (
    Check,
    Completion,
    EvalReport,
    GateDecision,
    Group,
    ItemResult,
    Preference,
    Prompt,
    Sampling,
    Score,
    ScoredGroup,
    SuiteReport,
)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
unit = st.floats(0, 1)
ids = st.lists(st.integers(0, 2**31 - 1), max_size=5).map(tuple)
prompts = st.builds(
    Prompt,
    id=text,
    messages=st.lists(st.fixed_dictionaries({"role": text, "content": text}), min_size=1, max_size=2).map(tuple),
    reference=st.none() | text,
    metadata=st.dictionaries(text, text, max_size=2),
)


@st.composite
def scored_groups(draw: st.DrawFn) -> ScoredGroup:
    n = draw(st.integers(1, 3))
    completions = []
    for _ in range(n):
        tokens = draw(ids)
        logprobs = draw(st.none() | st.just(tuple(-float(i) / 3 for i in range(len(tokens)))))
        completions.append(Completion(draw(text), tokens, logprobs, draw(st.sampled_from(["stop", "length"]))))
    score = st.builds(Score, judge=text, value=unit, label=text) | st.just(Score.failed("j", "why"))
    scores = tuple(tuple(draw(st.lists(score, max_size=2))) for _ in range(n))
    rewards = tuple(draw(st.none() | unit) for _ in range(n))
    group = Group(draw(prompts), draw(ids), tuple(completions), "base", Sampling(temperature=0.7), "scripted")
    pairs = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda pair: pair[0] != pair[1])
    preference = st.builds(lambda pair, judge: Preference(judge, *pair, 0.5), pairs, text)
    preferences = tuple(draw(st.lists(preference, max_size=2))) if n > 1 else ()
    return ScoredGroup(group, scores, rewards, preferences)


@given(st.lists(scored_groups(), min_size=1, max_size=3))
def test_groups_come_back_as_they_were(tmp_path_factory: object, groups: list[ScoredGroup]) -> None:
    path = tmp_path_factory.mktemp("records") / "groups.parquet"  # type: ignore[attr-defined]
    write_groups(path, groups)
    assert read_groups(path) == groups
    assert pq.read_metadata(path).num_rows == sum(len(g.rewards) for g in groups)


def test_equal_groups_make_equal_files(tmp_path: Path) -> None:
    group = Group(Prompt("p", ({"role": "user", "content": "x"},)), (1,), (Completion("y", (2,)),), "base", Sampling())
    for name in ("a", "b"):
        write_groups(tmp_path / name, [ScoredGroup(group, ((),), (None,))])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_report_and_decision_come_back(tmp_path: Path) -> None:
    items = (ItemResult("i", "h", "c", 0.1 + 0.2, ("ok",), "slice"), ItemResult("j", "h", "c", None))
    report = EvalReport("v", (SuiteReport("s", "guard", "f", items, 0.1, 0.2, 0.3),))
    write_json(tmp_path / "report.json", report)
    assert read_report(tmp_path / "report.json") == report
    decision = GateDecision("rejected", "why", (Check("c", False, True, 0.1, -0.1, 0.3, -0.05, "n"),))
    write_json(tmp_path / "decision.json", decision)
    assert read_decision(tmp_path / "decision.json") == decision
