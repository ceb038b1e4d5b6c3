"""Rows of files: what each format means, and what is said of a row that is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ConfigError
from harness.training_data import read_rows

ASK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi?"}]


def write(path: Path, *rows: Any) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n\n")
    return path


@pytest.mark.parametrize(
    ("row", "completions"),
    [
        ({"prompt": "Hi?", "chosen": "Hello.", "rejected": "No."}, (("Hello.", 1.0), ("No.", 0.0))),
        (
            {
                "prompt": ASK,
                "chosen": [{"role": "assistant", "content": "Hello."}],
                "rejected": [{"role": "assistant", "content": "No."}],
            },
            (("Hello.", 1.0), ("No.", 0.0)),
        ),
        ({"prompt": "Hi?", "completion": "Hello."}, (("Hello.", 1.0),)),
        ({"prompt": "Hi?", "completion": "No.", "label": False}, (("No.", 0.0),)),
        ({"messages": [*ASK, {"role": "assistant", "content": "Hello."}]}, (("Hello.", 1.0),)),
    ],
    ids=["pair", "pair of chats", "completion", "label", "messages"],
)
def test_formats(row: dict[str, Any], completions: Any, tmp_path: Path) -> None:
    (read,) = read_rows(write(tmp_path / "rows.jsonl", row))
    assert read.completions == completions
    assert read.prompt.messages[-1] == {"role": "user", "content": "Hi?"}


def test_tools_and_ids_are_kept(tmp_path: Path) -> None:
    bare = [{"name": "f", "parameters": {}}]
    wrapped = [{"type": "function", "function": bare[0]}]
    ask = {"prompt": "Hi?", "completion": "[]"}
    rows = [ask | {"id": 7, "tools": tools} for tools in (bare, wrapped, json.dumps(bare))]
    *three, plain = read_rows(write(tmp_path / "rows.jsonl", *rows, ask))
    assert [(row.prompt.id, json.loads(row.prompt.tools)) for row in three] == [("7", bare)] * 3
    assert (plain.prompt.tools, plain.prompt.id != "7") == ("", True)


def test_a_row_says_where_it_is_from_and_stays_the_same_prompt(tmp_path: Path) -> None:
    origin = {"source": "raw.jsonl", "place": 7, "sha256": "00", "filters": ["exact"]}
    beside = {"origin": origin, "extra": {"topic": "x"}}
    rows = [{"prompt": "Hi?", "completion": "Hello."}, {"text": "Once."}]
    for row in rows:
        plain, kept = read_rows(write(tmp_path / "rows.jsonl", row, row | beside))
        assert json.loads(kept.prompt.metadata["origin"]) == origin
        assert set(kept.prompt.metadata) == {"origin"}
        assert (kept.prompt.id, kept.prompt.hash) == (plain.prompt.id, plain.prompt.hash)
        assert plain.prompt.metadata == {}


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"instruction": "Say a", "input": "", "output": "a"}, "export` converts rows of layout alpaca"),
        ({"conversations": [{"from": "human", "value": "Hi?"}]}, "export` converts rows of layout sharegpt"),
        ({"question": "1 + 1?", "answer": "2"}, "export` converts rows of layout question"),
        ({"chosen": [*ASK], "rejected": [*ASK]}, "export` takes it from chosen and rejected"),
    ],
)
def test_a_row_that_could_be_converted_says_so(row: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=says):
        list(read_rows(write(tmp_path / "rows.jsonl", row)))


def test_a_line_ends_at_a_newline_and_nowhere_else(tmp_path: Path) -> None:
    row = json.dumps({"prompt": "a\u2028b\x85c", "completion": "d"}, ensure_ascii=False)
    (read,) = read_rows(write(tmp_path / "rows.jsonl", row))
    assert read.prompt.messages[0]["content"] == "a\u2028b\x85c"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("{", "not JSON"),
        ([1], "a row is a JSON object, not list"),
        ({}, "prompt is missing"),
        ({"prompt": "Hi?"}, "completion is missing"),
        ({"prompt": "Hi?", "chosen": "a"}, "rejected is missing"),
        ({"messages": [{"role": "user", "content": "Hi?"}], "label": False}, "'label' does not go with messages"),
        ({"prompt": "Hi?", "chosen": "a", "rejected": "b", "label": True}, "'label' does not go with rejected"),
        ('{"text": "half \\ud83d"}', "half of a character"),
        ({"prompt": "Hi?", "chosen": "a", "rejected": "a"}, "chosen and rejected are equal: 'a'"),
        ({"prompt": "Hi?", "completion": ""}, "completion ends with an empty answer"),
        ({"prompt": "Hi?", "completion": "a", "lable": False}, r"unknown key 'lable'.*Did you mean label"),
        ({"prompt": "Hi?", "completion": "a", "tools": 5}, "tools is not a list of functions"),
        ({"prompt": "Hi?", "completion": "a", "tools": "x"}, "tools is not a list of functions"),
        ({"prompt": "Hi?", "completion": "a", "tools": [{"f": 1}]}, "tools is not a list of functions"),
        (
            {"messages": [*ASK, {"role": "assistant", "content": "", "tool_calls": []}]},
            "messages is neither text nor a list of messages",
        ),
        ({"messages": [{"role": "assistant", "content": "Hello."}]}, "messages holds no prompt"),
        ({"prompt": "Hi?", "completion": "a", "label": 1}, "label = 1 is not true or false"),
        ({"prompt": 3, "completion": "a"}, "prompt is neither text nor a list of messages"),
        ({"prompt": "Hi?", "completion": ASK}, "completion holds 2 messages"),
        ({"messages": ASK}, "messages does not end with an answer"),
        ({"prompt": "Hi?", "completion": "a", "origin": "reddit"}, "origin = 'reddit' is no object"),
    ],
)
def test_a_wrong_row_is_named_by_its_line(row: Any, says: str, tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", {"prompt": "Hi?", "completion": "Hello."}, row)
    with pytest.raises(ConfigError, match=rf"rows\.jsonl:2: {says}"):
        list(read_rows(path))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        list(read_rows(tmp_path / "none.jsonl"))
