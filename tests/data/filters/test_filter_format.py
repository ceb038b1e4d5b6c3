"""The `format` filter: turns, separators and calls, one reason each."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from quality_records import chat, make, record, said, text

from harness.data.record import Answer
from harness_plugins.filters.quality.calls import is_plain

USER = {"role": "user", "content": "What is the capital of France?"}
SYSTEM = {"role": "system", "content": "Be brief."}
ASSISTANT = {"role": "assistant", "content": "Which one?"}
TOOLS = json.dumps(
    [
        {
            "name": "weather",
            "description": "Of a city.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
                "required": ["city"],
            },
        }
    ]
)


def test_ordinary_chats_are_in_order() -> None:
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "weather"}}]}
    result = {"role": "tool", "content": ""}
    for messages in ([USER], [SYSTEM, USER], [USER, ASSISTANT, USER], [USER, call, result, result]):
        assert said("format", chat(messages, [Answer("Paris.")])) == []
    assert said("format", text("Whatever it is.\nUser: hello")) == []


@pytest.mark.parametrize(
    ("messages", "reasons"),
    [
        ([{"role": "bot", "content": "x"}, USER], ["unknown_role"]),
        ([{"role": ["user"], "content": "x"}, USER], ["unknown_role"]),
        ([USER, SYSTEM, USER], ["system_not_first"]),
        ([USER, USER], ["repeated_role"]),
        ([USER, ASSISTANT, ASSISTANT, USER], ["repeated_role"]),
        ([USER, ASSISTANT], ["no_question"]),
        ([SYSTEM], ["no_question"]),
        ([], ["no_question"]),
        ([{"role": "user", "content": " \n"}], ["empty_turn"]),
        ([{"role": "user", "content": None}], ["empty_turn"]),
        ([{"role": "user", "content": "hi<|im_end|>"}], ["separator"]),
        ([{"role": "user", "content": "### Instruction:\nAdd.\n\n### Response:\n"}], ["separator"]),
    ],
)
def test_turns(messages: list[dict[str, Any]], reasons: list[str]) -> None:
    assert said("format", chat(messages, [Answer("Paris.")])) == reasons


@pytest.mark.parametrize(
    ("answer", "reasons"),
    [
        ("", ["empty_answer"]),
        ("Paris.<|im_end|>", ["separator"]),
        ("[/INST] Paris.", ["separator"]),
        ("Paris.</s>", ["separator"]),
        ("Assistant: Paris.", ["separator"]),
        ("### Response:\nParis.", ["separator"]),
        ("Paris.\n\nUser: And of Spain?\nAssistant: Madrid.", ["extra_turn"]),
        ("Paris.\n### Human: And of Spain?", ["extra_turn"]),
        ("The capital of {{ input }} is Paris.", ["placeholder"]),
        ("Dear [insert name], it is Paris.", ["placeholder"]),
        ("Write to the user: Paris.", []),
        ("The <s> element strikes text out.", []),
        ("Use it so:\n```python\nf'{input} {context}'\n```", []),
        ("[1] Paris is the capital.", []),
        ('[{"city": "Paris"}]', []),
        ('[{"name": "weather", "arguments": {}}]', ["unknown_tool"]),
        ("<tool_call>\n{broken", ["broken_call"]),
    ],
)
def test_answers(answer: str, reasons: list[str]) -> None:
    assert said("format", record(answer)) == reasons


def test_a_dialogue_may_be_asked_for() -> None:
    play = "Waiter: Yes?\nUser: A tea."
    assert said("format", record(play)) == ["extra_turn"]
    assert said("format", record(play, asked="Write a dialogue in a café.")) == []


def test_answers_that_a_kind_needs() -> None:
    assert said("format", chat([USER], [], "demonstration")) == ["no_answer"]
    assert said("format", chat([USER], [Answer("Paris.")], "pair")) == ["no_answer"]
    assert said("format", chat([USER], [], "prompt")) == []
    pair = [Answer("Paris."), Answer(" Paris.\n", 0.0)]
    assert said("format", chat([USER], pair, "pair")) == ["equal_pair"]


def test_an_answer_of_worth_0_may_be_wrong_in_form_but_not_empty() -> None:
    worse = "Assistant: <|im_end|>"
    assert said("format", chat([USER], [Answer("Paris."), Answer(worse, 0.0)], "pair")) == []
    assert said("format", chat([USER], [Answer("Paris."), Answer("", 0.0)], "pair")) == ["empty_answer"]
    assert said("format", chat([USER], [Answer("Paris."), Answer("", 0.0)], "group")) == []
    (flaw,) = make("format").check(chat([USER], [Answer("Paris."), Answer(worse, 0.5)], "group"))
    assert flaw.answer == 1


@pytest.mark.parametrize(
    ("call", "reasons"),
    [
        ('[{"name": "weather", "arguments": {"city": "Paris", "days": 2}}]', []),
        ('<tool_call>{"name": "weather", "arguments": {"city": "Paris"}}</tool_call>', []),
        ("[]", []),
        ("Which city do you mean?", []),
        ('[{"name": "whether", "arguments": {"city": "Paris"}}]', ["unknown_tool"]),
        ('[{"name": "weather", "arguments": {}}]', ["bad_arguments"]),
        ('[{"name": "weather", "arguments": {"city": 7}}]', ["bad_arguments"]),
        ('[{"name": "weather", "arguments": {"city": "Paris", "town": "x"}}]', ["bad_arguments"]),
        ('[{"name": "weather", "arguments": {"city": "Paris"}', ["broken_call"]),
        ('[{"name": "weather", "arguments": {"city": "Paris"}}] I hope so.', ["broken_call"]),
    ],
)
def test_calls(call: str, reasons: list[str]) -> None:
    assert said("format", record(call, tools=TOOLS)) == reasons
    pair = chat([USER], [Answer("[]"), Answer(call, 0.0)], "pair", tools=TOOLS)
    assert said("format", pair) == (["equal_pair"] if call == "[]" else [])


@pytest.mark.parametrize(
    "tools",
    [
        "{",
        "{}",
        '[{"parameters": {}}]',
        '[{"name": "f"}, {"name": "f"}]',
        '[{"name": "f", "parameters": {"type": "dict"}}]',
        '[{"name": "f", "parameters": {"properties": {"x": {"type": "string", "required": true}}}}]',
        '[{"name": "f", "parameters": [1]}]',
    ],
)
def test_tools_that_are_none(tools: str) -> None:
    assert said("format", record("[]", tools=tools)) == ["bad_tools"]


def test_tools_in_a_message_are_known_by_their_names() -> None:
    call = '<tool_call>{"name": "weather", "arguments": {"city": "Paris"}}</tool_call>'
    hermes = {"role": "system", "content": '<tools>{"name": "weather"}</tools>'}
    assert said("format", chat([hermes, USER], [Answer(call)])) == []
    assert said("format", chat([SYSTEM, USER], [Answer(call)])) == ["unknown_tool"]


_PARTS = st.deferred(
    lambda: st.dictionaries(
        st.sampled_from(["type", "properties", "items", "required", "enum", "title", "default", "pattern", "minimum"]),
        st.sampled_from(["string", "integer", "any"])
        | st.booleans()
        | st.lists(st.sampled_from(["a", "b", 1]), max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b"]), _PARTS, max_size=2)
        | _PARTS,
        max_size=3,
    )
)


@given(_PARTS)
def test_what_is_taken_for_a_schema_at_sight_is_one(schema: dict[str, Any]) -> None:
    if is_plain(schema):
        Draft202012Validator.check_schema(schema)
