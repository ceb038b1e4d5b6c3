"""Training alone: from a run's groups with one updater after the other, and from files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.api import run_loop
from harness.checkpoints import open_checkpoint
from harness.errors import ConfigError, StoreError
from harness.records import read_groups
from harness.store import RunStore
from harness.train import train_adapter

FAST = {"dtype": "float32", "learning_rate": 1e-3}


@pytest.fixture
def run(tmp_path: Path, tiny_loop: dict[str, Any]) -> RunStore:
    """A finished run of one `sft` and one `group` round."""
    tiny_loop["stages"][1]["temperature"] = 1.0
    return RunStore.open(run_loop(tiny_loop, runs=tmp_path).folder)


def test_the_same_groups_train_every_kind_of_updater(run: RunStore, tmp_path: Path) -> None:
    """What a `group` round sampled goes into five updates, each from the adapter that it was sampled from."""
    sampled = {g.group.policy_version for g in read_groups(run.round_folder(2) / "groups.parquet")}
    versions = set()
    for name, updater, config in (
        ("sft", "sft", {}),
        ("dpo", "preference", {"objective": "dpo"}),
        ("simpo", "preference", {"objective": "simpo"}),
        ("kto", "unpaired", {"objective": "kto"}),
        ("grpo", "group", {"old_logps": "recompute"}),
    ):
        trained = train_adapter(updater, run.folder, out=tmp_path / name, config={**FAST, **config})
        assert sampled == {trained.lineage["parent"]}
        assert open_checkpoint(tmp_path / name).version == trained.update.checkpoint.version
        assert json.loads((tmp_path / name / "training.json").read_text()) == trained.lineage
        versions.add(trained.update.checkpoint.version)
    assert len(versions) == 5


def test_training_alone_equals_the_loops_round(run: RunStore, tmp_path: Path) -> None:
    """With the round's own settings and seed the adapter is the very same."""
    from harness.loop import derive_seed

    stage = run.identity["config"]["stages"][1]
    trained = train_adapter("group", run.folder, out=tmp_path / "a", config=stage["config"], seed=derive_seed(0, 2))
    assert trained.update.checkpoint.version == open_checkpoint(run.round_folder(2) / "adapter").version


def test_rounds_and_parents_can_be_chosen(run: RunStore, tmp_path: Path) -> None:
    first = train_adapter("sft", run.folder, out=tmp_path / "a", rounds=[1], config={**FAST, "epochs": 1})
    assert first.lineage["parent"] == "base"
    assert first.lineage["groups"] == 24
    on_top = train_adapter("sft", run.folder, out=tmp_path / "b", parent=tmp_path / "a", config=FAST)
    assert on_top.lineage["parent"] == first.update.checkpoint.version
    anew = train_adapter("sft", run.folder, out=tmp_path / "c", parent="base", config=FAST, adapter={"r": 2})
    assert anew.lineage["parent"] == "base"
    assert anew.lineage["adapter"]["r"] == 2
    assert anew.lineage["adapter"]["lora_alpha"] == 16
    with pytest.raises(StoreError, match="round 9 has no scored groups"):
        train_adapter("sft", run.folder, out=tmp_path / "d", rounds=[9])


def test_pairs_from_a_file_start_at_log_two(tiny_model: Path, tmp_path: Path) -> None:
    rows = [{"prompt": f"say {c}", "chosen": c, "rejected": "no"} for c in "abc"]
    data = tmp_path / "pairs.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)))
    trained = train_adapter("preference", data, out=tmp_path / "out", model=str(tiny_model), config=FAST)
    assert trained.lineage["metrics"]["update/pairs"] == 3
    assert trained.lineage["metrics"]["update/first_loss"] == pytest.approx(0.6931, abs=1e-3)


def test_what_is_wrong_is_said_before_anything_is_written(tiny_model: Path, tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text('{"prompt": "a", "completion": "b"}\n')
    there = tmp_path / "there"
    there.mkdir()
    model = str(tiny_model)
    with pytest.raises(ConfigError, match="it is there already"):
        train_adapter("sft", data, out=there, model=model)
    with pytest.raises(ConfigError, match="a file has no rounds"):
        train_adapter("sft", data, out=tmp_path / "a", rounds=[1], model=model)
    with pytest.raises(ConfigError, match="'grpo' is of family group"):
        train_adapter("sft", data, out=tmp_path / "a", model=model, config={"objective": "grpo"})
    with pytest.raises(ConfigError, match=r"unknown updater 'stf'.*Did you mean sft"):
        train_adapter("stf", data, out=tmp_path / "a", model=model)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rows.jsonl", "there"]
