"""Whole loops on a tiny model: they learn, are gated, roll back, and resume."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from harness.api import run_loop
from harness.errors import StoreError
from harness.plugins import load_registry
from harness.records import read_groups
from harness.store import RunStore

Settings = dict[str, Any]


def test_a_loop_learns_and_promotes_and_a_second_run_of_it_does_nothing(tmp_path: Path, tiny_loop: Settings) -> None:
    result = run_loop(tiny_loop, runs=tmp_path)
    store = RunStore.open(result.folder)
    assert result.outcomes[0] == "promoted"
    before = store.entry(0, "evaluate")
    assert before is not None
    assert result.incumbent.report.suites[0].mean > before.data["eval/three-letters"] + 0.1
    stamp = (result.folder / "journal.jsonl").read_bytes()
    again = run_loop(tiny_loop, runs=tmp_path)
    assert again.already_finished
    assert (again.digest, again.incumbent.version) == (result.digest, result.incumbent.version)
    assert (result.folder / "journal.jsonl").read_bytes() == stamp


def test_equal_settings_give_equal_digests_and_another_seed_does_not(tmp_path: Path, tiny_loop: Settings) -> None:
    digests = [
        run_loop({**tiny_loop, "seed": seed}, runs=tmp_path / name).digest
        for name, seed in [("a", 0), ("b", 0), ("c", 1)]
    ]
    assert digests[0] == digests[1] != digests[2]


def test_a_sabotaged_round_is_rejected_and_leaves_no_trace(tmp_path: Path, tiny_loop: Settings) -> None:
    """Rewards negated: the policy unlearns, the gate refuses it, and the next round samples from the old incumbent."""
    honest = run_loop({**tiny_loop, "stages": tiny_loop["stages"][:1]}, runs=tmp_path)
    sabotage = copy.deepcopy(tiny_loop)
    group = sabotage["stages"].pop()
    bad = {**group, "reward_weights": {"exact": -1.0}, "prompts": 24}
    bad["config"] = {**group["config"], "learning_rate": 0.003, "epochs": 6}
    sabotage["stages"] += [bad, group]
    result = run_loop(sabotage, runs=tmp_path, run="sabotaged")
    store = RunStore.open(result.folder)
    assert result.outcomes[:2] == ("promoted", "rejected")
    assert store.entries[2, "commit"].data["version"] == honest.incumbent.version
    sampled = read_groups(store.round_folder(3) / "groups.parquet")
    assert {group.group.policy_version for group in sampled} == {honest.incumbent.version}


def test_an_update_without_signal_rolls_the_round_back_and_the_run_goes_on(tmp_path: Path, tiny_loop: Settings) -> None:
    """A bare random model never says the letter, so no group has signal: that is a rejected round, not a crash."""
    group = tiny_loop["stages"][1]
    result = run_loop({**tiny_loop, "stages": [group, tiny_loop["stages"][0]]}, runs=tmp_path)
    assert result.outcomes == ("rejected", "promoted")
    commit = RunStore.open(result.folder).entries[1, "commit"]
    assert "no group has signal" in commit.data["sentence"]


def test_an_unfinished_run_asks_for_resume_and_a_changed_one_is_refused(tmp_path: Path, tiny_loop: Settings) -> None:
    class Interrupting:
        from harness.hookspecs import hookimpl

        @hookimpl
        def harness_groups_scored(self, index: int) -> None:
            raise KeyboardInterrupt

    registry = load_registry()
    registry.manager.register(Interrupting())
    with pytest.raises(KeyboardInterrupt):
        run_loop(tiny_loop, runs=tmp_path, run="r", registry=registry)
    with pytest.raises(StoreError, match=r"unfinished \(0 of 2 rounds\).*--resume"):
        run_loop(tiny_loop, runs=tmp_path, run="r")
    with pytest.raises(StoreError, match=r"config\.seed: 0 -> 5"):
        run_loop({**tiny_loop, "seed": 5}, runs=tmp_path, run="r", resume=True)
    resumed = run_loop(tiny_loop, runs=tmp_path, run="r", resume=True)
    assert resumed.digest == run_loop(tiny_loop, runs=tmp_path, run="whole").digest


def test_a_suite_whose_rows_changed_does_not_resume(tmp_path: Path, tiny_loop: Settings) -> None:
    run_loop({**tiny_loop, "stages": tiny_loop["stages"][:1]}, runs=tmp_path, run="r")
    rows = Path(tiny_loop["suite"]) / "items.jsonl"
    rows.write_text(rows.read_text().replace("say a", "please say a", 1))
    with pytest.raises(StoreError, match=r"suites\.three-letters\.items"):
        run_loop({**tiny_loop, "stages": tiny_loop["stages"][:1]}, runs=tmp_path, run="r")
