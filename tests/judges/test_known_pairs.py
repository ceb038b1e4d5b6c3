"""Pairs of which the better answer is known, are so."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest

from harness.checking import check_judge
from harness.data.mutations import mutate
from harness.plugins import load_registry
from harness.protocols import RunContext
from harness.tools import ToolCall, parse_calls, write_calls
from harness.types import Prompt
from harness_judges.known.pairs import MUTATIONS

TOOLS = json.dumps(
    [
        {"name": "pay", "parameters": {"properties": {"n": {"type": "integer"}, "to": {}}, "required": ["n"]}},
        {"name": "ask", "parameters": {"properties": {"colour": {"enum": ["red", "blue"]}}, "required": ["colour"]}},
    ]
)


def wrong(kind: str, *calls: ToolCall) -> list[ToolCall] | None:
    text = mutate(Prompt("p", (), tools=TOOLS, reference=write_calls(calls)), kind, random.Random(0))
    return None if text is None else parse_calls(text)


def test_each_mutation_breaks_what_it_says() -> None:
    right = ToolCall("pay", {"n": 3, "to": "Ada"})
    assert wrong("wrong_tool", right) == [ToolCall("ask", right.arguments)]
    assert wrong("missing_argument", right) == [ToolCall("pay", {"to": "Ada"})]
    assert wrong("wrong_value", right) in (
        [ToolCall("pay", {"n": 4, "to": "Ada"})],
        [ToolCall("pay", {"n": 3, "to": "not Ada"})],
    )
    assert wrong("no_call", right) == []
    assert wrong("call_not_due") in ([ToolCall("pay", {"n": 1})], [ToolCall("ask", {"colour": "red"})])
    for kind, calls in (("call_not_due", [right]), ("no_call", []), ("wrong_tool", []), ("missing_argument", [])):
        assert wrong(kind, *calls) is None


@pytest.mark.parametrize("seed", [0, 1])
def test_the_checker_of_tool_calls_agrees_with_every_mutation(seed: int) -> None:
    registry = load_registry(third_party=False)
    context = RunContext(components=registry)
    pairs = registry.create("check", "tool-calls", {"count": 400, "seed": seed}, context)
    kinds = Counter(pair.kind for pair in pairs)
    assert set(kinds) == set(MUTATIONS)
    assert min(kinds.values()) > 40
    report = check_judge("tool_call", {}, "tool-calls", pairs, registry, context)
    assert (report.accuracy.estimate, report.unscored) == (1.0, 0)


def test_written_pairs_hold_their_passage() -> None:
    registry = load_registry(third_party=False)
    pairs = registry.create("check", "written", {"count": 80}, RunContext(components=registry))
    assert len(pairs) == 80
    grounded = [pair for pair in pairs if pair.kind == "grounded"]
    assert all("Answer from the text above: " in pair.prompt.messages[0]["content"] for pair in grounded)
    assert len(registry.create("check", "written", {"count": 7}, RunContext(components=registry))) == 7
