"""Pass rates, by hand, from groups, a column and a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.data.filtering import FilterUse, make_sieve, sift
from harness.data.record import Answer, Record
from harness.errors import ConfigError, StoreError
from harness.plugins import load_registry
from harness.protocols import RunContext
from harness.records import read_groups, write_groups
from harness.store import RunStore
from harness.types import Completion, Group, Prompt, Sampling, ScoredGroup

REGISTRY = load_registry(third_party=False)


def asked(name: str) -> Prompt:
    return Prompt(name, ({"role": "user", "content": f"What is {name}?"},))


def group(name: str, worths: Sequence[float | None]) -> Record:
    return Record(asked(name), tuple(Answer("a", worth) for worth in worths), "group")


def reasons(records: list[Record], **config: Any) -> dict[str, str]:
    uses = [FilterUse(name="difficulty", config=config)]
    sifted = sift(records, make_sieve(uses, REGISTRY, RunContext(components=REGISTRY)))
    return {records[at].prompt.id: f"{r[0].reason} {r[0].detail}" for at, r in sifted.remarks.items()}


def test_groups_without_signal() -> None:
    records = [
        group("right", [1.0, 1 - 1e-12, None]),
        group("wrong", [0.0, 0.0]),
        group("mixed", [1.0, 0.0]),
        group("alone", [1.0, None]),
        group("partly", [0.5, 0.5]),
    ]
    assert reasons(records, keep_easy=0) == {
        "right": "always_right pass rate 1.00",
        "wrong": "always_wrong pass rate 0.00",
    }
    passed = reasons(records, keep_easy=0, rate="passed")
    assert passed == {
        "right": "always_right pass rate 1.00",
        "wrong": "always_wrong pass rate 0.00",
        "partly": "always_wrong pass rate 0.00",
    }
    bounds = reasons(records, keep_easy=0, low=0.5, high=0.9)
    assert sorted(bounds) == ["mixed", "partly", "right", "wrong"]


def test_a_share_of_the_easy_is_kept_and_it_is_always_the_same_one() -> None:
    records = [group(str(number), [1.0, 1.0]) for number in range(1000)]
    dropped = {share: set(reasons(records, keep_easy=share)) for share in (0.0, 0.2, 0.5, 1.0)}
    assert len(dropped[0.0]) == 1000
    assert 760 < len(dropped[0.2]) < 840
    assert not dropped[1.0]
    assert dropped[0.5] < dropped[0.2], "who is kept at one share is kept at a larger one"
    assert set(reasons(records[500:], keep_easy=0.2)) == {name for name in dropped[0.2] if int(name) >= 500}


def test_other_records_go_by_their_column() -> None:
    rows: list[Any] = [0.0, 1, 0.5, None, True, "1"]
    records = [
        Record(asked(f"{n}"), (Answer("a"),), "demonstration", "", n, {"pass_rate": v}) for n, v in enumerate(rows)
    ]
    assert reasons(records, keep_easy=0) == {"0": "always_wrong pass rate 0.00", "1": "always_right pass rate 1.00"}
    assert reasons([Record(asked("x"), (Answer("a"),), "demonstration")]) == {}


def test_a_run_says_how_often_its_prompts_were_passed(tmp_path: Path) -> None:
    """Rounds count together: `b` is right in one of them and wrong in the other."""
    store = RunStore.create(tmp_path / "run", {}, "")
    for index, rewards in enumerate([{"a": 0.0, "b": 1.0}, {"a": 0.0, "b": 0.0}], start=1):
        done = [Completion("x", (1,))] * 2
        made = [Group(asked(n), (1,), tuple(done), "base", Sampling()) for n in rewards]
        scored = [ScoredGroup(g, ((), ()), (r, r)) for g, r in zip(made, rewards.values(), strict=True)]

        def make(path: Path, groups: list[ScoredGroup] = scored) -> None:
            write_groups(path, groups)

        store.step(index, "judge", "groups.parquet", make=make, read=read_groups)
    same = Record(Prompt("other", asked("a").messages), (Answer("y"),), "demonstration")
    records = [Record(asked("a"), (Answer("y"),), "demonstration"), Record(asked("b"), (Answer("y"),), "label"), same]
    wrong = "always_wrong pass rate 0.00"
    assert reasons([*records, group("c", [0.0, 0.0])], run=str(tmp_path / "run")) == {"a": wrong, "other": wrong}


def test_what_is_wrong_is_said_when_it_is_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no run here"):
        reasons([], run=str(tmp_path))
    with pytest.raises(ConfigError, match="low must be below high"):
        reasons([], low=0.5, high=0.5)
