"""One argument at a time: the strict comparison against hand-made cases, the BFCL one against published verdicts."""

from __future__ import annotations

import math
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judge_cases import Verdicts, answer, tool_prompt

from harness_judges.tool_call.strict import StrictCheck
from harness_judges.tool_call.target import ExpectedArgument

INTEGER, NUMBER, STRING, BOOLEAN = ({"type": kind} for kind in ("integer", "number", "string", "boolean"))
ANY: dict[str, Any] = {}
OBJECT = {"type": "object"}


def list_of(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def one_parameter(schema: dict[str, Any], options: list[Any]):
    tool = {"name": "f", "parameters": {"type": "object", "properties": {"p": schema}, "required": ["p"]}}
    return tool_prompt([tool], [("f", {"p": options})])


@pytest.mark.parametrize(
    ("schema", "options", "value", "label"),
    [
        (INTEGER, [5], 5, "ok"),
        (INTEGER, [5], 5.0, "ok"),  # JSON Schema: a number without a fraction is an integer
        (INTEGER, [5], 5.5, "type_error"),
        (INTEGER, [1], True, "type_error"),
        (INTEGER, [5, ""], "", "type_error"),  # "" says that it may be left out, not that it may be ""
        (INTEGER, [100000000], 100000001, "value_error"),  # whole numbers are names, not measurements
        (NUMBER, [0.3], 0.1 + 0.2, "ok"),
        (NUMBER, [0.3], 0.3001, "value_error"),
        (NUMBER, [5.0], 5, "ok"),
        (NUMBER, [1], True, "type_error"),
        (BOOLEAN, [True], 1, "type_error"),
        (BOOLEAN, [True], False, "value_error"),
        (STRING, ["New York, NY"], "new york ny", "ok"),
        (STRING, ["2024-01-05"], "2024/01/05", "ok"),
        (STRING, ["it's"], 'It"s', "ok"),
        (STRING, ["1.5"], "15", "value_error"),
        (STRING, ["-5"], "5", "value_error"),
        (STRING, ["/"], ".", "value_error"),
        (STRING, ["1.5 km"], "15 km", "value_error"),
        (STRING, ["below -5"], "below 5", "value_error"),
        (STRING, ["3 -5"], "3-5", "value_error"),  # a list of two is not a range
        (STRING, ["1,2"], "12", "value_error"),
        (STRING, ["1,2"], "1, 2", "ok"),
        (STRING, ["2^3"], "23", "value_error"),
        (STRING, ["2^3"], "2**3", "ok"),
        (STRING, ["3x^2"], "3x**2", "ok"),
        (STRING, ["$1,000"], "$1000", "ok"),
        (STRING, ["April 1,2024"], "April 1, 2024", "ok"),
        (STRING, ["April 1,2024"], "april 1 2024", "ok"),
        (STRING, ["10 - 12"], "10-12", "ok"),
        (STRING, ["COVID-19"], "covid 19", "ok"),
        (STRING, ["No.5"], "no. 5", "ok"),
        (STRING, ["naïve"], "nai\u0308ve", "ok"),  # the same letter composed and decomposed
        (STRING, ["x", ""], "", "ok"),
        (STRING, ["x"], None, "type_error"),
        (STRING, ["x", None], None, "ok"),  # named in the gold answer, so the gold decides
        (STRING, [True], True, "ok"),
        (STRING, [True], "true", "value_error"),
        ({**STRING, "enum": ["Up", "Down"]}, ["Up"], "up", "value_error"),
        ({**STRING, "enum": ["Up", "Down"]}, ["sideways"], "sideways", "ok"),
        ({"type": "any"}, ["my_data"], "My Data", "ok"),
        ({"type": "any"}, [3], 3.0, "ok"),
        (ANY, [[1, "A"]], [1.0, "a"], "ok"),
        (ANY, [1], True, "value_error"),
        (ANY, [True], 1.0, "value_error"),
        (ANY, [[0]], [False], "value_error"),
        (list_of(NUMBER), [[1.0, 3.0]], [1, 3], "ok"),
        (list_of(NUMBER), [[1.0, 3.0]], [3, 1], "value_error"),
        (list_of(NUMBER), [[1.0, 3.0]], [1], "value_error"),
        (list_of(NUMBER), [[1.0]], ["1.0"], "type_error"),
        (list_of(NUMBER), [[1.0], ""], [], "value_error"),
        (list_of(list_of(STRING)), [[["A b"]]], [["a-b"]], "ok"),
        (OBJECT, [{"a": ["X"], "b": ["", 2]}], {"a": "x"}, "ok"),
        (OBJECT, [{"a": ["X"], "b": ["", 2]}], {"a": "x", "b": 3}, "value_error"),
        (OBJECT, [{"a": ["X"], "b": [2]}], {"a": "x"}, "value_error"),
        (OBJECT, [{"a": ["X"]}], {"a": "x", "c": 1}, "value_error"),
        (OBJECT, [{"a": ["X"]}], {"a": ["X"]}, "value_error"),
        (OBJECT, [{"a": [{"k": [1, 2]}]}], {"a": {"k": 2}}, "ok"),
        (OBJECT, [{"a": [{"k": 1}]}], {"a": {"k": 1}}, "ok"),
        ({**OBJECT, "required": ["b"]}, [{"a": ["X"], "b": ["y", ""]}], {"a": "x"}, "type_error"),
        (list_of(OBJECT), [[{"a": ["X"]}, {"a": ["Y"]}]], [{"a": "x"}, {"a": "y"}], "ok"),
        (list_of(OBJECT), [[{"a": ["X"]}, {"a": ["Y"]}]], [{"a": "y"}, {"a": "x"}], "value_error"),
    ],
)
def test_strict(verdicts: Verdicts, schema: dict, options: list, value: Any, label: str) -> None:
    (score,) = verdicts("tool_call", one_parameter(schema, options), answer(("f", {"p": value})))
    assert score.label == label, score.explanation


# Verdicts of the published checker (bfcl-eval 2026.3.23, Python rules) on these very cases.
@pytest.mark.parametrize(
    ("schema", "options", "value", "published"),
    [
        (STRING, ["New York, NY"], "new york ny", True),
        (STRING, ["1.5"], "15", True),
        (STRING, ["it's"], 'it"s', True),
        (STRING, ["a\nb"], "ab", False),
        (STRING, ["x", ""], "", True),
        (STRING, ["x"], "", False),
        (STRING, ["", True], True, True),
        (STRING, ["", True], "True", False),
        (STRING, [None, "x"], "x", True),
        (STRING, [None, "x"], "X", False),
        (STRING, [None, "x"], None, True),
        (STRING, ["x", None], "X.", True),
        (STRING, ["x", None], None, False),
        (INTEGER, [5], 5, True),
        (INTEGER, [5], 5.0, False),
        (INTEGER, [1], True, False),
        (INTEGER, ["", 5], "", False),
        (NUMBER, [5.0], 5, True),
        (NUMBER, [5], 5, True),
        (NUMBER, [5], 5.0, True),
        (NUMBER, [0.3], 0.30000000000000004, False),
        (BOOLEAN, [True], 1, False),
        (BOOLEAN, [True], "true", False),
        (ANY, ["my_data"], "MY DATA", True),
        (ANY, ["my_data"], 3, False),
        (list_of(NUMBER), [[1.0, 3.0]], [1, 3], False),
        (list_of(NUMBER), [[1, 3]], [1, 3], True),
        (list_of(NUMBER), [[1.0, 3]], [1.0, 3], False),
        (list_of(STRING), [["A b", "C"]], ["a-b", "c"], True),
        (list_of(STRING), [["A b", "C"]], ["c", "a-b"], False),
        (list_of(STRING), [["A"], ""], [], True),
        (list_of(STRING), [["A"]], [], False),
        (list_of(STRING), [""], [], True),
        (list_of(STRING), [["A"], ""], [3], False),
        (list_of(list_of(STRING)), [[["A"]]], [["a"]], False),
        (list_of(list_of(STRING)), [[["A"]]], [["A"]], True),
        (OBJECT, [{"a": ["X"], "b": ["", 2]}], {"a": "x"}, True),
        (OBJECT, [{"a": ["X"], "b": ["", 2]}], {"a": "x", "b": 3}, False),
        (OBJECT, [{"a": ["X"]}], {"a": "x", "c": 1}, False),
        (OBJECT, [{"a": ["X"], "b": [2]}], {"a": "x"}, False),
        (OBJECT, [{"a": [{"k": 1}]}], {"a": {"k": 1}}, True),
        (OBJECT, [{"a": [{"k": [1]}]}], {"a": {"k": 1}}, False),
        (OBJECT, ["", {}], {}, True),
        (list_of(OBJECT), [[{"a": ["X"]}, {"a": ["Y"]}]], [{"a": "x"}, {"a": "y"}], True),
        (list_of(OBJECT), [[{"a": ["X"]}, {"a": ["Y"]}]], [{"a": "y"}, {"a": "x"}], False),
        (list_of(OBJECT), [[{"a": ["X"]}, {"a": ["Y"]}]], [{"a": "x"}], False),
    ],
)
def test_bfcl_decides_as_published(
    verdicts: Verdicts, schema: dict, options: list, value: Any, published: bool
) -> None:
    (score,) = verdicts("tool_call", one_parameter(schema, options), answer(("f", {"p": value})), mode="bfcl")
    assert (score.value == 1.0) is published, score.explanation


def strict_right(value: Any, option: Any, schema: dict[str, Any] = ANY, **settings: Any) -> bool:
    return (
        StrictCheck(**settings)(value, ExpectedArgument("p", [option], schema, {"properties": {"p": schema}})) is None
    )


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_fractions_are_compared_within_the_relative_tolerance(value: float, option: float) -> None:
    whole = value.is_integer() and option.is_integer()
    expected = value == option if whole else math.isclose(value, option, rel_tol=1e-3)
    assert strict_right(value, option, tolerance=1e-3) is expected


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(min_size=1),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)


@given(json_values)
def test_every_value_equals_itself_and_no_other_kind(value: Any) -> None:
    assert strict_right(value, value)
    assert not strict_right([value], value)
    assert not strict_right({"a": value}, value)
    assert strict_right({"a": value}, {"a": [value]})


@given(st.text(string.ascii_letters + string.digits + " ,./-_*^'", min_size=1))
def test_exact_strings_tell_apart_what_normalization_folds(text: str) -> None:
    assert strict_right("q" + text.upper(), "Q" + text)
    assert not strict_right("q" + text.upper(), "Q" + text, exact_strings=True)
    assert strict_right(text, text, exact_strings=True)
