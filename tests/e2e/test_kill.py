"""kill -9 at random moments changes nothing in the outcome."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from harness.store import RunStore


def command(config: Path, runs: Path) -> list[str]:
    arguments = ["-q", "loop", str(config), "--runs", str(runs), "--run", "r", "--resume", "--json"]
    return [sys.executable, "-c", "from harness.cli import main; main()", *arguments]


def finish(config: Path, runs: Path) -> dict[str, Any]:
    done = subprocess.run(command(config, runs), capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1, 2), done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def kill_often(config: Path, runs: Path, kills: int, span: float, seed: int) -> int:
    """Start (or resume) the loop and kill it after a random time, `kills` times; how many hit it while it worked."""
    moments = random.Random(seed)
    hits = 0
    for turn in range(kills):
        process = subprocess.Popen(
            command(config, runs), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        time.sleep(moments.uniform(0, span))
        hits += process.poll() is None
        # The whole session, as a power cut would: a child that lived on would finish the work.
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if RunStore.exists(runs / "r") and RunStore.open(runs / "r").committed() == 2 and hits < kills:
            # It finished before it could be killed often enough: begin again, keeping the count.
            (runs / "r").rename(runs / f"finished-{turn}")
    return hits


def check(tmp_path: Path, tiny_loop: dict[str, Any], kills: int) -> None:
    config = tmp_path / "loop.toml"
    config.write_text(tomli_w.dumps(tiny_loop))
    started = time.monotonic()
    whole = finish(config, tmp_path / "whole")
    span = time.monotonic() - started
    hits = kill_often(config, tmp_path / "killed", kills, span, seed=0)
    killed = finish(config, tmp_path / "killed")
    assert hits >= kills // 2
    assert killed["digest"] == whole["digest"]
    for folder in (tmp_path / "killed").glob("finished-*"):
        assert RunStore.open(folder).digest() == whole["digest"]
    assert not list((tmp_path / "killed" / "r").rglob("*.tmp"))


def test_five_kills(tmp_path: Path, tiny_loop: dict[str, Any]) -> None:
    check(tmp_path, tiny_loop, kills=5)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_fifty_kills(tmp_path: Path, tiny_loop: dict[str, Any]) -> None:
    check(tmp_path, tiny_loop, kills=50)
