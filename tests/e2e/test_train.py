"""Training alone: from a run's groups with one updater after the other, and from files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny import build_tiny_model

from harness.api import run_loop
from harness.checkpoints import open_checkpoint
from harness.cli import main
from harness.errors import ConfigError, HarnessError, StoreError
from harness.plugins import load_registry
from harness.protocols import RunContext, SilentProgress
from harness.records import read_groups
from harness.store import RunStore
from harness.train import train_adapter

FAST = {"dtype": "float32", "learning_rate": 1e-3}


@pytest.fixture
def run(tmp_path: Path, tiny_loop: dict[str, Any]) -> RunStore:
    """A finished run: an `sft` round that is promoted, then a `group` round with right and wrong answers in a group."""
    answers = {"base": ["no"], "*": ["$reference", "no", "a", "b"]}
    tiny_loop["generator"] = {"name": "scripted", "config": {"by_version": answers}}
    group = tiny_loop["stages"][1]
    group["config"] = {**group["config"], "old_logps": "recompute"}
    result = run_loop(tiny_loop, runs=tmp_path)
    assert result.outcomes[0] == "promoted"
    return RunStore.open(result.folder)


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
    from harness.sampling_step import derive_seed

    stage = run.identity["config"]["stages"][1]
    trained = train_adapter("group", run.folder, out=tmp_path / "a", config=stage["config"], seed=derive_seed(0, 2))
    assert trained.update.checkpoint.version == open_checkpoint(run.round_folder(2) / "adapter").version


class Interrupts(SilentProgress):
    """Ctrl-C after some optimizer steps."""

    def __init__(self, after: int) -> None:
        self.left = after

    @contextmanager
    def task(self, description: str, total: float | None = None) -> Iterator[Any]:
        def advance(amount: float = 1, **figures: Any) -> None:
            self.left -= description == "update"
            if self.left < 0:
                raise KeyboardInterrupt

        yield advance


def test_the_same_command_goes_on_with_an_interrupted_training(run: RunStore, tmp_path: Path) -> None:
    options: dict[str, Any] = {"rounds": [1], "config": {**FAST, "epochs": 4, "save_steps": 5}}
    whole = train_adapter("sft", run.folder, out=tmp_path / "whole", **options)
    with pytest.raises(KeyboardInterrupt):
        train_adapter("sft", run.folder, out=tmp_path / "cut", progress=Interrupts(7), **options)
    assert not (tmp_path / "cut").exists()
    assert [path.name for path in (tmp_path / "cut.midway").iterdir()] == ["checkpoint-5"]
    # It says once where it goes on, and then takes the seven steps that are left.
    resumed = train_adapter("sft", run.folder, out=tmp_path / "cut", progress=Interrupts(1 + 12 - 5), **options)
    assert resumed.update.checkpoint.version == whole.update.checkpoint.version
    assert not (tmp_path / "cut.midway").exists()


def test_a_reward_model_of_a_runs_groups_judges(run: RunStore, tmp_path: Path, capsys: Any) -> None:
    """Trained on right and wrong letters, it puts the right one of each prompt first more often than not."""
    out = tmp_path / "reward"
    settings = ["--set", "config.dtype=float32", "--set", "config.epochs=12", "--set", "config.learning_rate=5e-3"]
    with pytest.raises(SystemExit) as ended:
        main(["-q", "train", "reward_model", "--data", str(run.folder), "--out", str(out), *settings])
    assert ended.value.code == 0
    assert 'name = "reward_model"' in capsys.readouterr().out
    context = RunContext(components=load_registry())
    judge = context.components.create("judge", "reward_model", {"path": str(out), "dtype": "float32"}, context)  # type: ignore[union-attr]
    groups = read_groups(run.round_folder(2) / "groups.parquet")
    right = []
    for scored, scores in zip(groups, judge.score([g.group for g in groups]), strict=True):
        for a, b in combinations(range(len(scores)), 2):
            if scored.rewards[a] != scored.rewards[b]:
                right.append((scores[a].value > scores[b].value) == (scored.rewards[a] > scored.rewards[b]))  # type: ignore[operator]
    assert sum(right) / len(right) > 0.8


def test_two_processes_train_from_the_command_line(run: RunStore, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "from harness.cli import main; main()",
        "-q",
        "train",
        "preference",
        "--data",
        str(run.folder),
        "--json",
    ]
    command += ["--set", "config.dtype=float32", "--set", "config.max_tokens_per_row=64"]
    shown = []
    for name, more in (("one", []), ("two", ["--launcher", "accelerate", "--num-processes", "2"])):
        done = subprocess.run([*command, "--out", str(tmp_path / name), *more], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        shown.append(json.loads(done.stdout)["metrics"])
    assert shown[1]["update/last_loss"] == pytest.approx(shown[0]["update/last_loss"], rel=1e-4)
    assert shown[1]["update/grad_norm"] == pytest.approx(shown[0]["update/grad_norm"], rel=1e-4)


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
    assert (first.lineage["rounds"], on_top.lineage["rounds"]) == ([1], [2])
    with pytest.raises(StoreError, match="round 9 has no scored groups"):
        train_adapter("sft", run.folder, out=tmp_path / "d", rounds=[9])
    with pytest.raises(ConfigError, match="goes on as it is"):
        train_adapter("sft", run.folder, out=tmp_path / "d", parent=tmp_path / "a", adapter={"r": 2})
    with pytest.raises(ConfigError, match="drawn from different policies"):
        train_adapter("sft", run.folder, out=tmp_path / "d", rounds=[1, 2])


def test_tokens_of_another_model_are_refused(run: RunStore, tmp_path: Path) -> None:
    stranger = str(build_tiny_model(tmp_path / "stranger", seed=1))
    with pytest.raises(ConfigError, match="those of another model"):
        train_adapter("sft", run.folder, out=tmp_path / "a", model=stranger)
    parent = run.round_folder(1) / "adapter"
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a", "completion": "b"}\n')
    with pytest.raises(StoreError, match="belongs to another model"):
        train_adapter("sft", rows, out=tmp_path / "a", model=stranger, parent=parent)


def test_groups_of_a_parquet_file_need_their_model(run: RunStore, tiny_model: Path, tmp_path: Path) -> None:
    file = run.round_folder(1) / "groups.parquet"
    with pytest.raises(ConfigError, match="its tokens are those of one model"):
        train_adapter("sft", file, out=tmp_path / "a", config=FAST)
    trained = train_adapter("sft", file, out=tmp_path / "a", config=FAST, model=str(tiny_model))
    assert trained.lineage["groups"] == 24
    foreign = tmp_path / "foreign.parquet"
    pq.write_table(pa.table({"prompt": ["a"], "chosen": ["b"]}), foreign)
    with pytest.raises(ConfigError, match="these are no stored groups"):
        train_adapter("sft", foreign, out=tmp_path / "b", model=str(tiny_model))


def test_the_command(tiny_model: Path, tmp_path: Path) -> None:
    rows = [{"prompt": f"say {c}", "chosen": c, "rejected": "no"} for c in "abc"]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))

    def harness(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from harness.cli.app import main; main()", "-q", "train", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)

    data = ("--data", "pairs.jsonl", "--model", str(tiny_model), "--set", "config.dtype=float32")
    planned = harness("preference", *data, "--out", "new/dpo", "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert not (tmp_path / "new").exists()
    done = harness("preference", *data, "--out", "new/dpo", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["metrics"]["update/pairs"] == 3
    assert json.loads(planned.stdout).items() <= json.loads(done.stdout).items()
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["dpo"]
    for wrong, says in (
        (("preference", *data, "--out", "new/dpo"), "it is there already"),
        (("preference", *data, "--out", "pairs.jsonl/x"), "cannot be written"),
        (("preference", "--data", "nothing", "--out", "x"), "there is no such run or file"),
        (("preference", *data, "--out", "x", "--set", "config=5"), "config = 5 is not a table"),
        (("preference", *data, "--out", "x", "--set", "learning_rate=1"), "unknown key 'learning_rate'"),
        (("unpaired", *data, "--out", "x", "--set", "config.desirable=median"), "neither a number from -1 to 1"),
        (("preference", *data, "--out", "x", "--parent", "pairs.jsonl"), "not a finished adapter"),
        (("preference", *data, "--out", "x", "--seed", "-1"), "-1"),
        (
            ("preference", *data, "--out", "x", "--set", 'config.objective="mixture"',
             "--set", 'config.objective_config.parts=[{objective="dpo"},{objective="nll"}]'),
            "'nll' is of family sft, not preference",
        ),
    ):  # fmt: skip
        failed = harness(*wrong)
        assert failed.returncode == 3, failed.stderr
        assert says in failed.stderr
        assert "Traceback" not in failed.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new", "pairs.jsonl"]


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
    with pytest.raises(ConfigError, match="this is no run"):
        train_adapter("sft", data, out=tmp_path / "a", rounds=[1], model=model)
    with pytest.raises(ConfigError, match="'grpo' is of family group"):
        train_adapter("sft", data, out=tmp_path / "a", model=model, config={"objective": "grpo"})
    with pytest.raises(HarnessError, match=r"unknown updater 'stf'.*Did you mean sft"):
        train_adapter("stf", data, out=tmp_path / "a", model=model)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rows.jsonl", "there"]
