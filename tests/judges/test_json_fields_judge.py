"""The `json_fields` judge."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judge_cases import Verdicts

from harness.errors import PluginError
from harness.types import Completion, Group, Prompt, Sampling
from harness_judges.json_fields import json_fields_judge
from harness_judges.settings import JsonFieldsConfig

VALUE = {"name": "Ada", "born": {"year": 1815, "exact": True}, "tags": ["a", "b"], "died": None}
"""Six leaves."""


def prompt_for(value: Any) -> Prompt:
    return Prompt("row-3", (), target=json.dumps({"value": value}))


@pytest.mark.parametrize(
    ("change", "label", "share"),
    [
        ({}, "ok", 1.0),
        ({"born": {"exact": True, "year": 1815.0}}, "ok", 1.0),
        ({"name": "ada"}, "value_error", 5 / 6),
        ({"born": {"year": 1815, "exact": 1}}, "value_error", 5 / 6),
        ({"born": {"year": "1815", "exact": True}}, "value_error", 5 / 6),
        ({"tags": ["b", "a"]}, "value_error", 4 / 6),
        ({"tags": ["a"]}, "missing_field", 5 / 6),
        ({"tags": []}, "missing_field", 4 / 7),
        ({"tags": {"0": "a", "1": "b"}}, "missing_field", 4 / 8),
        ({"died": False}, "value_error", 5 / 6),
        ({"note": ""}, "extra_field", 6 / 7),
        ({"note": {}}, "extra_field", 6 / 7),
        ({"note": [1, 2, 3]}, "extra_field", 6 / 9),
    ],
)
def test_leaf_by_leaf(verdicts: Verdicts, change: dict[str, Any], label: str, share: float) -> None:
    text = json.dumps({**VALUE, **change})
    (exact,) = verdicts("json_fields", prompt_for(VALUE), text)
    (partial,) = verdicts("json_fields", prompt_for(VALUE), text, credit="partial")
    assert (exact.value, exact.label) == (float(share == 1), label)
    assert (partial.value, partial.label) == (pytest.approx(share), label)


@pytest.mark.parametrize(
    "text", ["", "Ada", '{"name": "Ada"', '{"a": 1, "a": 1}', "NaN", f"```json\n{json.dumps(VALUE)}\n```", "[" * 10**5]
)
def test_what_is_not_strict_json_is_worth_nothing(verdicts: Verdicts, text: str) -> None:
    (score,) = verdicts("json_fields", prompt_for(VALUE), text, credit="partial")
    assert (score.value, score.label) == (0.0, "parse_error")


def test_it_names_what_is_wrong(verdicts: Verdicts) -> None:
    answers = [{**VALUE, "born": {"year": 1816, "exact": True}}, {**VALUE, "tags": ["a"]}, {**VALUE, "x": {"y": 1}}]
    scores = verdicts("json_fields", prompt_for(VALUE), *map(json.dumps, answers))
    assert [score.explanation for score in scores] == [
        "$.born.year is 1816 where 1815 is expected",
        "$.tags[1] is missing",
        "$.x.y is not asked for",
    ]


def test_a_cut_answer_says_so_and_a_deep_one_is_wrong_not_a_crash(verdicts: Verdicts) -> None:
    cut = Completion('{"name": "A', (1,), finish_reason="length")
    first, deep = verdicts("json_fields", prompt_for(VALUE), cut, "[" * 500 + "]" * 500)
    assert "cut off" in first.explanation
    assert (deep.value, deep.label) == (0.0, "missing_field")


def test_no_target_abstains_and_one_without_value_is_an_error(verdicts: Verdicts) -> None:
    assert verdicts("json_fields", Prompt("p", ()), "{}")[0].status == "abstained"
    with pytest.raises(PluginError, match=r"prompt row-3.*'value'"):
        verdicts("json_fields", Prompt("row-3", (), target='{"answers": []}'), "{}")
    assert verdicts("json_fields", prompt_for(None), "null")[0].value == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(json_values, json_values)
def test_exact_is_equality_as_json_and_partial_is_1_only_then(one: Any, other: Any) -> None:
    """Judged against canonical text, which the judge does not use."""
    equal = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    values = []
    for credit in ("exact", "partial"):
        completions = (Completion(json.dumps(one, indent=1), (1,)), Completion(json.dumps(other), (1,)))
        group = Group(prompt_for(one), (1,), completions, "base", Sampling())
        ((same, different),) = json_fields_judge(JsonFieldsConfig(credit=credit)).score([group])  # type: ignore[arg-type]
        assert same.value == 1
        values.append(different.value)
    assert values[0] == float(equal)
    assert (values[1] == 1) == equal
    assert values[1] is not None
    assert values[0] <= values[1] <= 1
