"""An update in two processes is the update of one."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_training import scored_group

from harness.config import LauncherConfig
from harness.errors import ConfigError, HarnessError, UpdateError
from harness.launching import LaunchedUpdater, WorkerError, make_updater
from harness.plugins import Sources, load_registry
from harness.protocols import RunContext
from harness.types import Update

REWARDS = [(1.0, 0.0, 0.5), (0.0, 1.0, 0.2), (0.1, 0.9, 0.3), (1.0, 0.0, 0.0), (0.4, 0.6, 1.0)]
GROUPS = [scored_group(i, rewards) for i, rewards in enumerate(REWARDS)]
TWO = LauncherConfig(num_processes=2)
# Small rows, so that there are several to share out, and their number is odd.
SETTINGS = {"dtype": "float32", "groups_per_step": 3, "max_tokens_per_row": 40, "learning_rate": 1e-3, "epochs": 2}


BROKEN = """
import harness

class Broken:
    def update(self, groups, *, parent, out, seed):
        1 / 0

@harness.hookimpl
def harness_register_updaters():
    return [harness.UpdaterSpec("broken", "Breaks", lambda config, context: Broken(), launchable=True)]
"""
SLEEPY = """
import os, time
from pathlib import Path
import harness

class Sleepy:
    def update(self, groups, *, parent, out, seed):
        (Path({folder!r}) / f"pid.{{os.environ['RANK']}}").write_text(str(os.getpid()))
        time.sleep(600)

@harness.hookimpl
def harness_register_updaters():
    return [harness.UpdaterSpec("sleepy", "Sleeps", lambda config, context: Sleepy(), launchable=True)]
"""
STARTER = """
from pathlib import Path

from harness.config import LauncherConfig
from harness.launching import make_updater
from harness.plugins import load_registry
from harness.protocols import ModelRef, RunContext


def start(file, model, folder):
    registry = load_registry(local_files=[Path(file)])
    context = RunContext(model=ModelRef("tiny", Path(model), "f" * 64), components=registry)
    updater = make_updater(registry, "sleepy", {}, context, LauncherConfig(num_processes=2), where="test")
    updater.update([], parent=None, out=Path(folder) / "out", seed=0)
"""


def run(context: RunContext, name: str, settings: dict[str, Any], out: Path, launcher: LauncherConfig | None) -> Update:
    updater = make_updater(load_registry(), name, settings, context, launcher, where="test")
    return updater.update(GROUPS, parent=None, out=out, seed=5)


@pytest.fixture
def context(context: RunContext) -> RunContext:
    return dataclasses.replace(context, components=load_registry())


@pytest.mark.parametrize(
    ("name", "settings"),
    [("group", {"objective": "dapo", "old_logps": "recompute"}), ("unpaired", {"objective": "kto"})],
)
def test_two_processes_equal_one(context: RunContext, tmp_path: Path, name: str, settings: dict[str, Any]) -> None:
    one = run(context, name, {**SETTINGS, **settings}, tmp_path / "one", None)
    two = run(context, name, {**SETTINGS, **settings}, tmp_path / "two", TWO)
    assert (one.metrics["update/processes"], two.metrics["update/processes"]) == (1, 2)
    for metric, value in one.metrics.items():
        if metric not in ("update/packed_tokens_per_second", "update/processes"):
            assert two.metrics[metric] == pytest.approx(value, rel=1e-4, abs=1e-6), metric
    weights = [load_file(update.checkpoint.path / "adapter_model.safetensors") for update in (one, two)]
    assert weights[0].keys() == weights[1].keys()
    for key, value in weights[0].items():
        torch.testing.assert_close(weights[1][key], value, rtol=1e-4, atol=1e-6)


def test_early_stopping_does_not_go_with_a_launcher(context: RunContext) -> None:
    with pytest.raises(ConfigError, match="does not go with a launcher"):
        make_updater(load_registry(), "sft", {"early_stopping": "loss"}, context, TWO, where="test")
    with pytest.raises(ConfigError, match="runs in one process"):
        make_updater(load_registry(), "reward_model", {}, context, TWO, where="test")


def test_a_bug_in_a_worker_is_a_bug(context: RunContext, tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text(BROKEN)
    registry = load_registry(local_files=[file])
    updater = make_updater(registry, "broken", {}, context, TWO, where="test")
    with pytest.raises(WorkerError, match="ZeroDivisionError"):
        updater.update(GROUPS, parent=None, out=tmp_path / "out", seed=0)


def test_workers_end_with_what_they_work_for(context: RunContext, tmp_path: Path) -> None:
    """An interrupt reaches them through the launcher; a kill -9 of this process they see for themselves."""
    file = tmp_path / "sleepy.py"
    file.write_text(SLEEPY.format(folder=str(tmp_path)))
    program = f"""
from tests_of_workers import start
start({str(file)!r}, {str(context.require_model().path)!r}, {str(tmp_path)!r})
"""
    (tmp_path / "tests_of_workers.py").write_text(STARTER)
    process = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path)
    try:
        assert within(180, lambda: len(list(tmp_path.glob("pid.*"))) == 2)
        workers = [int(path.read_text()) for path in tmp_path.glob("pid.*")]
        process.kill()
        process.wait()
        assert within(20, lambda: not any(alive(pid) for pid in workers))
    finally:
        process.kill()


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.2)
    return holds()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_what_goes_wrong_in_a_worker_is_what_goes_wrong(context: RunContext, tmp_path: Path) -> None:
    flat = [scored_group(i, (1.0, 1.0)) for i in range(2)]
    updater = LaunchedUpdater("group", SETTINGS, context, TWO, Sources())
    with pytest.raises(UpdateError, match="no group has signal"):
        updater.update(flat, parent=None, out=tmp_path / "out", seed=0)


def test_a_launcher_that_fails_is_quoted(context: RunContext, tmp_path: Path) -> None:
    file = tmp_path / "accelerate.yaml"
    file.write_text("compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_CPU\nno_such_key: 1\n")
    updater = LaunchedUpdater("group", SETTINGS, context, LauncherConfig(config_file=file), Sources())
    with pytest.raises(HarnessError, match="no_such_key"):
        updater.update(GROUPS, parent=None, out=tmp_path / "out", seed=0)


@pytest.mark.parametrize(
    ("launcher", "message"),
    [(LauncherConfig(), "how many processes"), (LauncherConfig(config_file=Path("nowhere.yaml")), "nowhere.yaml")],
)
def test_an_incomplete_launcher_is_refused(context: RunContext, launcher: LauncherConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_updater(load_registry(), "group", SETTINGS, context, launcher, where="test")
