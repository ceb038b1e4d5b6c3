"""Evaluations that are cut short go on to the same report."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eval_plans import planned, run
from tiny import write_suite

from harness import durable, evaluating, evaluations
from harness.config import GeneratorRef
from harness.errors import StoreError
from harness.eval_plan import EvalPlan
from harness.evaluations import EvalStore, find_evaluation


class Cut(BaseException):
    """A crash between two instructions."""


def cut_at(moment: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The evaluation ends just before the moment-th of the calls that make something lasting, or just after it."""
    left = [moment]

    def cutting(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] == -1:
                raise Cut
            result = real(*arguments, **options)
            left[0] -= 1
            if left[0] == -1:
                raise Cut
            return result

        return call

    monkeypatch.setattr(Path, "rename", cutting(Path.rename))
    monkeypatch.setattr(evaluations, "append_line", cutting(durable.append_line))
    monkeypatch.setattr(shutil, "rmtree", cutting(shutil.rmtree))


def test_cut_short_at_any_moment_it_goes_on_to_the_same_report(
    tmp_path: Path, plan: EvalPlan, monkeypatch: pytest.MonkeyPatch, sampled: Counter[str]
) -> None:
    monkeypatch.setattr(evaluating, "CHUNK", 12)
    whole = run(tmp_path / "whole", plan).evaluation.folders[0]
    sampled.clear()
    moment = 0
    while True:
        folder = tmp_path / f"cut-{moment}"
        with monkeypatch.context() as patched:
            cut_at(moment, patched)
            try:
                run(folder, plan)
                break
            except Cut:
                pass
        if EvalStore.exists(folder) and EvalStore.open(folder).started and not EvalStore.open(folder).finished:
            with pytest.raises(StoreError, match=r"unfinished.*--resume"):
                run(folder, plan)
        run(folder, plan, resume=True)
        assert (folder / "report.json").read_bytes() == (whole / "report.json").read_bytes()
        assert find_evaluation(str(folder)).groups("letters") == find_evaluation(str(whole)).groups("letters")
        assert not [path for path in folder.rglob("*") if path.suffix == ".tmp" or path.name == "parts"]
        # At most the chunk that was under way is sampled twice.
        assert sampled["letters"] + sampled["others"] <= 34 + 12
        sampled.clear()
        moment += 1
    assert moment > 2 * 2 * 6


def test_so_does_a_model_that_draws(
    tmp_path: Path, letters: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluating, "CHUNK", 8)
    drawing = GeneratorRef(name="transformers", config={"dtype": "float32"})
    plan = planned([letters], tiny_model, generator=drawing)
    whole = run(tmp_path / "whole", plan).evaluation
    with monkeypatch.context() as patched:
        cut_at(6, patched)
        with pytest.raises(Cut):
            run(tmp_path / "cut", plan)
    assert len(list((tmp_path / "cut" / "parts" / "letters").glob("*.parquet"))) in (1, 2)
    assert run(tmp_path / "cut", plan, resume=True).evaluation.groups("letters") == whole.groups("letters")
    assert len({c.text for group in whole.groups("letters") for c in group.group.completions}) > 20


def test_what_fails_before_anything_is_kept_needs_no_resuming(
    tmp_path: Path, plan: EvalPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(*arguments: Any) -> Any:
        raise StoreError("the engine does not start")

    with monkeypatch.context() as patched:
        patched.setattr(evaluating, "start_generator", absent)
        with pytest.raises(StoreError, match="does not start"):
            run(tmp_path / "e", plan)
    assert not run(tmp_path / "e", plan).already_finished


SLOW = """
import time
from pathlib import Path
import harness
from harness_plugins.generators.configs import ScriptedConfig
from harness_plugins.generators.scripted import ByteCodec, ScriptedGenerator


class Slow(ScriptedGenerator):
    def generate(self, prompts, **options):
        with (Path(__file__).parent / "sampled").open("a") as log:
            log.write(f"{len(prompts)}\\n")
        time.sleep(0.2)
        return super().generate(prompts, **options)


@harness.hookimpl
def harness_register_generators():
    return [harness.GeneratorSpec("slow", "", lambda config, context: Slow(config, ByteCodec()), ScriptedConfig)]
"""


def test_kill_9_at_random_moments_changes_nothing(tmp_path: Path, tiny_model: Path) -> None:
    suite = write_suite(tmp_path / "many", items=1100, train=1)
    (tmp_path / "slow.py").write_text(SLOW)
    arguments = ["--plugin", str(tmp_path / "slow.py"), "-q", "eval", "--suite", str(suite), "--model", str(tiny_model)]
    arguments += ["--generator", "slow", "--set", 'default=["a", "b"]', "--resume", "--json"]
    command = [sys.executable, "-c", "from harness.cli import main; main()", *arguments]
    moments, kills = random.Random(0), 2
    journal = tmp_path / "killed" / "journal.jsonl"
    for turn in range(kills):
        process = subprocess.Popen([*command, "--out", str(tmp_path / "killed")], stdout=subprocess.DEVNULL)
        while process.poll() is None and (not journal.exists() or len(journal.read_bytes().splitlines()) <= turn):
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.15))
        assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    reports = {}
    for name in ("killed", "whole"):
        log = tmp_path / "sampled"
        if name == "whole":
            log.unlink()
        done = subprocess.run([*command, "--out", str(tmp_path / name)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        reports[name] = (tmp_path / name / "report.json").read_bytes()
        chunks = [int(line) for line in log.read_text().split()]
        assert sum(chunks) == 1100 if name == "whole" else 1100 <= sum(chunks) <= 1100 + kills * evaluating.CHUNK
    assert reports["killed"] == reports["whole"]
