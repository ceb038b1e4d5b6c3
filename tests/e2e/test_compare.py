"""Comparing candidates: the run's own gate, evaluated once, and a journal that stays as it was."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny import build_tiny_model, write_suite

import harness
from harness.api import run_loop
from harness.comparison import compare
from harness.errors import ConfigError, HarnessError, StoreError
from harness.gate import GateConfig, gate
from harness.records import read_groups, read_report
from harness.store import RunStore
from harness.train import train_adapter

FAST = {"dtype": "float32", "learning_rate": 1e-3}
Settings = dict[str, Any]


@pytest.fixture
def run(tmp_path: Path, tiny_loop: Settings) -> RunStore:
    """A base that knows half of the answers, an incumbent that knows two thirds, and a suite beside that all know."""
    beside = write_suite(tmp_path / "others", items=60, role="regression", letters="xy")
    tiny_loop["beside"] = [str(beside)]
    answers = {
        "base": ["no"],
        "*": ["$reference"],
    }
    by_item = {f"item-{i}": ["$reference"] for i in range(60)}
    tiny_loop["generator"] = {"name": "scripted", "config": {"by_version": answers}}
    tiny_loop["stages"] = [tiny_loop["stages"][0]]
    del by_item
    result = run_loop(tiny_loop, runs=tmp_path / "runs")
    return RunStore.open(result.folder)
