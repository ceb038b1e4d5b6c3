"""The tool-calls suite: its rows say what the data say, and no function is on both sides of its split."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import jsonschema
import pytest

from harness.assets import fetch
from harness.errors import ConfigError
from harness.protocols import RunContext, SilentProgress, Suite
from harness.tools import parse_calls
from harness.types import Prompt, digest
from harness_suites.plugin import harness_register_suites
from harness_suites.tool_calls.build import build, convert_row, json_schema, split


def load(name: str) -> Suite:
    spec = next(spec for spec in harness_register_suites() if spec.name == name)
    return spec.create(None, RunContext())


@pytest.fixture(scope="module")
def suite() -> Suite:
    return load("tool-calls")


@pytest.fixture(scope="module")
def live() -> Suite:
    return load("tool-calls-live")


# ---------------------------------------------------------------- one row


def test_a_row_becomes_a_prompt() -> None:
    row = {
        "id": "x_1",
        "question": [[{"role": "user", "content": "Where?"}]],
        "function": [
            {
                "name": "f",
                "description": "does",
                "parameters": {
                    "type": "dict",
                    "properties": {
                        "type": {"type": "string", "optional": True},
                        "at": {"type": "tuple", "items": {"type": "float"}},
                        "box": {
                            "type": "dict",
                            "properties": {"w": {"type": "float"}, "h": {"type": "any"}},
                            "required": ["w"],
                        },
                        "n": {"type": "integer"},
                    },
                    "required": ["at", "box", "n"],
                },
            }
        ],
    }
    gold = [{"f": {"type": ["", "fast"], "at": [[1.5, 2]], "box": [{"w": [3, 4], "h": ["", 5]}], "n": ["", 0, 1]}}]
    prompt = convert_row(row, gold, "x")
    assert json.loads(prompt.tools)[0]["parameters"] == {
        "type": "object",
        "properties": {
            "type": {"type": "string"},
            "at": {"type": "array", "items": {"type": "number"}},
            "box": {"type": "object", "properties": {"w": {"type": "number"}, "h": {}}, "required": ["w"]},
            "n": {"type": "integer"},
        },
        "required": ["at", "box", "n"],
    }
    # `type` and `h` may be left out; `n` may too by its gold, but the schema requires it.
    assert json.loads(prompt.reference) == [{"name": "f", "arguments": {"at": [1.5, 2], "box": {"w": 3}, "n": 0}}]
    assert json.loads(prompt.target) == {"calls": [{"name": "f", "arguments": gold[0]["f"]}]}
    assert (prompt.id, prompt.cluster, prompt.metadata) == ("x_1", "x_1", {"category": "x"})
    assert prompt.messages == ({"role": "user", "content": "Where?"},)
    nothing = convert_row(row, None, "irrelevance")
    assert (json.loads(nothing.target), nothing.reference) == ({"calls": []}, "[]")


@pytest.mark.parametrize(
    ("question", "acceptable_values", "said"),
    [
        ("How far is it in miles?", ["", "km", "miles"], "miles"),
        ("How far is it?", ["", "km", "miles"], None),
        ("In miles", ["kilometers", "miles"], "kilometers"),
        ("At 5% a year", ["", 5], None),
        ("Within 0.05 of it", [0.05, ""], 0.05),
        ("Over 10.5 of them", ["", 10], None),
        ("Over 10 of them", ["", 10.0], 10.0),
        ("All of it", ["", True], None),
        ("Pork and beef", ["", ["beef", "pork"]], ["beef", "pork"]),
        ("Pork", ["", ["beef", "pork"]], None),
    ],
)
def test_a_reference_says_what_the_question_says(question: str, acceptable_values: list[Any], said: Any) -> None:
    """An argument that may be left out is given only where its value is stated; of any other the first value is."""
    row = {
        "id": "x_1",
        "question": [[{"role": "user", "content": question}]],
        "function": [{"name": "f", "description": "", "parameters": {"type": "dict", "properties": {"a": {}}}}],
    }
    call = json.loads(convert_row(row, [{"f": {"a": acceptable_values}}], "x").reference or "")[0]
    assert call["arguments"] == ({} if said is None else {"a": said})


def acceptable(value: Any, allowed: Any) -> bool:
    """Whether a value is literally what the target allows; objects map their keys to lists of allowed values."""
    if isinstance(allowed, dict) and isinstance(value, dict):
        return set(value) <= set(allowed) and all(
            any(acceptable(value[key], one) for one in values) if key in value else "" in values
            for key, values in allowed.items()
        )
    if isinstance(allowed, list) and isinstance(value, list):
        return len(allowed) == len(value) and all(map(acceptable, value, allowed))
    return type(value) is type(allowed) and value == allowed


def test_every_reference_is_acceptable_and_fits_its_schema(suite: Suite, live: Suite) -> None:
    for prompt in (*suite.train, *suite.items, *live.items):
        tools = {tool["name"]: tool["parameters"] for tool in json.loads(prompt.tools)}
        target = json.loads(prompt.target)["calls"]
        calls = parse_calls(prompt.reference or "")
        assert [call.name for call in calls] == [call["name"] for call in target], prompt.id
        for call, gold in zip(calls, target, strict=True):
            assert acceptable(dict(call.arguments), gold["arguments"]), prompt.id
            jsonschema.validate(dict(call.arguments), {**tools[call.name], "additionalProperties": False})


def test_every_schema_is_json_schema(suite: Suite, live: Suite) -> None:
    for prompt in (*suite.train, *suite.items, *live.items):
        for tool in json.loads(prompt.tools):
            jsonschema.Draft202012Validator.check_schema(tool["parameters"])
            assert tool["parameters"]["type"] == "object"


def test_only_irrelevance_calls_nothing(suite: Suite) -> None:
    for prompt in (*suite.train, *suite.items):
        assert (prompt.reference == "[]") == (prompt.metadata["category"] == "irrelevance")


# ---------------------------------------------------------------- the split


def plain(name: str) -> str:
    return "".join(char for char in name.casefold() if char.isalnum())


def names(prompts: tuple[Prompt, ...]) -> set[str]:
    return {plain(tool["name"]) for prompt in prompts for tool in json.loads(prompt.tools)}


def schemas(prompts: tuple[Prompt, ...]) -> set[str]:
    return {digest(tool["parameters"]) for prompt in prompts for tool in json.loads(prompt.tools)}


def questions(prompts: tuple[Prompt, ...]) -> set[str]:
    return {plain(prompt.messages[-1]["content"]) for prompt in prompts}


@pytest.mark.parametrize("key", [names, schemas, questions])
def test_nothing_is_on_both_sides(suite: Suite, live: Suite, key) -> None:
    assert key(suite.train).isdisjoint(key(suite.items))
    assert key(suite.train + suite.items).isdisjoint(key(live.items))


def test_items_that_share_a_function_share_a_cluster(suite: Suite, live: Suite) -> None:
    for prompts in (suite.train + suite.items, live.items):
        cluster_of: dict[str, str] = {}
        for prompt in prompts:
            for tool in json.loads(prompt.tools):
                assert cluster_of.setdefault(plain(tool["name"]), prompt.cluster) == prompt.cluster
    assert max(Counter(prompt.cluster for prompt in suite.items).values()) <= 20
    assert len({prompt.cluster for prompt in suite.items}) == 262


def test_the_split_is_the_one_the_readme_tells(suite: Suite) -> None:
    train, items = build(SilentProgress())

    def counts(prompts: tuple[Prompt, ...]) -> dict[str, int]:
        return dict(Counter(prompt.metadata["category"] for prompt in prompts))

    assert counts(train) == {
        "simple_python": 240,
        "multiple": 120,
        "parallel": 120,
        "parallel_multiple": 117,
        "irrelevance": 144,
    }
    assert counts(suite.items) == {
        "simple_python": 160,
        "multiple": 80,
        "parallel": 80,
        "parallel_multiple": 79,
        "irrelevance": 96,
    }
    # Results are compared across machines and releases: the items, their content and their order are a constant.
    assert digest([[p.id, p.hash, p.cluster] for p in train]) == TRAIN
    assert items == suite.items
    assert digest([[p.id, p.hash, p.cluster] for p in suite.items]) == HELD_OUT


TRAIN = "169dfbce0718b4b22195a8da9638f1dd26fbc55a2b4c4a354dfacfafc42deff4"
HELD_OUT = "75bbf25220fbe2d85f1fc816cf8e93da998fa874190dac5e473c138499183175"


def test_the_split_does_not_depend_on_the_order_of_rows() -> None:
    folder = fetch("bfcl")
    files = [folder / f"BFCL_v4_{name}.json" for name in ("simple_python", "parallel")]
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    cluster_of, held_out = split(rows)
    assert split(rows[::-1]) == (cluster_of, held_out)
    assert 0.3 < len(held_out) / len(rows) < 0.5


def test_fewer_categories_keep_every_item_on_its_side(suite: Suite) -> None:
    train, items = build(SilentProgress(), categories=("multiple", "irrelevance"))
    whole, _ = build(SilentProgress())
    assert [p for p in whole if p.metadata["category"] in ("multiple", "irrelevance")] == list(train)
    assert [p for p in suite.items if p.metadata["category"] in ("multiple", "irrelevance")] == list(items)


def test_limits_keep_the_first_training_prompts_and_every_held_out_item(suite: Suite) -> None:
    whole, items = build(SilentProgress())
    train, limited_items = build(SilentProgress(), train_limits={"parallel": 5, "multiple": 0})
    kept = [p for p in whole if p.metadata["category"] == "parallel"][:5]
    assert [p for p in train if p.metadata["category"] == "parallel"] == kept
    assert not [p for p in train if p.metadata["category"] == "multiple"]
    assert len(train) == 240 + 5 + 117 + 144
    assert limited_items == items


def test_any_prefix_mixes_the_categories(suite: Suite) -> None:
    for prompts in (build(SilentProgress())[0], suite.items):
        assert set(Counter(p.metadata["category"] for p in prompts[:40])) == {p.metadata["category"] for p in prompts}


def test_an_unknown_category_is_refused() -> None:
    with pytest.raises(ConfigError, match="Did you mean parallel"):
        build(SilentProgress(), categories=("paralel",))


def test_a_live_suite_only_watches(live: Suite) -> None:
    assert live.role == "monitor"
    assert live.train == ()
    assert len(live.items) == 227


def test_schema_conversion_leaves_real_json_schema_alone() -> None:
    schema = {"type": "object", "properties": {"dict": {"type": "string", "enum": ["dict", "float"]}}}
    assert json_schema(schema) == schema
