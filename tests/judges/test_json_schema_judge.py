"""The `json_schema` judge."""

from __future__ import annotations

import json
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judge_cases import Verdicts

from harness.errors import PluginError
from harness.types import Completion, Group, Prompt, Sampling
from harness_judges.json_schema import json_schema_judge

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "born": {"type": "string", "format": "date"}, "tags": {"maxItems": 2}},
    "required": ["name"],
    "additionalProperties": False,
}


def prompt_for(schema: object) -> Prompt:
    return Prompt("row-3", (), schema=schema if isinstance(schema, str) else json.dumps(schema))


@pytest.mark.parametrize(
    ("text", "label", "says"),
    [
        ('{"name": "Ada", "born": "1815-12-10", "tags": [1, 2]}', "ok", ""),
        (' {"name": "Ada"}\n', "ok", ""),
        ('{"name": 3}', "schema_error", "$.name is 3"),
        ("{}", "schema_error", "required"),
        ('{"name": "Ada", "age": 36}', "schema_error", "additionalProperties"),
        ('{"name": "Ada", "born": "tenth of December"}', "schema_error", "format: 'date'"),
        ('{"name": "Ada", "tags": [1, 2, 3]}', "schema_error", "maxItems: 2"),
        ("[]", "schema_error", "type: 'object'"),
        ('{"name": "Ada"', "parse_error", "line 1"),
        ('```json\n{"name": "Ada"}\n```', "parse_error", ""),
        ('{"name": "Ada"} Done.', "parse_error", "Extra data"),
        ('{"name": "Ada", "name": "Bob"}', "parse_error", "repeated"),
        ('{"name": NaN}', "parse_error", "NaN"),
        ("", "parse_error", ""),
        ("[" * 100_000, "parse_error", "deep"),
    ],
)
def test_outcomes(verdicts: Verdicts, text: str, label: str, says: str) -> None:
    (score,) = verdicts("json_schema", prompt_for(PERSON), text)
    assert (score.label, score.value) == (label, 1.0 if label == "ok" else 0.0)
    assert says in score.explanation


def test_an_answer_too_deep_for_a_recursive_schema_is_wrong_not_a_crash(verdicts: Verdicts) -> None:
    schema = {"$ref": "#/$defs/list", "$defs": {"list": {"type": "array", "items": {"$ref": "#/$defs/list"}}}}
    scores = verdicts("json_schema", prompt_for(schema), "[[], [[]]]", "[" * 400 + "]" * 400)
    assert [score.label for score in scores] == ["ok", "schema_error"]


def test_no_schema_abstains_and_a_cut_answer_says_so(verdicts: Verdicts) -> None:
    assert verdicts("json_schema", Prompt("p", ()), "{}")[0].status == "abstained"
    (cut,) = verdicts("json_schema", prompt_for(PERSON), Completion('{"na', (1,), finish_reason="length"))
    assert (cut.value, cut.label) == (0.0, "parse_error")
    assert "cut off" in cut.explanation


@pytest.mark.parametrize("schema", ["{", '{"type": "date"}', '{"required": "name"}', '{"$ref": "#/$defs/none"}'])
def test_an_invalid_schema_is_an_error_that_names_the_prompt(verdicts: Verdicts, schema: str) -> None:
    with pytest.raises(PluginError, match="prompt row-3"):
        verdicts("json_schema", prompt_for(schema), "{}")


def test_references_are_never_fetched(verdicts: Verdicts, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = []

    def refuse(*args: object, **kwargs: object) -> None:
        attempts.append(args)
        raise OSError("no network")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(PluginError, match="refers to"):
        verdicts("json_schema", prompt_for({"$ref": "http://127.0.0.1:9/schema.json"}), "{}")
    assert attempts == []


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)
    )
)
def test_every_json_value_is_its_own_const(value: object) -> None:
    completions = tuple(Completion(json.dumps(v), (1,)) for v in (value, [value]))
    group = Group(prompt_for({"const": value}), (1,), completions, "base", Sampling())
    ((same, other),) = json_schema_judge().score([group])
    assert (same.value, other.value) == (1.0, 0.0)
