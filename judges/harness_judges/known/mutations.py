"""Tool calls that are wrong in a known way, made from right ones."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.tools import ToolCall, parse_calls, write_calls
from harness.types import Prompt

Mutation = Callable[[list[ToolCall], Sequence[Mapping[str, Any]], random.Random], list[ToolCall] | None]
"""(the right calls, the prompt's tools, randomness) -> wrong calls, or None where it cannot be applied."""


def mutate(prompt: Prompt, kind: str, rng: random.Random) -> str | None:
    """The prompt's reference calls, made wrong in that way; None where they cannot be."""
    wrong = MUTATIONS[kind](parse_calls(prompt.reference or "[]"), json.loads(prompt.tools or "[]"), rng)
    return None if wrong is None else write_calls(wrong)


def _wrong_tool(calls: list[ToolCall], tools: Sequence[Mapping[str, Any]], rng: random.Random) -> list[ToolCall] | None:
    """Another of the tools with the same arguments."""
    others = [tool["name"] for tool in tools if tool["name"] not in {call.name for call in calls}]
    if not calls or not others:
        return None
    return _with(calls, rng, lambda call: ToolCall(rng.choice(others), call.arguments))


def _missing_argument(
    calls: list[ToolCall], tools: Sequence[Mapping[str, Any]], rng: random.Random
) -> list[ToolCall] | None:
    """Without one of the arguments that must be there."""
    required = {tool["name"]: set(tool.get("parameters", {}).get("required", ())) for tool in tools}

    def without(call: ToolCall) -> ToolCall | None:
        left_out = sorted(required.get(call.name, set()) & set(call.arguments))
        if not left_out:
            return None
        name = rng.choice(left_out)
        return ToolCall(call.name, {key: value for key, value in call.arguments.items() if key != name})

    return _with(calls, rng, without)


def _wrong_value(
    calls: list[ToolCall], tools: Sequence[Mapping[str, Any]], rng: random.Random
) -> list[ToolCall] | None:
    """One argument with a value of its type that the question does not ask for."""

    def other(call: ToolCall) -> ToolCall | None:
        changed = {name: _other(value) for name, value in call.arguments.items()}
        able = sorted(name for name, value in changed.items() if value is not None)
        if not able:
            return None
        name = rng.choice(able)
        return ToolCall(call.name, {**call.arguments, name: changed[name]})

    return _with(calls, rng, other)


def _call_not_due(
    calls: list[ToolCall], tools: Sequence[Mapping[str, Any]], rng: random.Random
) -> list[ToolCall] | None:
    """A call where none is due."""
    if calls or not tools:
        return None
    tool = rng.choice(list(tools))
    parameters = tool.get("parameters", {})
    properties = parameters.get("properties", {})
    return [ToolCall(tool["name"], {name: _example(properties[name]) for name in parameters.get("required", ())})]


def _no_call(calls: list[ToolCall], tools: Sequence[Mapping[str, Any]], rng: random.Random) -> list[ToolCall] | None:
    """No call where one is due."""
    return [] if calls else None


MUTATIONS: Mapping[str, Mutation] = {
    "wrong_tool": _wrong_tool,
    "missing_argument": _missing_argument,
    "wrong_value": _wrong_value,
    "call_not_due": _call_not_due,
    "no_call": _no_call,
}


def _with(
    calls: list[ToolCall], rng: random.Random, change: Callable[[ToolCall], ToolCall | None]
) -> list[ToolCall] | None:
    """One of the calls changed, the first in a random order that can be."""
    for index in rng.sample(range(len(calls)), len(calls)):
        if (changed := change(calls[index])) is not None:
            return [*calls[:index], changed, *calls[index + 1 :]]
    return None


def _other(value: Any) -> Any:
    """Another value of that type, None for types that have no obvious other."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, str):
        return f"not {value}"
    if isinstance(value, list) and value and (first := _other(value[0])) is not None:
        return [first, *value[1:]]
    return None


def _example(schema: Mapping[str, Any]) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    examples = {"integer": 1, "number": 1.5, "boolean": True, "array": [], "object": {}}
    return examples.get(str(schema.get("type")), "example")
