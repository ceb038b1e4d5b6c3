"""Evaluations are kept as they are made: found again, taken over, and gone on with after a crash."""

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
from tiny import write_suite

import harness
from harness import durable, evaluating, evaluations
from harness.config import EvalConfig, GeneratorRef
from harness.errors import StoreError
from harness.eval_plan import EvalPlan, plan_evaluation
from harness.evaluations import EvalStore, find_evaluation
from harness.plugins import load_registry
from harness.protocols import SilentProgress

SCRIPT = {"default": ["a", "b", "c"], "pick": "random"}
REGISTRY = load_registry(third_party=False)


@pytest.fixture
def plan(letters: Path, tmp_path: Path, tiny_model: Path) -> EvalPlan:
    """Two suites, three answers to each item."""
    others = write_suite(tmp_path / "others", items=10, role="monitor", letters="ab")
    return planned([letters, others], tiny_model)


def planned(suites: list[Path], model: Path, *, script: dict[str, Any] | None = None, **options: Any) -> EvalPlan:
    config = EvalConfig(epochs=3, temperature=1.0)
    generator = GeneratorRef(name="scripted", config=script or SCRIPT)
    named = {"model": str(model), "generator": generator, "config": config, **options}
    return plan_evaluation([str(suite) for suite in suites], registry=REGISTRY, **named)


def run(folder: Path, plan: EvalPlan, **options: Any) -> evaluating.Evaluated:
    [done] = evaluating.run_evaluations({folder: plan}, registry=REGISTRY, progress=SilentProgress(), **options)
    return done


@pytest.fixture
def sampled(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts the items that are sampled, by suite, and the starts of an engine."""
    counts: Counter[str] = Counter()
    sample, start = evaluating.sample_items, evaluating.start_generator

    def counted(suite: Any, items: Any, *arguments: Any) -> Any:
        counts[suite.name] += len(items)
        return sample(suite, items, *arguments)

    def started(*arguments: Any) -> Any:
        counts["engine"] += 1
        return start(*arguments)

    monkeypatch.setattr(evaluating, "sample_items", counted)
    monkeypatch.setattr(evaluating, "start_generator", started)
    return counts


# ---------------------------------------------------------------- kept and found again


def test_the_same_again_is_found_and_nothing_is_sampled(tmp_path: Path, plan: EvalPlan, sampled: Counter[str]) -> None:
    first = run(tmp_path / "e", plan)
    assert sampled == {"letters": 24, "others": 10, "engine": 1}
    again = run(tmp_path / "e", plan)
    assert sampled == {"letters": 24, "others": 10, "engine": 1}
    assert (first.already_finished, again.already_finished) == (False, True)
    assert again.evaluation.report == first.evaluation.report
    in_memory, _ = harness.evaluate(
        [plan.named["letters"], plan.named["others"]],
        model=plan.model.name,
        generator=plan.generator,
        config=plan.config,
        registry=REGISTRY,
    )
    assert again.evaluation.report == in_memory


def test_the_name_depends_on_all_that_counts_and_on_nothing_else(
    tmp_path: Path, letters: Path, tiny_model: Path, plan: EvalPlan
) -> None:
    one = planned([letters], tiny_model)
    assert one.name.startswith("tiny-letters-")
    moved = Path(shutil.copytree(letters, tmp_path / "elsewhere" / "letters"))
    assert planned([moved], tiny_model).name == one.name
    others = [
        planned([letters], tiny_model, seed=1),
        planned([letters], tiny_model, config=EvalConfig(epochs=2, temperature=1.0)),
        planned([letters], tiny_model, judges={"exact": {"match": "contains"}}),
        planned([letters], tiny_model, script={"default": ["b"]}),
        plan,
    ]
    manifest = letters / "suite.toml"
    manifest.write_text(manifest.read_text().replace('version = "1"', 'version = "1"\nmargin = 0.2'))
    others.append(planned([letters], tiny_model))
    (letters / "items.jsonl").write_text((letters / "items.jsonl").read_text().replace("say a", "say aa"))
    others.append(planned([letters], tiny_model))
    assert len({one.name, *(other.name for other in others)}) == 8


def test_a_suite_that_another_evaluation_has_is_taken_over(
    tmp_path: Path, letters: Path, tiny_model: Path, plan: EvalPlan, sampled: Counter[str]
) -> None:
    evals = tmp_path / "evals"
    alone = run(evals / "alone", planned([letters], tiny_model), evals=evals)
    both = run(evals / "both", plan, evals=evals)
    assert both.taken_over == {"letters": "alone"}
    assert sampled == {"letters": 24, "others": 10, "engine": 2}
    assert both.evaluation.report.suite("letters") == alone.evaluation.report.suite("letters")
    assert both.evaluation.report == run(tmp_path / "fresh", plan).evaluation.report
    seeded = run(evals / "seeded", planned([letters], tiny_model, seed=1), evals=evals)
    assert not seeded.taken_over


def test_what_is_damaged_is_not_taken_over(
    tmp_path: Path, letters: Path, tiny_model: Path, plan: EvalPlan, sampled: Counter[str]
) -> None:
    evals = tmp_path / "evals"
    alone = run(evals / "alone", planned([letters], tiny_model))
    path = alone.evaluation.folder / "letters.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    both = run(evals / "both", plan, evals=evals)
    assert not both.taken_over
    assert sampled["letters"] == 48


# ---------------------------------------------------------------- interrupted


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
    monkeypatch.setattr(evaluating, "CHUNK", 8)
    whole = run(tmp_path / "whole", plan).evaluation.folder
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
        if EvalStore.exists(folder) and not EvalStore.open(folder).finished:
            with pytest.raises(StoreError, match=r"unfinished.*--resume"):
                run(folder, plan)
        run(folder, plan, resume=True)
        assert (folder / "report.json").read_bytes() == (whole / "report.json").read_bytes()
        assert find_evaluation(str(folder)).groups("letters") == find_evaluation(str(whole)).groups("letters")
        assert not [path for path in folder.rglob("*") if path.suffix == ".tmp" or path.name == "parts"]
        # At most the chunk that was under way is sampled twice.
        assert sampled["letters"] + sampled["others"] <= 34 + 8
        sampled.clear()
        moment += 1
    assert moment > 2 * 2 * 8


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
    moments, kills = random.Random(0), 3
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


def test_two_at_once_are_refused_and_so_is_another_identity(
    tmp_path: Path, plan: EvalPlan, letters: Path, tiny_model: Path
) -> None:
    store = EvalStore.create(tmp_path / "e", plan.identity, named=plan.named, versions={})
    with store.lock(), pytest.raises(StoreError, match="another process"):
        run(tmp_path / "e", plan, resume=True)
    with pytest.raises(StoreError, match=r"another evaluation: its seed, suites differ"):
        run(tmp_path / "e", planned([letters], tiny_model, seed=1), resume=True)


def test_a_damaged_part_is_not_gone_on_with(tmp_path: Path, plan: EvalPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any) -> Any:
        raise Cut

    with monkeypatch.context() as patched:
        patched.setattr(evaluating, "judge_items", broken)
        with pytest.raises(Cut):
            run(tmp_path / "e", plan)
    part = tmp_path / "e" / "parts" / "letters" / "000.parquet"
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(StoreError, match=r"000\.parquet: missing, or not what was stored"):
        run(tmp_path / "e", plan, resume=True)
