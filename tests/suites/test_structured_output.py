"""The structured-output suite: what is right is in the text, under schemas that the other side does not have."""

from __future__ import annotations

import json
import re
from calendar import month_name
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from suite_checks import closest, mean, means_of_fixed, oracle, own_suite, request, rewards, without_reading

from harness.config import DEFAULTS, LoopConfig, merge
from harness.protocols import Suite
from harness.types import Prompt, digest
from harness_judges.json_fields import leaves
from harness_suites.structured_output.build import LEADS, json_schema, make_prompt

KINDS = {"flat", "nested", "list", "formats", "nullable", "choice"}
FORMATS = {"date", "date-time", "email", "uri", "uuid"}


@pytest.fixture(scope="module")
def suite() -> Suite:
    return own_suite("structured_output")


def text_of(prompt: Prompt) -> str:
    return request(prompt).partition("\n\nText: ")[2]


def value_of(prompt: Prompt) -> Any:
    return json.loads(prompt.target)["value"]


def nodes(schema: Any) -> list[dict[str, Any]]:
    """Every object in a schema, at any depth."""
    if isinstance(schema, list):
        return [node for item in schema for node in nodes(item)]
    return [schema, *(node for value in schema.values() for node in nodes(value))] if isinstance(schema, dict) else []


def test_sizes(suite: Suite) -> None:
    assert suite.role == "target"
    assert (len(suite.items), len(suite.train)) == (120, 160)
    assert Counter(item.metadata["category"] for item in suite.items) == dict.fromkeys(KINDS, 20)
    assert {row.metadata["category"] for row in suite.train} == KINDS
    assert set(Counter(prompt.cluster for prompt in suite.items + suite.train).values()) == {5}


def test_every_reference_is_right_for_every_judge(suite: Suite) -> None:
    for prompts in (suite.items, suite.train):
        for purpose in ("eval", "train"):
            assert set(rewards(suite, prompts, oracle, purpose=purpose).values()) == {1.0}


def test_what_does_not_read_scores_nothing(suite: Suite) -> None:
    assert max(without_reading(suite).values()) <= suite.degenerate_bound
    assert max(means_of_fixed(suite, [oracle(prompt) for prompt in suite.items + suite.train])) < 0.05


def test_an_answer_in_a_fence_or_with_a_wrong_field_is_wrong(suite: Suite) -> None:
    assert mean(suite, lambda prompt: f"```json\n{oracle(prompt)}\n```") == 0
    assert mean(suite, lambda prompt: f"Here you are: {oracle(prompt)}") == 0

    def one_too_many(prompt: Prompt) -> str:
        return json.dumps({**value_of(prompt), "note": ""})

    assert mean(suite, one_too_many) == 0
    partial = rewards(suite, suite.items, one_too_many, purpose="train").values()
    assert all(0.3 < value < 0.75 for value in partial)


def test_the_text_tells_every_name_and_number(suite: Suite) -> None:
    """What is not told in the letters of the answer is an enum, a constant, a date, or a number in words."""
    for prompt in suite.items + suite.train:
        schema = nodes(json.loads(prompt.schema))
        named = {value for node in schema for value in [*node.get("enum", ()), node.get("const")]}
        for leaf in leaves(value_of(prompt)).values():
            told = text_of(prompt)
            if isinstance(leaf, str) and leaf not in named and not re.match(r"\d{4}-\d\d-\d\d", leaf):
                assert leaf in told, (prompt.id, leaf)
            if isinstance(leaf, float):
                assert str(leaf) in told, (prompt.id, leaf)


def test_dates_are_those_of_the_text(suite: Suite) -> None:
    seen = 0
    for prompt in suite.items + suite.train:
        for leaf in leaves(value_of(prompt)).values():
            if isinstance(leaf, str) and (day := re.match(r"(\d{4})-(\d\d)-(\d\d)", leaf)):
                assert f"{int(day[3])} {month_name[int(day[2])]} {day[1]}" in text_of(prompt), prompt.id
                seen += 1
    assert seen > 50


def test_it_asks_for_all_that_the_summary_names(suite: Suite) -> None:
    for prompts in (suite.items, suite.train):
        keywords = Counter(key for prompt in prompts for node in nodes(json.loads(prompt.schema)) for key in node)
        assert {"enum", "minItems", "maxItems", "minimum", "maximum", "pattern", "oneOf", "const"} <= set(keywords)
        schemas = " ".join(prompt.schema for prompt in prompts)
        assert {name for name in FORMATS if f'"format": "{name}"' in schemas} == FORMATS
        assert any(None in leaves(value_of(prompt)).values() for prompt in prompts)


def test_the_two_sides_share_neither_schemas_nor_facts(suite: Suite) -> None:
    assert {p.cluster for p in suite.train}.isdisjoint(p.cluster for p in suite.items)
    assert {p.schema for p in suite.train}.isdisjoint(p.schema for p in suite.items)

    def facts(prompts: tuple[Prompt, ...]) -> set[str]:
        found = set()
        for prompt in prompts:
            enums = {value for node in nodes(json.loads(prompt.schema)) for value in node.get("enum", ())}
            strings = {leaf for leaf in leaves(value_of(prompt)).values() if isinstance(leaf, str)}
            found |= strings - enums
        return found

    assert facts(suite.train) & facts(suite.items) == set()
    assert closest([(p.id, text_of(p)) for p in suite.train], [(p.id, text_of(p)) for p in suite.items]) < (0.2,)
    leads = [{request(p).partition("\n\n")[0] for p in prompts} for prompts in (suite.train, suite.items)]
    assert leads[0].isdisjoint(leads[1])


def test_references_fit_and_no_prompt_comes_twice(suite: Suite) -> None:
    prompts = suite.items + suite.train
    assert len({text_of(prompt) for prompt in prompts}) == len(prompts)
    assert max(len(oracle(prompt)) for prompt in prompts) < 2 * suite.sampling.max_tokens


def test_any_prefix_mixes_the_kinds(suite: Suite) -> None:
    for prompts in (suite.items, suite.train):
        assert {prompt.metadata["category"] for prompt in prompts[:40]} == KINDS


def test_the_rows_are_a_constant(suite: Suite) -> None:
    """Results are compared across machines and releases."""
    assert digest([[p.id, p.hash, p.cluster] for p in suite.train]) == TRAIN
    assert digest([[p.id, p.hash, p.cluster] for p in suite.items]) == HELD_OUT


TRAIN = "1359a9e6fe7a10c7fa58b46d7b30e808f375dcaad59d3b7bb101194b0b1c5d9b"
HELD_OUT = "8ff1e3f94a477cbe403ffea27cbb16596ccf7c730cad1cfdb97dc8b5f907405b"


def test_every_schema_can_constrain_decoding(suite: Suite, tiny_model: Path) -> None:
    from transformers import AutoTokenizer

    from harness_plugins.generators.constrained import SchemaGrammars

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    grammars = SchemaGrammars(tokenizer, vocab_size=len(tokenizer), stop_ids=[tokenizer.eos_token_id])
    for prompt in suite.items + suite.train:
        if prompt.id.endswith("-1"):
            matcher = grammars.matcher(prompt)
            for token in [*tokenizer.encode(oracle(prompt), add_special_tokens=False), tokenizer.eos_token_id]:
                matcher.advance(token)


def test_a_form_becomes_a_prompt() -> None:
    form = {
        "name": "trip",
        "kind": "flat",
        "properties": {"to": {"type": "string"}, "legs": {"type": "array", "items": {"properties": {"n": {}}}}},
        "value": {"to": "$town", "legs": "$legs"},
        "slots": {"town": ["Rome"], "legs": [["two legs", [{"n": 1}, {"n": 2}]]]},
        "texts": ["To {town} in {legs}.", "{legs} to {town}."],
    }
    first, second = (make_prompt(form, index, LEADS["train"]) for index in (0, 1))
    assert (text_of(first), text_of(second)) == ("To Rome in two legs.", "two legs to Rome.")
    assert value_of(first) == json.loads(oracle(first)) == {"to": "Rome", "legs": [{"n": 1}, {"n": 2}]}
    assert (first.id, first.cluster, first.metadata) == ("trip-1", "trip", {"category": "flat"})
    assert f"Schema: {first.schema}\n" in request(first)


def test_an_object_in_a_form_is_closed() -> None:
    short = {"title": "t", "properties": {"a": {"oneOf": [{"properties": {"b": {"type": "null"}}}]}}}
    closed = {"type": "object", "additionalProperties": False}
    assert json_schema(short) == {
        "title": "t",
        **closed,
        "required": ["a"],
        "properties": {
            "a": {"oneOf": [{**closed, "required": ["b"], "properties": {"b": {"type": "null"}}}]},
        },
    }


def test_the_recipe_is_a_loop_that_asks_nothing_twice(suite: Suite) -> None:
    config = LoopConfig.model_validate(merge(DEFAULTS, suite.recipe, {"suite": suite.name}))
    demonstrations, rewarded = config.stages
    assert (demonstrations.generator, demonstrations.updater) == ("reference", "sft")
    assert demonstrations.prompts <= len(suite.train)
    assert rewarded.prompts * rewarded.rounds <= len(suite.train)
