"""Reading calls: the published syntaxes, strictly."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.tools import ToolCall, parse_calls, write_calls, write_tagged_calls

F, G = ToolCall("f", {"x": 1}), ToolCall("g.h-i", {})

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
calls = st.lists(
    st.builds(ToolCall, st.from_regex(r"[a-z_.-]+", fullmatch=True), st.dictionaries(st.text(), values)), max_size=3
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[]", []),
        (' [{"name": "f", "arguments": {"x": 1}}]\n', [F]),
        ('{"name": "f", "arguments": {"x": 1}}', [F]),
        ('{"name": "f", "parameters": {"x": 1}}', [F]),
        ('<|python_tag|>{"name": "f", "parameters": {"x": 1}}', [F]),
        ('<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>', [F]),
        ("<think>\nWhich [one]?\n</think>\n\n[]", []),
        (
            '<think></think><tool_call>{"name": "f", "arguments": {"x": 1}}</tool_call>\n'
            '<tool_call>{"name": "g.h-i", "arguments": {}}</tool_call>',
            [F, G],
        ),
        ('[TOOL_CALLS] [{"name": "f", "arguments": {"x": 1}, "id": "abcdefghi"}]', [F]),
        ('[TOOL_CALLS][{"name": "f", "arguments": {"x": 1}}, {"id": "a", "name": "g.h-i", "arguments": {}}]', [F, G]),
        ('[TOOL_CALLS]f[ARGS]{"x": 1}', [F]),
        ('[TOOL_CALLS]f[CALL_ID]abcdefghi[ARGS]{"x": 1}[TOOL_CALLS]g.h-i[ARGS]{}', [F, G]),
    ],
)
def test_read(text: str, expected: list[ToolCall]) -> None:
    assert parse_calls(text) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not JSON"),
        ("I would call f.", "not JSON"),
        ("[] Done.", "Extra data"),
        ('[{"name": "f", "arguments": {"x": 1,}}]', "not JSON"),
        ('[{"name": "f", "arguments": {"x": 1, "x": 2}}]', "repeated"),
        ('[{"name": "f", "arguments": {"x": NaN}}]', "NaN"),
        ('{"name": "f", "arguments": {}, "parameters": {}}', "exactly the keys"),
        ('{"name": "f", "arguments": "{}"}', "its arguments an object"),
        ('{"name": "f", "arguments": {}, "id": "abcdefghi"}', "exactly the keys"),
        ('<|python_tag|>f.call(x="1")', "not JSON"),
        ('{"name": "f", "parameters": {}}; {"name": "f", "parameters": {}}', "Extra data"),
        ('<tool_call>{"name": "f", "arguments": {}}', "text outside the <tool_call> blocks"),
        ('Sure. <tool_call>{"name": "f", "arguments": {}}</tool_call>', "not JSON"),
        ('<tool_call>{"name": "f", "arguments": {}}</tool_call> Done.', "text outside"),
        ("<think>never closed", "not JSON"),
        ("<think></think><think></think>[]", "not JSON"),
        ("[] <think></think>", "Extra data"),
        ("[TOOL_CALLS]", "not a call"),
        ('[TOOL_CALLS] [{"name": "f", "arguments": {}}] Done.', "Extra data"),
        ('[TOOL_CALLS] [{"name": "f", "arguments": {}, "id": 1}]', "exactly the keys"),
        ('[TOOL_CALLS]f{"x": 1}', "not a call"),
        ('[TOOL_CALLS]f[ARGS]{"x": 1} Done.', "not a call"),
        ('[TOOL_CALLS]f[ARGS][{"x": 1}]', "its arguments an object"),
        ('f[ARGS]{"x": 1}', "not JSON"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_calls(text)


@given(calls)
def test_what_is_written_is_read_back(made: list[ToolCall]) -> None:
    assert parse_calls(write_calls(made)) == made
    blocks = "".join(f"[TOOL_CALLS]{c.name}[ARGS]{json.dumps(dict(c.arguments))}" for c in made)
    if made:
        assert parse_calls(blocks) == made
        if "</tool_call>" not in str(made):
            assert parse_calls(write_tagged_calls(made)) == made
