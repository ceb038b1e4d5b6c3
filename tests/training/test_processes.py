"""An update in two processes is the update of one."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_training import scored_group

from harness.config import LauncherConfig
from harness.errors import ConfigError, HarnessError, UpdateError
from harness.launching import LaunchedUpdater, make_updater
from harness.plugins import Sources, load_registry
from harness.protocols import RunContext, SilentProgress
from harness.types import Update

REWARDS = [(1.0, 0.0, 0.5), (0.0, 1.0, 0.2), (0.1, 0.9, 0.3), (1.0, 0.0, 0.0), (0.4, 0.6, 1.0)]
GROUPS = [scored_group(i, rewards) for i, rewards in enumerate(REWARDS)]
TWO = LauncherConfig(num_processes=2)
# Small rows, so that there are several to share out, and their number is odd.
SETTINGS = {"dtype": "float32", "groups_per_step": 3, "max_tokens_per_row": 40, "learning_rate": 1e-3, "epochs": 2}


class Heard(SilentProgress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


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
    for metric, value in one.metrics.items():
        if metric != "update/packed_tokens_per_second":
            assert two.metrics[metric] == pytest.approx(value, rel=1e-4, abs=1e-6), metric
    weights = [load_file(update.checkpoint.path / "adapter_model.safetensors") for update in (one, two)]
    assert weights[0].keys() == weights[1].keys()
    for key, value in weights[0].items():
        torch.testing.assert_close(weights[1][key], value, rtol=1e-4, atol=1e-6)


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
