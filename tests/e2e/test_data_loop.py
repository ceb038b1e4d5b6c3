"""Loops on dirty data: what the data step leaves out is not trained on, and a loop that was stopped there goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from data_filters import write_filters

from harness import data_step
from harness.api import run_loop
from harness.errors import ConfigError, HarnessError
from harness.export import export_model
from harness.plugins import Registry, load_registry
from harness.provenance import survey
from harness.records import read_groups
from harness.sampling_step import train_batch
from harness.store import RunStore
from harness.suites import load_suite
from harness.tracing import adapter_version, chain, sources, trace
from harness.train import train_adapter

Settings = dict[str, Any]
FILTERS = {"filters": [{"name": "words", "config": {"answers": ["SPAM"]}}, {"name": "repeats"}]}


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return load_registry(local_files=[write_filters(tmp_path)])


@pytest.fixture
def dirty(tmp_path: Path, tiny_loop: Settings) -> Settings:
    """A stage on 24 good demonstrations, of which the first is there twice, among 24 spoilt ones."""
    stage = tiny_loop["stages"][0]
    drawn = train_batch(load_suite(Path(tiny_loop["suite"])), 0, 0, stage["prompts"])
    good = [{"id": p.id, "messages": [*p.messages, {"role": "assistant", "content": p.reference}]} for p in drawn]
    bad = [
        {"id": f"bad-{row['id']}", "messages": [*row["messages"][:-1], {"role": "assistant", "content": "SPAM"}]}
        for row in good
    ]
    rows = [row for pair in zip(bad, good, strict=True) for row in pair] + good[:1]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    read = {"updater": "sft", "data": str(tmp_path / "rows.jsonl"), "config": stage["config"]}
    return {**tiny_loop, "stages": [read]}


def test_a_loop_on_dirty_rows_with_and_without_the_data_step(
    tmp_path: Path, tiny_loop: Settings, dirty: Settings, registry: Registry
) -> None:
    """What is left trains the very adapter that the clean rows would have."""
    clean = run_loop({**tiny_loop, "stages": tiny_loop["stages"][:1]}, runs=tmp_path / "clean")
    spoilt = run_loop(dirty, runs=tmp_path / "spoilt", registry=registry)
    sifted = run_loop({**dirty, "data": FILTERS}, runs=tmp_path / "sifted", run="r", registry=registry)
    assert clean.outcomes == sifted.outcomes == ("promoted",)
    assert sifted.incumbent.version == clean.incumbent.version
    assert spoilt.outcomes != ("promoted",)
    store = RunStore.open(sifted.folder)
    assert (1, "data") not in RunStore.open(spoilt.folder).entries
    figures = store.entries[1, "data"].data
    assert (figures["data/kept"], figures["data/dropped"]) == (24, 25)
    assert (figures["data/words/said"], figures["data/repeats/repeat"]) == (24, 1)
    known = survey([tmp_path / "sifted"])
    (training,) = known.trainings
    assert sources(training) == {"rows.jsonl": 24}
    assert trace(known, "rows.jsonl:2").uses[0].examples == 1
    assert not trace(known, "rows.jsonl:1").uses, "it was dropped"
    assert not trace(known, "text:spam").uses
    assert trace(known, str(tmp_path / "rows.jsonl")).uses[0].examples == 24
    assert trace(known, "filter:words").uses[0].examples == 24


def test_a_loop_that_is_stopped_at_its_data_step_ends_as_if_it_had_not_been(
    tmp_path: Path, dirty: Settings, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**dirty, "data": FILTERS}

    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(data_step, "write_groups", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_loop(settings, runs=tmp_path, run="r", registry=registry)
    assert {step for _, step in RunStore.open(tmp_path / "r").entries} >= {"judge"}
    assert (1, "data") not in RunStore.open(tmp_path / "r").entries
    whole = run_loop(settings, runs=tmp_path, run="whole", registry=registry)
    resumed = run_loop(settings, runs=tmp_path, run="r", resume=True, registry=registry)
    assert resumed.digest == whole.digest
    (tmp_path / "r" / "rounds" / "001" / "data" / "remarks.jsonl").write_text("")
    assert RunStore.open(tmp_path / "r").digest() == whole.digest, "the journal has what was made"
    with pytest.raises(HarnessError, match="missing or not the one that was stored"):
        train_adapter("sft", tmp_path / "r", out=tmp_path / "out", registry=registry)


def test_a_round_of_which_nothing_is_left_is_rejected(tmp_path: Path, dirty: Settings, registry: Registry) -> None:
    data = {"filters": [{"name": "words", "config": {"prompts": ["say"]}}]}
    result = run_loop({**dirty, "data": data}, runs=tmp_path, registry=registry)
    assert result.outcomes == ("rejected",)
    assert "nothing is left to train on" in RunStore.open(result.folder).entries[1, "commit"].data["sentence"]


def test_excluded_rows_are_not_trained_on(tmp_path: Path, dirty: Settings) -> None:
    bad = [f"rows.jsonl:{line}" for line in range(1, 50, 2)]
    result = run_loop({**dirty, "data": {"exclude": bad}}, runs=tmp_path)
    store = RunStore.open(result.folder)
    kept = read_groups(store.round_folder(1) / "data" / "groups.parquet")
    assert len(kept) == 24
    assert {c.text for scored in kept for c in scored.group.completions} == {"a", "b", "c"}


def test_who_was_trained_on_a_prompt_and_what_descends_from_it(tmp_path: Path, tiny_loop: Settings) -> None:
    """Two rounds of a loop, a training on what the second sampled, and an export of that: all of them descend."""
    runs = tmp_path / "runs"
    first = {**tiny_loop["stages"][0], "gate": "hold"}
    second = {**first, "prompts": 8, "config": {**first["config"], "epochs": 1}}
    result = run_loop({**tiny_loop, "stages": [first, second]}, runs=runs)
    store = RunStore.open(result.folder)
    assert result.outcomes[0] == "promoted"
    sampled = [{g.group.prompt.id for g in read_groups(store.round_folder(i) / "groups.parquet")} for i in (1, 2)]
    (early, *_), (late, *_) = sorted(sampled[0] - sampled[1]), sorted(sampled[1] - sampled[0])
    alone = train_adapter("sft", result.folder, rounds=[2], out=runs / "alone", config=second["config"])
    export_model(runs / "alone", out=runs / "model", format="adapter")
    known = survey([runs])
    assert not known.unread
    found = trace(known, early)
    assert [(use.training.round, use.examples, use.training.outcome) for use in found.uses] == [(1, 1, "promoted")]
    assert {t.round for t in found.descendants} == {2, None}, "they started from it"
    assert [Path(export.where).name for export in found.exports] == ["model"]
    assert {use.training.round for use in trace(known, late).uses} == {2, None}
    assert {use.training.round for use in trace(known, "judge:exact").uses} == {1, 2, None}
    assert {use.training.round for use in trace(known, "three-letters").uses} == {1, 2, None}
    assert {use.training.round for use in trace(known, "text:SAY  a").uses} == {1, 2, None}
    assert not trace(known, "nothing-of-the-sort").uses
    version = alone.lineage["version"]
    assert adapter_version(known, str(runs / "alone")) == adapter_version(known, version[:12]) == version
    made = json.loads((store.round_folder(2) / "adapter" / "checkpoint.json").read_text())["version"]
    assert [training.round for training in chain(known, made)] == [1, 2]
    assert sources(chain(known, made)[0]) == {"three-letters": 24}


def test_judges_that_an_updater_seats_are_known(tmp_path: Path, tiny_loop: Settings) -> None:
    """At any depth, of the round whose updater seats them and of no other."""
    pytest.importorskip("trl")
    length = {"name": "length", "config": {"max": 10, "unit": "characters", "falloff": 60}}
    judges = [{"name": "panel", "config": {"members": [{"name": "repetition"}, length]}}]
    seating = {"judges": judges, "n": 4, "temperature": 1.5, "max_tokens": 16, "dtype": "float32"}
    sft = {**tiny_loop["stages"][0], "gate": "hold"}
    grpo = {"generator": "reference", "updater": "trl-grpo", "prompts": 4, "config": seating, "gate": "hold"}
    run_loop({**tiny_loop, "stages": [grpo, sft]}, runs=tmp_path / "runs")
    known = survey([tmp_path / "runs"])
    assert not known.unread
    assert [(use.training.round, use.examples) for use in trace(known, "judge:panel").uses] == [(1, 4)]
    assert [(use.training.round, use.examples) for use in trace(known, "judge:length").uses] == [(1, 4)]
    assert "judge panel" in known.trainings[0].components
    assert not trace(known, "judge:regex").uses
    with pytest.raises(ConfigError, match=r"this is a run.*001/adapter"):
        trace(known, known.trainings[0].where)
