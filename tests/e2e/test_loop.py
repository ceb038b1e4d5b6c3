"""Whole loops on a tiny model: they learn, are gated, roll back, and resume."""

from __future__ import annotations

import copy
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from harness.api import run_loop
from harness.cli.tables import run_table
from harness.errors import HarnessError, StoreError
from harness.export import export_model
from harness.hookspecs import hookimpl
from harness.plugins import load_registry
from harness.records import read_groups
from harness.sampling_step import train_batch
from harness.store import RunStore
from harness.suites import load_suite
from harness.train import train_adapter

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


def test_a_stage_stops_early_by_the_suite(tmp_path: Path, tiny_loop: Settings) -> None:
    """On training prompts that no round draws, which the loop samples from the weights of the moment."""
    stage = {**tiny_loop["stages"][0], "prompts": 20}
    watched = {**stage["config"], "early_stopping": "suite", "eval_steps": 10, "patience": 9}
    loop = {**tiny_loop, "stages": [{**stage, "config": watched}]}
    result = run_loop(loop, runs=tmp_path)
    entry = RunStore.open(result.folder).entry(1, "update")
    assert entry is not None
    figures = entry.data
    assert figures["update/validation_best"] < figures["update/validation_first"]
    assert figures["update/validation_last_step"] == figures["update/steps"] <= 60
    assert not (RunStore.open(result.folder).round_folder(1) / "update.midway").exists()
    with pytest.raises(HarnessError, match="leave none to stop early by"):
        run_loop({**loop, "stages": [{**stage, "config": watched, "prompts": 40}]}, runs=tmp_path)


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
    sft, group = tiny_loop["stages"]
    sft["config"] |= {"epochs": 60, "learning_rate": 0.003}  # learns on any processor, however that rounds
    result = run_loop({**tiny_loop, "stages": [group, sft]}, runs=tmp_path)
    assert result.outcomes == ("rejected", "promoted")
    commit = RunStore.open(result.folder).entries[1, "commit"]
    assert "no group has signal" in commit.data["sentence"]


def test_an_unfinished_run_asks_for_resume_and_a_changed_one_is_refused(tmp_path: Path, tiny_loop: Settings) -> None:
    class Interrupting:
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


def write_rows(path: Path, stage: dict[str, Any], suite: str) -> dict[str, Any]:
    """Writes the demonstrations that `stage` would draw in the first round, and returns the stage that reads them."""
    drawn = train_batch(load_suite(Path(suite)), 0, 0, stage["prompts"])
    rows = [{"id": p.id, "messages": [*p.messages, {"role": "assistant", "content": p.reference}]} for p in drawn]
    path.write_text("\n".join(map(json.dumps, rows)))
    return {"updater": stage["updater"], "data": str(path), "config": stage["config"]}


def test_rows_of_a_file_train_what_the_same_demonstrations_would(tmp_path: Path, tiny_loop: Settings) -> None:
    """The same adapter, sampled on from in the next round; and what is stored can be looked at and trained on again."""
    read = write_rows(tmp_path / "rows.jsonl", tiny_loop["stages"][0], tiny_loop["suite"])
    whole = run_loop(tiny_loop, runs=tmp_path, run="reference")
    result = run_loop({**tiny_loop, "stages": [read, tiny_loop["stages"][1]]}, runs=tmp_path, run="rows")
    assert result.outcomes[0] == "promoted"
    versions = [[RunStore.open(r.folder).entries[i, "commit"].data["version"] for i in (1, 2)] for r in (whole, result)]
    assert versions[0][0] == versions[1][0] != "base"
    store = RunStore.open(result.folder)
    assert {g.group.policy_version for g in read_groups(store.round_folder(2) / "groups.parquet")} == {versions[0][0]}
    assert store.entries[1, "judge"].data == {
        "reward/mean": 1.0, "reward/unscored": 0.0, "reward/groups_with_signal": 0.0, "reward/groups_dropped": 0.0,
    }  # fmt: skip
    assert "sft" in run_table(store)
    trained = train_adapter("sft", result.folder, rounds=[1], out=tmp_path / "out", config={"epochs": 1})
    assert (trained.lineage["parent"], trained.lineage["groups"]) == ("base", 24)
    export_model(result.folder, out=tmp_path / "model", round=1, format="adapter")
    card = (tmp_path / "model" / "README.md").read_text()
    digest = sha256((tmp_path / "rows.jsonl").read_bytes()).hexdigest()
    assert (
        f"on the rows of the file `rows.jsonl`: 24 groups with 24 completions. Digest of the data: `{digest}`" in card
    )
    again = run_loop(
        {**tiny_loop, "stages": [{**read, "data": str(store.round_folder(1) / "groups.parquet")}]}, runs=tmp_path
    )
    assert again.incumbent.version == versions[0][0]


def test_a_file_of_rows_that_changed_is_not_trained_on(tmp_path: Path, tiny_loop: Settings) -> None:
    """Neither by a run that is taken up again, nor by one that was under way when it changed."""
    file = tmp_path / "rows.jsonl"
    read = write_rows(file, tiny_loop["stages"][0], tiny_loop["suite"])
    rows = file.read_text()
    settings = {**tiny_loop, "stages": [tiny_loop["stages"][0], read]}

    class Changing:
        @hookimpl
        def harness_round_finished(self, index: int) -> None:
            file.write_text(rows.replace("say a", "say b"))

    registry = load_registry()
    registry.manager.register(Changing())
    with pytest.raises(HarnessError, match=r"rows\.jsonl: it has changed since the run was started"):
        run_loop(settings, runs=tmp_path, run="r", registry=registry)
    with pytest.raises(StoreError, match=r"data\.round 2: "):
        run_loop(settings, runs=tmp_path, run="r", resume=True)
    file.write_text(rows)
    resumed = run_loop(settings, runs=tmp_path, run="r", resume=True)
    assert resumed.digest == run_loop(settings, runs=tmp_path, run="whole").digest


def test_a_stage_that_only_prepares_is_promoted_without_a_gain(tmp_path: Path, tiny_loop: Settings) -> None:
    """A rate at which nothing is learnt: no gain is shown, and it takes the stage's word for it to be promoted."""
    still = {**tiny_loop["stages"][0], "config": {**tiny_loop["stages"][0]["config"], "learning_rate": 1e-9}}
    result = run_loop({**tiny_loop, "stages": [still, {**still, "gate": "hold"}]}, runs=tmp_path)
    assert result.outcomes[0] != "promoted"
    assert result.outcomes[1] == "promoted"
    commit = RunStore.open(result.folder).entries[2, "commit"]
    assert "three-letters holds at +0.0 points" in commit.data["sentence"]


def test_a_suite_whose_rows_changed_does_not_resume(tmp_path: Path, tiny_loop: Settings) -> None:
    run_loop({**tiny_loop, "stages": tiny_loop["stages"][:1]}, runs=tmp_path, run="r")
    rows = Path(tiny_loop["suite"]) / "items.jsonl"
    rows.write_text(rows.read_text().replace("say a", "please say a", 1))
    with pytest.raises(StoreError, match=r"suites\.three-letters\.items"):
        run_loop({**tiny_loop, "stages": tiny_loop["stages"][:1]}, runs=tmp_path, run="r")
