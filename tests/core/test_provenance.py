"""`harness lineage`: what it prints, of adapters whose records are written by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from harness.cli.app import cli
from harness.errors import ConfigError
from harness.provenance import survey
from harness.tracing import adapter_version, trace
from harness.training_data import file_digest


def write_adapter(folder: Path, version: str, parent: str, rows: Sequence[dict[str, Any]], data: Path) -> None:
    folder.mkdir(parents=True)
    record = {"version": version, "parent": parent, "data": str(data), "rounds": [], "groups": len(rows)}
    record |= {"components": {"updater sft": "x"}, "data_sha256": file_digest(data)}
    (folder / "training.json").write_text(json.dumps(record))
    (folder / "checkpoint.json").write_text(json.dumps({"version": version}))
    (folder / "examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def row(name: str, *lines: tuple[str, int]) -> dict[str, Any]:
    return {
        "id": name,
        "suite": "",
        "lines": lines,
        "policy": "reference",
        "judges": [],
        "filters": ["pii"] if lines[1:] else [],
    }


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """`one` on two rows, the second cleaned from another file; `two` goes on from it; an export of that; `other`."""
    data = tmp_path / "rows.jsonl"
    data.write_text(
        '{"id": "p", "prompt": "a secret", "completion": "x"}\n{"id": "q", "prompt": "b", "completion": "y"}\n'
    )
    other = tmp_path / "other.jsonl"
    other.write_text('{"id": "z", "prompt": "c", "completion": "z"}\n')
    folder = tmp_path / "runs"
    rows = [row("p", (str(data), 1)), row("q", (str(data), 2), ("raw.jsonl", 7))]
    write_adapter(folder / "one", "1" * 64, "base", rows, data)
    write_adapter(folder / "two", "2" * 64, "1" * 64, [row("z", (str(other), 1))], other)
    write_adapter(folder / "other", "3" * 64, "base", [row("z", (str(other), 1))], other)
    (folder / "model").mkdir()
    exported = {"version": "2" * 64, "steps": [{"version": "2" * 64}]}
    (folder / "model" / "lineage.json").write_text(json.dumps(exported))
    return folder


@pytest.mark.parametrize(
    "what", ["p", "rows.jsonl:1", "rows.jsonl", "q", "raw.jsonl:7", "raw.jsonl", "filter:pii", "text:A  Secret"]
)
def test_a_source_finds_its_adapter_and_all_that_descends_from_it(runs: Path, what: str) -> None:
    found = trace(survey([runs]), what)
    assert [Path(use.training.where).name for use in found.uses] == ["one"]
    assert [Path(training.where).name for training in found.descendants] == ["two"]
    assert [Path(export.where).name for export in found.exports] == ["model"]


@pytest.mark.parametrize(
    "what", ["raw.jsonl:1", "rows.jsonl:3", "nobody", "text:other words", "judge:exact", "filter:f"]
)
def test_what_was_not_trained_on_finds_nothing(runs: Path, what: str) -> None:
    assert not trace(survey([runs]), what).uses


def test_a_file_is_known_by_its_content_and_its_texts_only_while_it_is_there(runs: Path, tmp_path: Path) -> None:
    moved = (tmp_path / "rows.jsonl").rename(tmp_path / "moved.jsonl")
    known = survey([runs])
    assert len(trace(known, str(moved)).uses) == len(trace(known, f"{moved}:2").uses) == 1
    assert trace(known, f"{moved}:2").uses[0].examples == 1
    lost = trace(known, "text:secret")
    assert (lost.uses, len(lost.unread)) == ((), 1)
    assert "gone or has changed" in lost.unread[0]
    assert trace(known, "p").uses, "its origins are beside the adapter"


def test_what_learnt_from_the_answers_of_an_adapter_descends_from_it(runs: Path, tmp_path: Path) -> None:
    sampled = {**row("z", (str(tmp_path / "other.jsonl"), 1)), "policy": "1" * 64}
    write_adapter(runs / "taught", "4" * 64, "base", [sampled], tmp_path / "other.jsonl")
    assert [Path(t.where).name for t in trace(survey([runs]), "p").descendants] == ["taught", "two"]


def test_what_cannot_be_read_is_said(runs: Path) -> None:
    (runs / "one" / "training.json").write_text("{")
    known = survey([runs])
    assert len(known.unread) == 1
    assert str(runs / "one") in known.unread[0]
    assert len(known.trainings) == 2
    with pytest.raises(ConfigError, match="no such folder"):
        survey([runs / "none"])


@pytest.mark.parametrize(
    ("what", "said"), [("", "names no source"), ("judge:", "names no judge"), ("filter: ", "names no filter")]
)
def test_what_names_nothing_is_refused(runs: Path, what: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        trace(survey([runs]), what)


def test_adapters_are_named_by_folder_or_version(runs: Path) -> None:
    known = survey([runs])
    assert adapter_version(known, str(runs / "two")) == adapter_version(known, "222222") == "2" * 64
    assert adapter_version(known, "22222") is None
    assert adapter_version(known, "444444") is None


def lineage(runs: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["lineage", *arguments, "--runs", str(runs)], standalone_mode=False)


def test_the_command_says_who_and_what_to_do(runs: Path) -> None:
    said = lineage(runs, "rows.jsonl:1").output
    assert all(word in said for word in ["one", "111111111111", "descended", "222222222222", "exported", "train again"])
    nothing = lineage(runs, "nobody")
    assert (nothing.exit_code, "Nothing was trained on nobody" in nothing.output) == (0, True)
    facts = json.loads(lineage(runs, "p", "--json").output)
    assert [(use["version"], use["matching"]) for use in facts["trained_on"]] == [("1" * 64, 1)]
    assert [training["version"] for training in facts["descendants"]] == ["2" * 64]


def test_the_command_shows_an_adapter_with_the_origin_of_each_example(runs: Path) -> None:
    assert "1 of raw.jsonl" in lineage(runs, "222222").output
    rows = [json.loads(line) for line in lineage(runs, "222222", "--examples").output.splitlines()]
    assert [(row["prompt"], row["adapter"][0]) for row in rows] == [("p", "1"), ("q", "1"), ("z", "2")]
    assert rows[1]["from"][1] == "raw.jsonl:7"
    with pytest.raises(ConfigError, match="--examples lists those of an adapter"):
        raise lineage(runs, "p", "--examples").exception or AssertionError("nothing was raised")
