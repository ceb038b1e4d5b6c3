"""Files of exported rows: `datasets` and `harness` read what was written, and what cannot be written leaves none."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from export_records import ADD, CALLS, DEMONSTRATIONS, GREET, GROUP, LABELS, PAIRS, TEXTS, exported, lines, load
from trl.data_utils import get_dataset_column_names

from harness.cli.app import cli
from harness.cli.data.export import FORMAT_NAMES, SHAPES
from harness.data.formats import FORMATS, UnfitError, format_rows
from harness.data.reading import BadRow, read_records
from harness.data.record import Answer, Record
from harness.data.writing import WRITERS, Shape
from harness.errors import ConfigError
from harness.tools import parse_calls
from harness.training_data import read_rows
from harness.types import Prompt, canonical_json


@pytest.mark.parametrize("shape", ["jsonl", "json", "parquet", "datasets"])
@pytest.mark.parametrize(("to", "records"), [("trl-sft", DEMONSTRATIONS), ("trl-dpo", PAIRS), ("trl-kto", LABELS)])
def test_datasets_loads_the_same_rows(tmp_path: Path, shape: Shape, to: str, records: list[Record]) -> None:
    exported(records, tmp_path / "out", to, shape=shape)
    rows = [row for one in records for row in format_rows(one, to)]
    found = load(tmp_path / "out", shape, tmp_path / "cache")
    assert [{name: value for name, value in row.items() if value is not None} for row in found] == rows
    assert set(get_dataset_column_names(found)) >= set(rows[0])


@pytest.mark.parametrize("shape", ["parquet", "datasets"])
def test_tables_of_calls_hold_no_argument_that_was_not_there(tmp_path: Path, shape: Shape) -> None:
    exported(DEMONSTRATIONS, tmp_path / "out", "messages", shape=shape)
    found = load(tmp_path / "out", shape, tmp_path / "cache")[1]
    calls = found["messages"][-1]["tool_calls"]
    assert [json.loads(call["function"]["arguments"]) for call in calls] == [c.arguments for c in parse_calls(CALLS)]
    assert [tool["function"] for tool in json.loads(found["tools"])] == [ADD, GREET]


def test_many_rows_are_several_row_groups_of_one_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet as pq

    monkeypatch.setattr("harness.data.writing.BATCH", 2)
    exported(DEMONSTRATIONS, tmp_path / "rows.parquet", "harness")
    file = pq.ParquetFile(tmp_path / "rows.parquet")
    assert (file.num_row_groups, file.metadata.num_rows) == (2, 3)
    assert [json.loads(t) if t else [] for t in file.read()["tools"].to_pylist()] == [[], [ADD, GREET], []]


def test_csv(tmp_path: Path) -> None:
    exported(LABELS, tmp_path / "rows.csv", "trl-kto", plain=True)
    with (tmp_path / "rows.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["label"] for row in rows] == ["false", "true", "false", "true"]
    assert rows[1]["prompt"] == LABELS[1].prompt.messages[0]["content"]
    assert rows[1]["tools"] == ""


@pytest.mark.parametrize("one", [*DEMONSTRATIONS, PAIRS[0], LABELS[0]])
def test_train_reads_our_own_rows_as_what_they_were(tmp_path: Path, one: Record) -> None:
    exported([one], tmp_path / "rows.jsonl", "harness")
    row = next(read_rows(tmp_path / "rows.jsonl"))
    assert row.prompt == one.prompt
    assert row.completions == tuple((answer.text, answer.worth) for answer in one.answers)


MANY_TURNS = Record(
    Prompt(
        "m",
        (
            {"role": "user", "content": "Add 1, greet Zoë"},
            {"role": "assistant", "content": CALLS},
            {"role": "tool", "content": "2"},
            {"role": "tool", "content": "Hi"},
            {"role": "user", "content": "Thanks"},
        ),
        tools=canonical_json([ADD, GREET]),
    ),
    (Answer("Welcome"),),
    "demonstration",
)


@pytest.mark.parametrize("shape", list(WRITERS))
@pytest.mark.parametrize(
    ("to", "records"),
    [
        ("messages", [*DEMONSTRATIONS, MANY_TURNS]),
        ("sharegpt", [*DEMONSTRATIONS, MANY_TURNS]),
        ("trl-sft", [*DEMONSTRATIONS, MANY_TURNS]),
        ("harness", [*DEMONSTRATIONS, MANY_TURNS]),
        ("alpaca", [DEMONSTRATIONS[0], DEMONSTRATIONS[2]]),
        ("trl-dpo", PAIRS),
        ("trl-kto", LABELS),
    ],
)
def test_what_is_written_reads_back_as_it_was(tmp_path: Path, shape: Shape, to: str, records: list[Record]) -> None:
    out = tmp_path / ("rows" if shape == "datasets" else f"rows.{shape}")
    exported(records, out, to, shape=shape)
    assert [said(one) for one in read_records(str(out))] == [said(one) for one in records]


def said(one: Record | BadRow) -> Any:
    assert isinstance(one, Record), one
    tools = json.loads(one.prompt.tools or "[]")
    return one.kind, [dict(message) for message in one.prompt.messages], tools, one.answers


# ---------------------------------------------------------------- what cannot be written

BAD = BadRow("f", 7, "not_json", "it ends too early", "{")


@pytest.mark.parametrize("shape", list(WRITERS))
def test_nothing_is_written_but_the_rejects(tmp_path: Path, shape: Shape) -> None:
    rejects = tmp_path / "rejects.jsonl"
    with pytest.raises(
        ConfigError, match=r"f:7: 2 of 3 rows cannot be written as trl-dpo: group \(1\), not_json \(1\)"
    ):
        exported([PAIRS[0], BAD, GROUP], tmp_path / "out", "trl-dpo", shape=shape, rejects=rejects)
    assert [path.name for path in tmp_path.iterdir()] == ["rejects.jsonl"]
    assert [(row["place"], row["reason"]) for row in lines(rejects)] == [(7, "not_json"), (1, "group")]


def test_bad_rows_are_left_out_when_told(tmp_path: Path) -> None:
    done = exported([BAD, *PAIRS], tmp_path / "out.jsonl", "trl-dpo", skip_bad=True)
    assert (done.rows, done.rejected) == (3, {"not_json": 1})
    with pytest.raises(ConfigError, match="trl-sft: pair"):
        exported(PAIRS, tmp_path / "none.jsonl", "trl-sft", skip_bad=True)
    assert not (tmp_path / "none.jsonl").exists()


def test_rows_of_other_columns_do_not_share_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mixed_columns"):
        exported([*DEMONSTRATIONS, *TEXTS], tmp_path / "rows.jsonl", "trl-sft")
    with pytest.raises(ConfigError, match="mixed_columns"):
        exported([*DEMONSTRATIONS, *PAIRS], tmp_path / "rows.parquet", "harness")
    assert exported([*DEMONSTRATIONS, *PAIRS], tmp_path / "rows.jsonl", "harness").rows == 6


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"to": "messages", "plain": True}, "messages has one layout"),
        ({"to": "trl-dpo", "takes": ("chosen",)}, "trl-dpo holds no demonstrations"),
        ({"to": "trl-dpo", "rejects": Path("rows.jsonl")}, "same file"),
    ],
)
def test_what_makes_no_sense_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=says):
        exported(PAIRS, tmp_path / "rows.jsonl", **options)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("mine")
    with pytest.raises(ConfigError, match="it is there already"):
        exported(PAIRS, tmp_path / "rows.jsonl", "trl-dpo")
    assert (tmp_path / "rows.jsonl").read_text() == "mine"


def test_every_format_says_what_its_columns_hold() -> None:
    samples = [*DEMONSTRATIONS, *PAIRS, *LABELS, GROUP, *TEXTS]
    for name, format in FORMATS.items():
        for one in (one for one in samples if one.kind in format.kinds):
            try:
                rows = format_rows(one, name)
            except UnfitError:
                continue
            assert all(set(row) <= set(format.columns) for row in rows), name


# ---------------------------------------------------------------- the command


def command(*arguments: str) -> Any:
    return CliRunner().invoke(cli, ["-q", "data", "export", *arguments])


def test_the_command_writes_what_the_name_says(tmp_path: Path) -> None:
    source, out = tmp_path / "rows.jsonl", tmp_path / "made" / "rows.csv"
    source.write_text('{"prompt": "q", "completion": "a"}\n{"prompt": "r", "chosen": "b", "rejected": "c"}\n')
    before = source.read_bytes()
    done = command(str(source), "--to", "alpaca", "--take", "chosen", "--layout", "any", "--out", str(out), "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["rows"] == 2
    with out.open(newline="") as handle:
        assert [row["output"] for row in csv.DictReader(handle)] == ["a", "b"]
    assert source.read_bytes() == before


def test_the_command_refuses_what_it_cannot_write(tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_text('{"prompt": "q", "completion": "a"}\n{"prompt": "q"\n')
    done = command(str(source), "--to", "messages", "--out", str(tmp_path / "out.jsonl"))
    assert isinstance(done.exception, ConfigError)
    assert f"{source}:2" in str(done.exception)
    assert done.exception.exit_code == 3
    with pytest.raises(ConfigError, match="does not say what to write"):
        raise command(str(source), "--to", "messages", "--out", str(tmp_path / "out")).exception
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_the_command_offers_every_format_and_shape() -> None:
    assert set(FORMAT_NAMES) == set(FORMATS)
    assert set(SHAPES) == set(WRITERS)
