"""The `tool_call` judge: what it calls right, what it calls each kind of wrong, and whose fault it says it is."""

from __future__ import annotations

import copy
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judge_cases import Verdicts, answer, tool_prompt

from harness.errors import PluginError
from harness.types import Completion, Group, Prompt, Sampling
from harness_judges.settings import ToolCallConfig
from harness_judges.tool_call.judge import tool_call_judge
from harness_suites.tool_calls.build import convert_row

WEATHER = {
    "name": "weather",
    "description": "The weather.",
    "parameters": {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer"},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        },
        "required": ["city"],
    },
}
NEWS = {"name": "news", "parameters": {"type": "object", "properties": {"topic": {"type": "string"}}}}
PARIS = ("weather", {"city": ["Paris", "Paris, France"], "days": [3], "unit": ["celsius", ""]})
ONE = tool_prompt([WEATHER, NEWS], [PARIS])
NONE = tool_prompt([WEATHER, NEWS], [])
TWO = tool_prompt([WEATHER, NEWS], [PARIS, ("news", {"topic": ["art"]})])
MODES = ("strict", "bfcl")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("prompt", "text", "label", "says"),
    [
        (ONE, answer(("weather", {"city": "Paris", "days": 3})), "ok", []),
        (ONE, answer(("weather", {"city": "paris france", "days": 3, "unit": "celsius"})), "ok", []),
        (ONE, '{"name": "weather", "arguments": {"city": "Paris", "days": 3}}', "ok", []),
        (ONE, "It is sunny.", "parse_error", ["JSON"]),
        (ONE, answer(("weather", {"city": "Paris", "days": 3}))[:-4], "parse_error", ["JSON"]),
        (ONE, answer(("news", {"city": "Paris", "days": 3})), "wrong_tool", ["'news'", "'weather'"]),
        (ONE, answer(("weather", {"city": "Paris"})), "missing_arg", ["weather", "'days'"]),
        (ONE, answer(("weather", {"days": 3})), "missing_arg", ["weather", "'city'"]),
        (ONE, answer(("weather", {"city": "Paris", "days": 3, "lang": "fr"})), "extra_arg", ["'lang'"]),
        (ONE, answer(("weather", {"city": "Paris", "days": "3"})), "type_error", ["'days'", "'3'", "int"]),
        (ONE, answer(("weather", {"city": "Paris", "days": True})), "type_error", ["'days'", "True"]),
        (ONE, answer(("weather", {"city": "Rome", "days": 3})), "value_error", ["'city'", "'Rome'", "'Paris'"]),
        (ONE, answer(("weather", {"city": "Paris", "days": 4})), "value_error", ["'days'", "4", "3"]),
        (ONE, answer(("weather", {"city": "Paris", "days": 3}), ("news", {})), "wrong_count", ["2", "1"]),
        (TWO, answer(("weather", {"city": "Paris", "days": 3})), "wrong_count", ["1", "2"]),
        (ONE, "[]", "missed_call", ["1 call"]),
        (NONE, "[]", "ok", []),
        (NONE, answer(("news", {"topic": "art"})), "false_call", ["1 call"]),
        (NONE, "There is no fitting function.", "parse_error", ["JSON"]),
    ],
)
def test_every_outcome_has_its_label_and_sentence(
    verdicts: Verdicts, mode: str, prompt: Prompt, text: str, label: str, says: list[str]
) -> None:
    (score,) = verdicts("tool_call", prompt, text, mode=mode)
    assert score.label == label
    assert score.status == "scored"
    assert score.value == (1.0 if label == "ok" else 0.0)
    assert all(part in score.explanation for part in says), score.explanation
    assert bool(score.explanation) == (label != "ok")


def test_a_required_argument_is_due_even_where_the_gold_would_do_without(verdicts: Verdicts) -> None:
    prompt = tool_prompt([WEATHER], [("weather", {"city": ["Paris", ""]})])
    for mode in MODES:
        scores = verdicts(
            "tool_call", prompt, answer(("weather", {})), answer(("weather", {"city": "Paris"})), mode=mode
        )
        assert [score.label for score in scores] == ["missing_arg", "ok"]


def test_what_the_schema_forbids_is_wrong_in_strict_mode_only(verdicts: Verdicts) -> None:
    shout = answer(("weather", {"city": "Paris", "days": 3, "unit": "CELSIUS"}))
    (strict,) = verdicts("tool_call", ONE, shout)
    assert (strict.label, "enum" in strict.explanation) == ("value_error", True)
    assert verdicts("tool_call", ONE, shout, mode="bfcl")[0].label == "ok"


def test_a_truncated_answer_is_a_real_zero_and_says_so(verdicts: Verdicts) -> None:
    text = answer(("weather", {"city": "Paris", "days": 3}))
    cut, whole = verdicts(
        "tool_call", ONE, Completion(text[:20], (1,), finish_reason="length"), Completion(text, (1,), None, "length")
    )
    assert (cut.value, cut.label) == (0.0, "parse_error")
    assert "cut off" in cut.explanation
    assert whole.value == 1.0


def test_gold_answers_of_all_real_rows_are_right(verdicts: Verdicts, bfcl_rows) -> None:
    # The gold of these names a parameter that the function does not have, or lists no acceptable value.
    broken = {"live_multiple_862-181-3", "live_multiple_964-207-0"}
    # Not convertible into an answer: a required value is missing, or the gold nests a bare value.
    unconvertible = {
        "live_simple_106-63-0",
        "live_simple_112-68-0",
        "live_multiple_121-46-0",
        "live_multiple_507-149-4",
    }
    checked = 0
    for category, row, truth in bfcl_rows:
        if row["id"] in broken | unconvertible:
            continue
        prompt = convert_row(row, truth, category)
        for mode in MODES:
            (score,) = verdicts("tool_call", prompt, prompt.reference, mode=mode)
            assert score.value == 1.0, (row["id"], mode, score)
        checked += 1
    assert checked == 2351 - len(broken | unconvertible)
    for category, row, truth in bfcl_rows:
        if row["id"] in broken:
            with pytest.raises(PluginError, match=row["id"]):
                verdicts("tool_call", convert_row(row, truth, category), "[]")


def test_mutated_gold_of_real_rows_gets_the_label_of_its_mutation(verdicts: Verdicts, bfcl_rows) -> None:
    simple = [(category, row, truth) for category, row, truth in bfcl_rows if category == "simple_python"]
    for category, row, truth in simple:
        prompt = convert_row(row, truth, category)
        (call,) = json.loads(prompt.reference)
        ((_, options),) = truth[0].items()
        required = row["function"][0]["parameters"]["required"]
        name = required[0]

        def mutate(change, call=call):
            changed = copy.deepcopy(call)
            change(changed)
            return json.dumps([changed])

        mutants = {
            "wrong_tool": mutate(lambda c: c.update(name=c["name"] + "_2")),
            "missing_arg": mutate(lambda c, name=name: c["arguments"].pop(name)),
            "extra_arg": mutate(lambda c: c["arguments"].update(no_such_parameter=1)),
            "type_error": mutate(lambda c, name=name: c["arguments"].update({name: {"no": {"such": "value"}}})),
            "wrong_count": json.dumps([call, call]),
            "missed_call": "[]",
            "parse_error": json.dumps([call])[:-1],
        }
        if all(isinstance(option, str) for option in options[name]):
            other = mutate(lambda c, name=name: c["arguments"].update({name: "no such value"}))
            mutants["value_error"] = other
        for mode in MODES:
            labels = [score.label for score in verdicts("tool_call", prompt, *mutants.values(), mode=mode)]
            expected = list(mutants)
            if row["function"][0]["parameters"]["properties"][name]["type"] == "dict":
                # An object is of the right type; whether its content is a type or a value matter depends on the schema.
                assert labels[3] in ("type_error", "value_error")
                expected[3] = labels[3]
            assert labels == expected, (row["id"], mode)


# ---------------------------------------------------------------- several calls


@given(st.permutations(range(3)))
def test_the_order_of_parallel_calls_does_not_matter_unless_the_item_says_so(order: list[int]) -> None:
    due = [("weather", {"city": [c], "days": [d]}) for c, d in (("Paris", 1), ("Paris", 2), ("Rome", 1))]
    made = [("weather", {key: values[0] for key, values in due[index][1].items()}) for index in order]
    for ordered in (False, True):
        prompt = tool_prompt([WEATHER], due, ordered=ordered)
        group = Group(prompt, (1,), (Completion(answer(*made), (1,)),), "base", Sampling())
        for mode in MODES:
            ((score,),) = tool_call_judge(ToolCallConfig(mode=mode)).score([group])
            assert score.value == (1.0 if not ordered or order == [0, 1, 2] else 0.0)


def test_strict_finds_a_pairing_that_first_fit_misses(verdicts: Verdicts) -> None:
    """The first expected call takes the only answer that the second could have had; as published, that is wrong."""
    prompt = tool_prompt([WEATHER], [("weather", {"city": ["Paris", "Rome"]}), ("weather", {"city": ["Paris"]})])
    text = answer(("weather", {"city": "Paris"}), ("weather", {"city": "Rome"}))
    assert verdicts("tool_call", prompt, text)[0].value == 1.0
    (published,) = verdicts("tool_call", prompt, text, mode="bfcl")
    assert (published.value, published.label) == (0.0, "value_error")


# ---------------------------------------------------------------- items at fault, hostile answers, the contract


def test_no_target_abstains(verdicts: Verdicts) -> None:
    (score,) = verdicts("tool_call", Prompt("p", ()), "[]")
    assert (score.status, score.value) == ("abstained", None)


@pytest.mark.parametrize(
    ("target", "tools", "what"),
    [
        ("{", [WEATHER], "not JSON"),
        ("[]", [WEATHER], "calls"),
        ('{"calls": 1}', [WEATHER], "calls"),
        ('{"calls": [], "ordered": 1}', [WEATHER], "ordered"),
        ('{"calls": ["weather"]}', [WEATHER], "object"),
        ('{"calls": [{"name": "f", "arguments": {}}]}', [WEATHER], "'f', which is not among the tools"),
        ('{"calls": [{"name": "news", "arguments": {"topic": "art"}}]}', [NEWS], "'topic' must be a list"),
        ('{"calls": [{"name": "news", "arguments": {"topic": []}}]}', [NEWS], "not empty"),
        ('{"calls": [{"name": "news", "arguments": {"lang": ["fr"]}}]}', [NEWS], "no answer can be right.*lang"),
        ('{"calls": [{"name": "weather", "arguments": {"days": [3]}}]}', [WEATHER], "no answer can be right.*city"),
        ('{"calls": [{"name": "news", "arguments": {}}]}', [{"name": "news", "parameters": []}, 3], "list of objects"),
        ('{"calls": [{"name": "f", "arguments": {}}]}', [{"name": "f", "parameters": {"required": True}}], "required"),
    ],
)
def test_a_broken_item_is_an_error_that_names_it(verdicts: Verdicts, target: str, tools: list, what: str) -> None:
    with pytest.raises(PluginError, match=rf"prompt row-1\b.*{what}"):
        verdicts("tool_call", Prompt("row-1", (), tools=json.dumps(tools), target=target), "[]")


@pytest.mark.parametrize(
    ("schema", "mode"), [({"type": "date"}, "strict"), ({"minimum": "one"}, "strict"), ({"type": "date"}, "bfcl")]
)
def test_a_broken_parameter_schema_is_an_error_not_a_verdict(verdicts: Verdicts, schema: dict, mode: str) -> None:
    tool = {"name": "f", "parameters": {"type": "object", "properties": {"x": schema}}}
    with pytest.raises(PluginError, match=r"prompt item-7.*'x'"):
        verdicts("tool_call", tool_prompt([tool], [("f", {"x": [1]})]), answer(("f", {"x": 2})), mode=mode)


def test_references_within_a_tool_schema_are_followed(verdicts: Verdicts) -> None:
    tool = {
        "name": "f",
        "parameters": {
            "type": "object",
            "properties": {"tree": {"$ref": "#/$defs/node"}},
            "$defs": {
                "node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "required": ["name"]}
            },
        },
    }
    prompt = tool_prompt([tool], [("f", {"tree": [{"name": ["a b"], "next": ["", {"name": ["c"]}]}]})])
    right, unnamed = ({"name": "A-B", "next": {"name": "C"}}, {"name": "a b", "next": {}})
    deep: dict = {"name": "x"}
    for _ in range(300):
        deep = {"name": "x", "next": deep}
    scores = verdicts("tool_call", prompt, *(answer(("f", {"tree": tree})) for tree in (right, unnamed, deep)))
    assert [score.label for score in scores] == ["ok", "type_error", "type_error"]
    assert "required" in scores[1].explanation


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("credit", ["exact", "partial"])
@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '[{"name": "weather", "arguments": {"city": ' + "[" * 500 + "]" * 500 + "}}]",
        '[{"name": "weather", "arguments": {"city": "Paris", "days": ' + "9" * 4000 + "}}]",
        '[{"name": "weather", "arguments": {"city": "Paris", "days": 1e999}}]',
        '[{"name": "weather", "arguments": {"city": "Paris", "days": NaN}}]',
        '[{"name": "\\ud800", "arguments": {}}]',
        '[{"name": "weather", "arguments": {"\\ud800": "\\udfff", "city": "\\udfff", "days": 3}}]',
        '[{"name": "weather", "arguments": {"city": "Paris", "city": "Paris", "days": 3}}]',
        '[{"name": ["weather"], "arguments": {}}]',
        '[{"name": "weather", "arguments": null}]',
        "[null]",
        "\x00",
        '[{"name": "weather", "arguments": {"' + "x" * 10_000 + '": 1}}]',
        json.dumps([{"name": "weather", "arguments": {"city": "Paris"}}] * 500),
    ],
)
def test_hostile_answers_are_scored_quickly_and_explained_storably(
    verdicts: Verdicts, text: str, mode: str, credit: str
) -> None:
    start = time.perf_counter()
    for prompt in (ONE, TWO):
        (score,) = verdicts("tool_call", prompt, text, mode=mode, credit=credit)
        assert score.status == "scored"
        assert score.value < 0.7
        assert 0 < len(score.explanation.encode()) <= 1600  # encode() fails on what a file could not hold
    assert time.perf_counter() - start < 20.0


def test_a_huge_whole_number_where_a_fraction_is_due_is_wrong_not_a_crash(verdicts: Verdicts) -> None:
    tool = {"name": "f", "parameters": {"type": "object", "properties": {"x": {"type": "number"}}}}
    text = '[{"name": "f", "arguments": {"x": ' + "9" * 400 + "}}]"
    for mode in MODES:
        (score,) = verdicts("tool_call", tool_prompt([tool], [("f", {"x": [0.5]})]), text, mode=mode)
        assert score.label == "value_error"


def test_judging_groups_changes_nothing_and_keeps_their_order() -> None:
    right = answer(("weather", {"city": "Paris", "days": 3}))
    groups = [
        Group(prompt, (1,), tuple(Completion(text, (1,)) for text in texts), "base", Sampling())
        for prompt, texts in ((ONE, [right, "[]", "x"]), (NONE, ["[]"]), (TWO, []))
    ]
    before = repr(groups)
    judge = tool_call_judge(ToolCallConfig())
    scores = judge.score(groups)
    assert [[score.label for score in row] for row in scores] == [["ok", "missed_call", "parse_error"], ["ok"], []]
    assert repr(groups) == before
    assert judge.score(groups) == scores
