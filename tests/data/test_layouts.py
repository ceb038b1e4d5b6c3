"""What each layout means, and that records come back from the rows that are written of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trl.data_utils import extract_prompt

from harness.data.layouts import COLUMNS, LAYOUTS, layout_of, record_of, row_of
from harness.data.record import Answer, Record
from harness.data.rows import RowError
from harness.tools import ToolCall, parse_calls, write_calls
from harness.training_data import read_rows
from harness.types import Prompt, canonical_json

USER = {"role": "user", "content": "Hi?"}
SYSTEM = {"role": "system", "content": "Be brief."}
HELLO = {"role": "assistant", "content": "Hello."}
NO = {"role": "assistant", "content": "No."}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": "é"}'}}


def read(row: dict[str, Any]) -> Record:
    return record_of(row, "rows.jsonl", 3)


# ---------------------------------------------------------------- layouts

GOOD = (Answer("Hello."),)
PAIR = (Answer("Hello."), Answer("No.", 0.0))


@pytest.mark.parametrize(
    ("row", "layout", "messages", "answers", "kind"),
    [
        ({"prompt": "Hi?", "completion": "Hello."}, "prompt", [USER], GOOD, "demonstration"),
        ({"prompt": [USER], "completion": [HELLO]}, "prompt", [USER], GOOD, "demonstration"),
        ({"prompt": "Hi?", "completion": None}, "prompt", [USER], (), "prompt"),
        ({"prompt": "Hi?"}, "prompt", [USER], (), "prompt"),
        (
            {"prompt": "Hi?", "completion": "No.", "label": False},
            "prompt+label",
            [USER],
            (Answer("No.", 0.0),),
            "label",
        ),
        ({"prompt": "Hi?", "completion": "Hello.", "label": 1}, "prompt+label", [USER], GOOD, "label"),
        ({"prompt": "Hi?", "chosen": "Hello.", "rejected": "No."}, "pair", [USER], PAIR, "pair"),
        ({"prompt": [USER], "chosen": [HELLO], "rejected": [NO]}, "pair", [USER], PAIR, "pair"),
        ({"prompt": "Hi?", "chosen": [USER, HELLO], "rejected": [USER, NO]}, "pair", [USER], PAIR, "pair"),
        ({"chosen": [USER, HELLO], "rejected": [USER, NO]}, "pair", [USER], PAIR, "pair"),
        ({"instruction": "Hi?", "input": "", "chosen": "Hello.", "rejected": "No."}, "pair", [USER], PAIR, "pair"),
        ({"messages": [SYSTEM, USER, HELLO]}, "messages", [SYSTEM, USER], GOOD, "demonstration"),
        ({"messages": [SYSTEM, USER]}, "messages", [SYSTEM, USER], (), "prompt"),
        ({"messages": []}, "messages", [], (), "prompt"),
        ({"messages": [USER, NO], "label": False}, "messages+label", [USER], (Answer("No.", 0.0),), "label"),
        ({"messages": json.dumps([USER, HELLO])}, "messages", [USER], GOOD, "demonstration"),
        ({"text": "Once."}, "text", [], (Answer("Once."),), "text"),
        ({"instruction": "Hi?", "input": "", "output": "Hello."}, "alpaca", [USER], GOOD, "demonstration"),
        (
            {"instruction": "Add", "input": "1 1", "output": "2", "system": "Be brief.", "text": "all of it"},
            "alpaca",
            [SYSTEM, {"role": "user", "content": "Add\n\n1 1"}],
            (Answer("2"),),
            "demonstration",
        ),
        (
            {"instruction": "Hi?", "output": "Hello.", "history": [["Hi?", "No."]]},
            "alpaca",
            [USER, NO, USER],
            GOOD,
            "demonstration",
        ),
        (
            {
                "conversations": [
                    {"from": "system", "value": "Be brief."},
                    {"from": "human", "value": "Hi?"},
                    {"from": "function_call", "value": '{"name": "f", "arguments": {}}'},
                    {"from": "observation", "value": "3"},
                    {"from": "gpt", "value": "Hello."},
                ]
            },
            "sharegpt",
            [
                SYSTEM,
                USER,
                {"role": "assistant", "content": '[{"name": "f", "arguments": {}}]'},
                {"role": "tool", "content": "3"},
            ],
            GOOD,
            "demonstration",
        ),
        ({"question": "Hi?", "answer": "Hello."}, "question", [USER], GOOD, "demonstration"),
        ({"query": "Hi?", "response": "Hello."}, "question", [USER], GOOD, "demonstration"),
        ({"prompt": "Hi?", "response": "Hello."}, "question", [USER], GOOD, "demonstration"),
        (
            {"system_prompt": "Be brief.", "question": "Hi?", "response": "Hello."},
            "question",
            [SYSTEM, USER],
            GOOD,
            "demonstration",
        ),
    ],
)
def test_what_a_row_means(row: dict[str, Any], layout: str, messages: Any, answers: Any, kind: str) -> None:
    record = read(row)
    assert (layout_of(row), layout in LAYOUTS) == (layout, True)
    assert (list(record.prompt.messages), record.answers, record.kind) == (messages, answers, kind)
    assert record.where == "rows.jsonl:3"


@pytest.mark.parametrize(
    ("chosen", "rejected"),
    [
        ([USER, HELLO], [USER, NO]),
        ([SYSTEM, USER, NO, USER, HELLO], [SYSTEM, USER, NO, USER, NO]),
    ],
)
def test_the_prompt_of_a_pair_without_one_is_what_trl_extracts(chosen: Any, rejected: Any) -> None:
    theirs = extract_prompt({"chosen": chosen, "rejected": rejected})
    ours = read({"chosen": chosen, "rejected": rejected})
    assert list(ours.prompt.messages) == theirs["prompt"]
    assert [[a.text] for a in ours.answers] == [[m["content"] for m in theirs[s]] for s in ("chosen", "rejected")]


def test_a_chosen_answer_that_equals_the_rejected_one_is_still_an_answer() -> None:
    assert read({"chosen": [USER, NO], "rejected": [USER, NO]}).answers == (Answer("No."), Answer("No.", 0.0))


def test_unknown_columns_are_kept() -> None:
    record = read({"prompt": "Hi?", "completion": "Hello.", "topic": {"a": [1]}, "score": None})
    assert record.extra == {"topic": {"a": [1]}, "score": None}
    assert row_of(record)["extra"] == record.extra


def test_ids_are_those_of_the_row_or_of_its_content() -> None:
    assert read({"id": 7, "text": "a"}).prompt.id == "7"
    assert read({"prompt": "a"}).prompt.id == read({"prompt": "a", "completion": "b"}).prompt.id
    assert read({"prompt": "a"}).prompt.id != read({"prompt": "b"}).prompt.id


# ---------------------------------------------------------------- messages


def test_calls_become_the_text_that_judges_read() -> None:
    record = read(
        {
            "messages": [
                {**USER, "name": "Ann"},
                {"role": "assistant", "content": "Let me look.", "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "c1", "content": "3"},
                {"role": "assistant", "content": None, "tool_calls": [CALL, CALL]},
            ],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
        }
    )
    call = ToolCall("f", {"x": "é"})
    assert record.prompt.messages == (
        USER,
        {"role": "assistant", "content": "Let me look.\n" + write_calls([call])},
        {"role": "tool", "content": "3"},
    )
    assert record.answers[0].text == write_calls([call, call])
    assert parse_calls(record.answers[0].text) == [call, call]
    assert record.prompt.tools == '[{"name":"f","parameters":{}}]'


def test_arguments_that_are_no_json_stay_for_filters_to_see() -> None:
    call = {"function": {"name": "f", "arguments": "{x"}}
    (answer,) = read({"messages": [USER, {"role": "assistant", "tool_calls": [call]}]}).answers
    assert answer.text == '[{"name": "f", "arguments": "{x"}]'
    with pytest.raises(ValueError, match="arguments"):
        parse_calls(answer.text)


def test_what_filters_judge_is_read_as_it_is() -> None:
    record = read({"messages": [{"role": "wizard", "content": ""}, HELLO, {"role": "assistant", "content": ""}]})
    assert [m["role"] for m in record.prompt.messages] == ["wizard", "assistant"]
    assert record.answers == (Answer(""),)


def test_parts_of_text_are_put_together() -> None:
    parts = [{"type": "text", "text": "H"}, {"type": "text", "text": "i?"}]
    assert read({"prompt": [{"role": "user", "content": parts}]}).prompt.messages == (USER,)


# ---------------------------------------------------------------- what cannot be read


@pytest.mark.parametrize(
    ("row", "reason", "says"),
    [
        ({}, "unknown_layout", "its columns are none"),
        ({"foo": 1}, "unknown_layout", "its columns are foo"),
        ({"question": "Hi?", "answer": None}, "unknown_layout", "answer is null"),
        ({"prompt": 3}, "bad_field", "prompt is a number, not a list of messages"),
        ({"prompt": "Hi?", "chosen": "a"}, "bad_field", "rejected is missing"),
        ({"chosen": "a b", "rejected": "a c"}, "bad_field", "prompt is missing"),
        ({"prompt": "Hi?", "completion": "a", "label": "maybe"}, "bad_field", "label is 'maybe', not true or false"),
        ({"prompt": "Hi?", "completion": "a", "label": -1}, "bad_field", "label is -1"),
        ({"prompt": "Hi?", "label": True}, "bad_field", "no answer that it could be of"),
        ({"prompt": "Hi?", "completion": "a", "lable": False}, "bad_field", "if it is label, name it so"),
        ({"messages": [USER, HELLO], "tool": []}, "bad_field", "if it is tools, name it so"),
        ({"prompt": "Hi?", "completion": [USER]}, "bad_field", "completion ends with a message of 'user'"),
        ({"prompt": "Hi?", "completion": [NO, USER, HELLO]}, "bad_field", "completion holds 3 messages"),
        ({"prompt": "Hi?", "completion": "a", "tools": 5}, "bad_field", "tools is not a list of functions"),
        ({"prompt": "Hi?", "completion": "a", "tools": [{"f": 1}]}, "bad_field", "tools is not a list of functions"),
        ({"prompt": "Hi?", "id": {}}, "bad_field", "id is an object"),
        ({"messages": "Hi?"}, "bad_field", "messages is text, not a list"),
        ({"messages": [3]}, "bad_field", "messages[0] is a number"),
        ({"messages": [{"content": "a"}]}, "bad_field", "messages[0] has no role"),
        ({"messages": [{"role": "user", "content": {}}]}, "bad_field", "content of messages[0] is an object"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "bad_field",
            "a part that is no text (image_url)",
        ),
        ({"messages": [USER, {**HELLO, "reasoning_content": "x"}]}, "bad_field", "messages[1] has reasoning_content"),
        ({"messages": [USER, {**HELLO, "tool_calls": [CALL]}]}, "bad_field", "text and tool_calls in one answer"),
        ({"messages": [USER, {**HELLO, "weight": 0}]}, "bad_field", "not to be learnt"),
        ({"messages": [USER, {"role": "assistant", "tool_calls": [{}]}]}, "bad_field", "a call without a name"),
        ({"text": 5}, "bad_field", "text is a number, not text"),
        ({"instruction": "a", "output": "b", "history": ["a"]}, "bad_field", "history is not a list"),
        ({"prompt": [SYSTEM, USER], "system": "Be long."}, "bad_field", "system is not the system message"),
        ({"messages": [USER], "label": True}, "bad_field", "no answer that it could be of"),
    ],
)
def test_what_cannot_be_represented_is_said(row: dict[str, Any], reason: str, says: str) -> None:
    with pytest.raises(RowError) as raised:
        read(row)
    assert raised.value.reason == reason
    assert says in raised.value.detail


def test_a_row_can_be_read_as_another_layout_that_it_has_too() -> None:
    row = {"prompt": "Hi?", "chosen": "Hello.", "rejected": "No.", "messages": [USER, NO]}
    assert read(row).extra == {"messages": [USER, NO]}
    assert record_of(row, "s", 1, layout="messages").answers == (Answer("No."),)
    with pytest.raises(RowError, match="its columns are"):
        record_of(row, "s", 1, layout="alpaca")


# ---------------------------------------------------------------- rows of records

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(text, inner, max_size=2),
    max_leaves=4,
)
messages = st.lists(st.fixed_dictionaries({"role": text, "content": text}), max_size=3)
tools = st.just("") | st.lists(
    st.fixed_dictionaries({"name": text, "parameters": st.dictionaries(text, json_values, max_size=2)}), min_size=1
).map(canonical_json)
origins = st.fixed_dictionaries({"source": text, "place": st.integers(1, 9), "filters": st.lists(text, max_size=2)})
extras = st.dictionaries(text | st.sampled_from(["label", "lable", "origin", "extra", "id", "text"]), json_values)
worths = {
    "demonstration": st.just((1.0,)),
    "pair": st.just((1.0, 0.0)),
    "label": st.sampled_from([(1.0,), (0.0,)]),
    "prompt": st.just(()),
    "text": st.just((1.0,)),
}


@st.composite
def records(draw: st.DrawFn, texts: st.SearchStrategy[str] = text) -> Record:
    kind = draw(st.sampled_from(sorted(worths)))
    asked = () if kind == "text" else tuple(draw(messages))
    prompt = Prompt(draw(text.filter(bool)), asked, tools="" if kind == "text" else draw(tools))
    answers = tuple(Answer(draw(texts), worth) for worth in draw(worths[kind]))
    extra = draw(extras) | draw(st.just({}) | st.fixed_dictionaries({"origin": origins}))
    return Record(prompt, answers, kind, "rows.jsonl", 3, extra)  # type: ignore[arg-type]


@given(records())
def test_a_record_comes_back_from_its_row(record: Record) -> None:
    assert read(json.loads(json.dumps(row_of(record)))) == record


@given(st.lists(records(texts=text.filter(str.strip)), min_size=1, max_size=3))
def test_training_reads_the_rows_of_records_as_we_do(
    tmp_path_factory: pytest.TempPathFactory, found: list[Record]
) -> None:
    found = [r for r in found if trainable(r)]
    path: Path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_text("".join(json.dumps(row_of(record)) + "\n" for record in found))
    for row, record in zip(read_rows(path), found, strict=True):
        assert (row.prompt.id, row.prompt.hash) == (record.prompt.id, record.prompt.hash)
        assert row.completions == tuple((answer.text, answer.worth) for answer in record.answers)


def trainable(record: Record) -> bool:
    """What training has a row for, and does not refuse as a mistake."""
    apart = record.kind != "pair" or record.answers[0] != Answer(record.answers[1].text)
    return record.kind != "prompt" and apart and (record.kind == "text" or bool(record.prompt.messages))


found_messages = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["user", "assistant"]) | json_values,
        "content": text | json_values,
        "from": st.sampled_from(["human", "gpt", "function_call"]) | json_values,
        "value": json_values,
        "tool_calls": st.lists(st.fixed_dictionaries({"function": json_values}), max_size=2) | json_values,
        "function_call": st.fixed_dictionaries({"name": text | json_values, "arguments": json_values}) | json_values,
    },
)
found_values = json_values | st.lists(found_messages, max_size=3)


@given(st.dictionaries(st.sampled_from(sorted({*COLUMNS, "id", "tools", "label", "system", "extra"})), found_values))
def test_any_row_is_a_record_or_says_what_is_wrong(row: dict[str, Any]) -> None:
    try:
        record = read(row)
    except RowError:
        return
    assert read(json.loads(json.dumps(row_of(record)))) == record


ours = st.fixed_dictionaries({"prompt": text | messages.filter(bool)}).flatmap(
    lambda row: st.sampled_from(
        [row | {"completion": "a"}, row | {"completion": "a", "label": False}, row | {"chosen": "a", "rejected": "b"}]
    )
) | text.filter(str.strip).map(lambda given: {"text": given})


@given(ours)
def test_prompts_have_the_ids_that_training_gives_them(
    tmp_path_factory: pytest.TempPathFactory, row: dict[str, Any]
) -> None:
    path: Path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_text(json.dumps(row))
    (theirs,) = read_rows(path)
    assert read(row).prompt == theirs.prompt


def test_a_group_is_no_row() -> None:
    with pytest.raises(ValueError, match="harness data pairs"):
        row_of(Record(Prompt("p", (USER,)), (Answer("a"), Answer("b")), "group"))
