"""What is exported is what was trained, and its card says where it comes from."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from peft import PeftModel
from tiny import build_tiny_model, write_suite
from transformers import AutoModelForCausalLM, AutoTokenizer

import harness
from harness.api import run_loop
from harness.checkpoints import open_checkpoint
from harness.errors import ConfigError, HarnessError, StoreError
from harness.hookspecs import hookimpl
from harness.measuring import round_report
from harness.models import check_model_folder
from harness.plugins import Origin, load_registry
from harness.records import read_decision
from harness.specs import ExporterSpec
from harness.store import RunStore
from harness.train import train_adapter

FAST = {"dtype": "float32", "learning_rate": 0.005, "epochs": 20}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A run of three rounds (promoted, rejected, rejected), and `alone`, trained from its first adapter."""
    folder = tmp_path_factory.mktemp("made")
    target = write_suite(folder / "three-letters", items=60, train=40, letters="abc")
    beside = write_suite(folder / "others", items=12, train=1, role="monitor", letters="xy")
    settings = {
        "suite": str(target),
        "beside": [str(beside)],
        "model": str(tiny_model),
        "generator": {"name": "transformers", "config": {"dtype": "float32"}},
        "adapter": {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": "all-linear"},
        "stages": [
            {"generator": "reference", "updater": "sft", "prompts": 24, "rounds": 2, "config": FAST},
            {"updater": "group", "prompts": 2, "n": 1, "config": {"dtype": "float32"}},
        ],
    }
    run = run_loop(settings, runs=folder, run="run")
    assert run.outcomes == ("promoted", "rejected", "rejected")  # the last has no signal, hence no adapter
    train_adapter("sft", run.folder, rounds=[2], out=folder / "alone", config={**FAST, "epochs": 1})
    return folder


def adapted(model: Path, adapter: Path) -> Any:
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    return PeftModel.from_pretrained(base, adapter).eval()


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(torch.arange(5, 45)[None]).logits
    return found


def test_a_merged_model_loads_alone_and_is_base_with_adapter(made: Path, tiny_model: Path, tmp_path: Path) -> None:
    harness.export_model(made / "run", out=tmp_path / "out", config={"dtype": "float32"})
    check_model_folder(tmp_path / "out")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto")
    assert merged.dtype == torch.float32
    expected = logits(adapted(tiny_model, made / "run/rounds/001/adapter"))
    bare = logits(AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32))
    assert (logits(merged) - expected).abs().max() < 1e-5
    assert (bare - expected).abs().max() > 0.1
    messages = [{"role": "user", "content": "say a"}]
    tokenizers = [AutoTokenizer.from_pretrained(path) for path in (tmp_path / "out", tiny_model)]
    ours, theirs = (t.apply_chat_template(messages, add_generation_prompt=True) for t in tokenizers)
    assert ours == theirs
    generation = [json.loads((path / "generation_config.json").read_text()) for path in (tmp_path / "out", tiny_model)]
    assert generation[0]["eos_token_id"] == generation[1]["eos_token_id"]
    harness.export_model(made / "run", out=tmp_path / "half")
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "half", dtype="auto").dtype == torch.bfloat16


def test_a_merged_model_scores_as_its_adapter_did(made: Path, tmp_path: Path) -> None:
    harness.export_model(made / "run", out=tmp_path / "out", config={"dtype": "float32"})
    generator = harness.GeneratorRef(name="transformers", config={"dtype": "float32"})
    report, _ = harness.evaluate(str(made / "three-letters"), model=str(tmp_path / "out"), generator=generator)
    stored = round_report(RunStore.open(made / "run"), 1).suites[0].items
    scores = {item.id: item.score for item in report.suites[0].items}
    assert len(stored) >= len(scores) / 2
    assert [scores[item.id] for item in stored] == [item.score for item in stored]


def test_an_exported_adapter_is_the_sealed_one_with_a_tokenizer(made: Path, tiny_model: Path, tmp_path: Path) -> None:
    lineage = harness.export_model(made / "run", out=tmp_path / "out", round=2, format="adapter")
    assert open_checkpoint(tmp_path / "out").version == lineage.version
    again = logits(adapted(tiny_model, tmp_path / "out"))
    assert torch.equal(again, logits(adapted(tiny_model, made / "run/rounds/002/adapter")))
    ids = AutoTokenizer.from_pretrained(tmp_path / "out").encode("say a")
    assert ids == AutoTokenizer.from_pretrained(tiny_model).encode("say a")


def test_the_card_of_a_run_has_the_numbers_of_its_rounds(made: Path, tiny_model: Path, tmp_path: Path) -> None:
    store = RunStore.open(made / "run")
    lineage = harness.export_model(made / "run", out=tmp_path / "out", round=2)
    text = (tmp_path / "out" / "README.md").read_text()
    card = ModelCard(text)
    assert (card.data.base_model, card.data.library_name) == ("tiny", "transformers")
    assert card.data.license is None
    assert {"sft", "nll"} <= set(card.data.tags)
    assert [step.round for step in lineage.steps] == [1, 2]
    assert [step.parent for step in lineage.steps] == ["base", lineage.steps[0].version]
    assert lineage.steps[1].version == open_checkpoint(store.round_folder(2) / "adapter").version
    assert [(s.groups, s.completions, dict(s.prompts)) for s in lineage.steps] == [(24, 24, {"three-letters": 24})] * 2
    for index, step in enumerate(lineage.steps, start=1):
        decision = read_decision(store.round_folder(index) / "decision.json")
        assert decision.sentence in text
        check = next(check for check in decision.checks if check.name.startswith("target"))
        before, after = (round_report(store, i).suites[0] for i in (index - 1, index))
        assert before.mean is not None
        assert after.mean is not None
        bounds = f"{100 * check.estimate:+.1f} [{100 * check.lower:+.1f}, {100 * check.upper:+.1f}]"
        assert f"| three-letters | target | {100 * before.mean:.1f} | {100 * after.mean:.1f} | {bounds} |" in text
        assert step.figures["reward/mean"] == 1.0
    for fact in (store.digest(), store.identity["model"], lineage.version, "| three-letters | 1 | target | none |"):
        assert fact in text
    assert "The gate did not promote it: rejected." in text
    assert "| exact | harness-align" in text
    assert "`learning_rate` 0.005" in text
    assert str(made) not in text  # whose machine it was made on is nobody's business
    facts = json.loads((tmp_path / "out" / "lineage.json").read_text())
    assert facts["steps"] == json.loads(json.dumps(asdict(lineage)["steps"]))
    assert facts["run_digest"] == store.digest()


def test_only_promoted_rounds_are_in_the_line(made: Path, tmp_path: Path) -> None:
    """Round 3 would go on from round 1: what was rejected between them is no part of it."""
    lineage = harness.export_model(made / "run", out=tmp_path / "out", format="adapter")
    assert [(step.round, step.outcome) for step in lineage.steps] == [(1, "promoted")]
    assert harness.export_model(made / "run/rounds/001/adapter", out=tmp_path / "same", format="adapter") == lineage
    assert "did not promote" not in (tmp_path / "out" / "README.md").read_text()


def test_a_licence_that_cannot_be_looked_up_is_not_made_up(made: Path, tmp_path: Path) -> None:
    shutil.move(made / "others", tmp_path / "others")
    try:
        harness.export_model(made / "run", out=tmp_path / "out", format="adapter")
    finally:
        shutil.move(tmp_path / "others", made / "others")
    text = (tmp_path / "out" / "README.md").read_text()
    assert "| others | 1 | monitor | not known |" in text
    assert "| three-letters | 1 | target | none |" in text


def test_a_lone_adapter_says_what_its_record_has(made: Path, tiny_model: Path, tmp_path: Path) -> None:
    lineage = harness.export_model(made / "alone", out=tmp_path / "out", format="adapter")
    record = json.loads((made / "alone" / "training.json").read_text())
    text = (tmp_path / "out" / "README.md").read_text()
    assert ModelCard(text).data.library_name == "peft"
    [step] = lineage.steps
    assert (step.updater, step.objectives, step.source) == ("sft", ("nll",), "run, round 2")
    assert step.figures == record["metrics"]
    assert f"Digest of the data: `{record['data_digest']}`" in text
    assert f"goes on from adapter `{record['parent'][:12]}`, whose own training is not recorded here" in text
    assert "Not evaluated by a gate" in text
    bare = Path(shutil.copytree(made / "alone", tmp_path / "bare"))
    (bare / "training.json").unlink()
    with pytest.raises(ConfigError, match=r"which model it is of.*--model"):
        harness.export_model(bare, out=tmp_path / "b", format="adapter")
    harness.export_model(bare, out=tmp_path / "b", format="adapter", model=str(tiny_model))
    assert "Not known: no record of it lies beside the adapter." in (tmp_path / "b" / "README.md").read_text()


def test_what_is_wrong_is_said_before_anything_is_written(made: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "damaged").mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors", "checkpoint.json"):
        shutil.copy(made / "alone" / name, tmp_path / "damaged")
    (tmp_path / "damaged" / "training.json").write_text('{"version": "0"}')
    before = sorted(path.name for path in tmp_path.iterdir())
    for source, arguments, says in (
        (made / "run", {"out": tmp_path / "there"}, "it is there already"),
        (made / "run", {"round": 3}, "round 3 has no adapter.*Rounds that have one: 1, 2"),
        (made / "run", {"format": "gguf"}, "unknown exporter 'gguf'"),
        (made / "run", {"config": {"dtype": "int3"}}, "dtype = 'int3'"),
        (made / "alone", {"round": 1}, "this is no run"),
        (made / "three-letters", {}, "there is no such run or adapter"),
        (tmp_path / "damaged", {}, "damaged .*updater missing"),
    ):
        with pytest.raises(HarnessError, match=says):
            harness.export_model(source, **{"out": tmp_path / "out", **arguments})
    stranger = build_tiny_model(tmp_path / "stranger", seed=1)
    with pytest.raises(StoreError, match="not the one that the run was made with"):
        harness.export_model(made / "run", out=tmp_path / "out", model=str(stranger))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*before, "stranger"])


def test_a_third_partys_exporter_and_one_that_fails(made: Path, tmp_path: Path) -> None:
    class Note:
        def export(self, checkpoint: Any, out: Path) -> None:
            (out / "version.txt").write_text(checkpoint.version)

    class Full:
        def export(self, checkpoint: Any, out: Path) -> None:
            (out / "half").write_text("half")
            raise OSError(28, "No space left on device")

    class Plugin:
        @hookimpl
        def harness_register_exporters(self) -> list[ExporterSpec]:
            return [
                ExporterSpec("note", "its version", lambda config, context: Note(), library="paper"),
                ExporterSpec("full", "no room", lambda config, context: Full()),
            ]

    registry = load_registry()
    registry.add(Plugin(), Origin("plug", "dist-plug", "1.0"))
    lineage = harness.export_model(made / "run", out=tmp_path / "out", format="note", registry=registry)
    assert (tmp_path / "out" / "version.txt").read_text() == lineage.version
    assert "It is loaded with paper." in (tmp_path / "out" / "README.md").read_text()
    with pytest.raises(StoreError, match="No space left"):
        harness.export_model(made / "run", out=tmp_path / "full", format="full", registry=registry)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_command(made: Path, tmp_path: Path) -> None:
    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-c", "from harness.cli.app import main; main()", "-q", *arguments]
        return subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=300)

    done = command("export", "run", "--runs", str(made), "--out", "out", "--set", "dtype=float32", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"][0]["outcome"] == "promoted"
    plain = command("export", str(made / "alone"), "--out", "alone", "--format", "adapter")
    assert plain.returncode == 0, plain.stderr
    assert "not evaluated by a gate" in plain.stdout
    listed = json.loads(command("plugins", "--json").stdout)["components"]
    assert {c["name"] for c in listed if c["kind"] == "exporter"} == {"merged", "adapter"}
    refused = command("export", "absent", "--out", "x")
    assert (refused.returncode, "Traceback" in refused.stderr) == (3, False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone", "out"]
