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
from harness.errors import HarnessError, StoreError
from harness.gate import GateConfig, gate
from harness.records import read_groups, read_report
from harness.store import RunStore
from harness.train import train_adapter

FAST = {"dtype": "float32", "learning_rate": 0.005, "epochs": 20}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> dict[str, Any]:
    """Two `sft` rounds, of which the first learns all of the target and the second unlearns a part of it."""
    folder = tmp_path_factory.mktemp("suites")
    target = write_suite(folder / "three-letters", items=60, train=40, letters="abc")
    beside = write_suite(folder / "others", items=12, train=1, role="monitor", letters="xy")
    stage = {"generator": "reference", "updater": "sft", "prompts": 24, "rounds": 2, "config": FAST}
    return {
        "suite": str(target),
        "beside": [str(beside)],
        "model": str(tiny_model),
        "generator": {"name": "transformers", "config": {"dtype": "float32"}},
        "adapter": {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": "all-linear"},
        "stages": [stage],
        "gate": {"looks": 1},
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, settings: dict[str, Any], tiny_model: Path) -> Path:
    """A run, `again` (trained on from its incumbent, as good), and `bad` (trained on wrong answers)."""
    folder = tmp_path_factory.mktemp("made")
    run = run_loop(settings, runs=folder, run="run")
    assert run.outcomes == ("promoted", "rejected")
    wrong = folder / "wrong.jsonl"
    rows = [{"prompt": f"train {i}: say {'abc'[i % 3]}", "completion": "zz"} for i in range(24)]
    wrong.write_text("\n".join(map(json.dumps, rows)))
    train_adapter("sft", wrong, out=folder / "bad", config={**FAST, "epochs": 4}, model=str(tiny_model))
    train_adapter("sft", run.folder, out=folder / "again", config={**FAST, "epochs": 1, "learning_rate": 1e-5})
    return folder


@pytest.fixture
def here(tmp_path: Path, made: Path) -> Path:
    """A copy of it, to write in."""
    return Path(shutil.copytree(made, tmp_path / "made"))


def stored(store: RunStore, index: int) -> Any:
    return read_report(store.round_folder(index) / "eval" / "report.json")


def test_decisions_are_the_gates_on_the_stored_reports(here: Path) -> None:
    """Round 1 started from the base, so all that know letters pass; round 2 from what round 1 had learnt."""
    store = RunStore.open(here / "run")
    before = (store.folder / "journal.jsonl").read_bytes()
    adapters = [here / "again", here / "bad", store.round_folder(2) / "adapter"]
    for index, standing, outcomes in (
        (1, 0, "promoted inconclusive promoted"),
        (2, 1, "inconclusive rejected rejected"),
    ):
        comparison = harness.compare(store.folder, adapters, round=index)
        assert comparison.incumbent_round == standing
        assert comparison.incumbent == stored(store, standing)
        for candidate, expected in zip(comparison.candidates, outcomes.split(), strict=True):
            report = stored(store, 2)
            if candidate.path.parent == here:
                report = read_report(store.folder / "compare" / candidate.version[:12] / "report.json")
                assert report.policy_version == candidate.version
            by_hand = gate(stored(store, standing), report, stored(store, 0), GateConfig(looks=1))
            assert (candidate.decision, candidate.decision.outcome) == (by_hand, expected)
    assert [c.name for c in comparison.candidates] == ["again", "bad", "round 2"]
    assert [(c.updater, c.objective) for c in comparison.candidates] == [("sft", "nll")] * 3
    assert (store.folder / "journal.jsonl").read_bytes() == before
    assert comparison.best is None
    assert harness.compare(store.folder, adapters).round == 2


def test_an_evaluation_equals_the_loops_and_is_made_once(
    here: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To a run that stopped after round 1, round 2's adapter is a stranger: what it samples is what the loop did."""
    store = RunStore.open(here / "run")
    run_loop({**settings, "stages": [{**settings["stages"][0], "rounds": 1}]}, runs=here, run="short")
    [candidate] = harness.compare(here / "short", [store.round_folder(2) / "adapter"]).candidates
    folder = here / "short" / "compare" / candidate.version[:12]
    assert candidate.report == stored(store, 2)
    for suite in ("three-letters", "others"):
        assert read_groups(folder / f"{suite}.parquet") == read_groups(
            store.round_folder(2) / "eval" / f"{suite}.parquet"
        )

    def refuse(*_: object) -> None:
        raise AssertionError("an engine was started")

    monkeypatch.setattr("harness.comparison.start_generator", refuse)
    assert harness.compare(here / "short", [store.round_folder(2) / "adapter"]).candidates == (candidate,)
    (folder / "report.json").write_text("{")
    with pytest.raises(StoreError, match=r"report is damaged.*Delete that folder"):
        harness.compare(here / "short", [store.round_folder(2) / "adapter"])


def test_one_engine_for_all_and_an_interrupted_comparison_goes_on(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness import comparison

    started, evaluated = [], []
    start, evaluate = comparison.start_generator, comparison.evaluate_suites

    def counted_start(*arguments: Any) -> Any:
        started.append(arguments)
        return start(*arguments)

    def interrupted(*arguments: Any, policy_version: str, **named: Any) -> Any:
        evaluated.append(policy_version)
        if len(evaluated) == 2:
            raise KeyboardInterrupt
        return evaluate(*arguments, policy_version=policy_version, **named)

    monkeypatch.setattr(comparison, "start_generator", counted_start)
    monkeypatch.setattr(comparison, "evaluate_suites", interrupted)
    with pytest.raises(KeyboardInterrupt):
        harness.compare(here / "run", [here / "again", here / "bad"])
    assert len(started) == 1
    found = harness.compare(here / "run", [here / "again", here / "bad"]).candidates
    again, bad = (candidate.version for candidate in found)
    assert evaluated == [again, bad, bad]


def test_a_kept_report_of_another_measurement_is_not_used(here: Path) -> None:
    run = here / "run"
    [candidate] = harness.compare(run, [here / "bad"]).candidates
    path = run / "compare" / candidate.version[:12] / "report.json"
    whole = path.read_text()
    for changed in (whole.replace(candidate.version, "0" * 64), whole.replace('"fingerprint": "', '"fingerprint": "0')):
        path.write_text(changed)
        assert harness.compare(run, [here / "bad"]).candidates == (candidate,)
        assert path.read_text() == whole
    assert len(list(path.parent.parent.iterdir())) == 1


def test_what_does_not_fit_is_refused_before_anything_is_sampled(
    here: Path, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = here / "run"
    stranger = str(build_tiny_model(tmp_path / "stranger", seed=1))
    train_adapter("sft", here / "wrong.jsonl", out=here / "foreign", config={"dtype": "float32"}, model=stranger)
    damaged = Path(shutil.copytree(here / "bad", here / "damaged"))
    (damaged / "adapter_config.json").write_text("{}")
    misnamed = Path(shutil.copytree(here / "bad", here / "misnamed"))
    shutil.copy(here / "again" / "training.json", misnamed)
    for adapters, arguments, says in (
        ([here / "again", here / "foreign"], {}, "belongs to another model"),
        ([here / "again", damaged], {}, "not those that were sealed"),
        ([misnamed], {}, "record of another adapter"),
        ([], {}, "nothing to compare"),
        ([here / "bad"], {"round": 9}, "round 9 has no scored groups"),
        ([here / "bad"], {"alpha": 0.0}, "alpha = 0.0"),
    ):
        with pytest.raises(HarnessError, match=says):
            harness.compare(run, adapters, **arguments)
    header = json.loads((run / "run.json").read_text())
    for path, value, says in (
        (("suites", "others", "margins"), [0.5, 0.5, None], "suite others is not what.*margins changed"),
        (("suites", "three-letters", "items"), "0", "suite three-letters is not what.*items changed"),
        (
            ("components", "generator transformers"),
            "harness-align 0.0.0",
            "was sampled with that of harness-align 0.0.0",
        ),
        (("model",), "0" * 64, "not the one that the run was made with"),
    ):
        changed = json.loads(json.dumps(header))
        node = changed["identity"]
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value
        (run / "run.json").write_text(json.dumps(changed))
        with pytest.raises(StoreError, match=says):
            harness.compare(run, [here / "again"])
    assert not (run / "compare").exists()


def test_a_stricter_level_is_the_gates(here: Path) -> None:
    strict = harness.compare(here / "run", [here / "again"], round=1, alpha=0.001).candidates[0]
    usual = harness.compare(here / "run", [here / "again"], round=1).candidates[0]
    assert strict.decision.checks[0].lower is not None
    assert usual.decision.checks[0].lower is not None
    assert strict.decision.checks[0].lower < usual.decision.checks[0].lower


def test_the_command(here: Path) -> None:
    shutil.copytree(here / "again", here / "other" / "again")

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-c", "from harness.cli.app import main; main()", "-q", "compare", "run"]
        return subprocess.run(
            [*program, *arguments, "--runs", "."], cwd=here, capture_output=True, text=True, timeout=300
        )

    promoted = command("again", "bad", "other/again", "--round", "1")
    assert promoted.returncode == 0, promoted.stderr
    lines = promoted.stdout.splitlines()
    assert "2 candidates at level 0.05 each" in promoted.stdout
    assert "--alpha 0.025 holds it to 5.0%" in promoted.stdout
    assert "other/again: the same adapter as made/again, evaluated once." in lines
    assert "harness export again --model" in lines[-1]
    [incumbent] = [line for line in lines if "incumbent (round 0)" in line]
    assert incumbent.endswith("stands")
    rejected = command("bad", "--json")
    assert rejected.returncode == 1, rejected.stderr
    shown = json.loads(rejected.stdout)
    assert (shown["round"], shown["incumbent"]["round"], shown["best"]) == (2, 1, None)
    assert shown["candidates"][0]["decision"]["outcome"] == "rejected"
    undecided = command("bad", "again")
    assert undecided.returncode == 2, undecided.stderr
    assert "none of these would be" in undecided.stdout.splitlines()[-1]
    assert sorted(path.name for path in (here / "run" / "compare").iterdir()) == sorted(
        {c["version"][:12] for c in json.loads(command("bad", "again", "--json").stdout)["candidates"]}
    )
