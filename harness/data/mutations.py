"""Tool calls that are wrong in a known way, made from right ones.

Most kinds change the calls; the last two change how they are written.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.tools import ToolCall, parse_calls, write_calls, write_tagged_calls
from harness.types import Prompt

Calls = list[ToolCall]
Tools = Sequence[Mapping[str, Any]]
Write = Callable[[Sequence[ToolCall]], str]
Mutation = Callable[[Calls, Tools, random.Random], Calls | None]
"""(the right calls, the prompt's tools, randomness) -> wrong calls, or None where it cannot be applied."""


def mutate(prompt: Prompt, kind: str, rng: random.Random) -> str | None:
    """The prompt's reference calls, made wrong in that way; None where they cannot be."""
    return mutate_calls(parse_calls(prompt.reference or "[]"), prompt.tools, kind, rng)


def mutate_calls(calls: Calls, tools: str, kind: str, rng: random.Random, write: Write = write_calls) -> str | None:
    """These calls made wrong in one of KINDS, as `write` writes them; None where they cannot be."""
    if kind in WRITINGS:
        return WRITINGS[kind](write(calls), rng)
    wrong = MUTATIONS[kind](calls, json.loads(tools or "[]"), rng)
    return None if wrong is None else write(wrong)


def writer_of(text: str) -> Write | None:
    """What writes calls as this answer has them (a JSON list, one JSON object, `<tool_call>` blocks), so that a wrong
    answer differs in what is wrong alone. None for other syntaxes."""
    start = text.lstrip()
    if start.startswith("<tool_call>"):
        return _write_tagged
    if start.startswith("{"):
        return _write_bare
    return write_calls if start.startswith("[") and not start.startswith("[TOOL_CALLS]") else None


def _write_tagged(calls: Sequence[ToolCall]) -> str:
    return write_tagged_calls(calls) if calls else "[]"


def _write_bare(calls: Sequence[ToolCall]) -> str:
    return write_calls(calls)[1:-1] if len(calls) == 1 else write_calls(calls)


# ---------------------------------------------------------------- which calls are made


def _wrong_tool(calls: Calls, tools: Tools, rng: random.Random) -> Calls | None:
    """Another of the tools with the same arguments."""
    others = [tool["name"] for tool in tools if tool["name"] not in {call.name for call in calls}]
    if not calls or not others:
        return None
    return _with(calls, rng, lambda call: ToolCall(rng.choice(others), call.arguments))


def _unknown_tool(calls: Calls, tools: Tools, rng: random.Random) -> Calls | None:
    """A tool that is not there, with a name that could be."""
    known = {tool["name"] for tool in tools}

    def invented(call: ToolCall) -> ToolCall | None:
        names = [f"{call.name}_v2", f"get_{call.name}", f"{call.name}_by_id", f"{call.name}_all"]
        free = [name for name in names if name not in known]
        return ToolCall(rng.choice(free), call.arguments) if free else None

    return _with(calls, rng, invented)


def _call_not_due(calls: Calls, tools: Tools, rng: random.Random) -> Calls | None:
    """A call where none is due."""
    if calls or not tools:
        return None
    tool = rng.choice(list(tools))
    properties = _properties([tool])[tool["name"]]
    return [ToolCall(tool["name"], {name: _example(properties.get(name, {})) for name in _required(tool)})]


def _no_call(calls: Calls, tools: Tools, rng: random.Random) -> Calls | None:
    """No call where one is due."""
    return [] if calls else None


def _duplicated_call(calls: Calls, tools: Tools, rng: random.Random) -> Calls | None:
    """One of the calls made twice."""
    if not calls:
        return None
    index = rng.randrange(len(calls))
    return [*calls[: index + 1], *calls[index:]]


def _wrong_order(calls: Calls, tools: Tools, rng: random.Random) -> Calls | None:
    """Two neighbours exchanged. Wrong only where the target says that the order matters."""
    able = [i for i in range(len(calls) - 1) if calls[i] != calls[i + 1]]
    if not able:
        return None
    index = rng.choice(able)
    return [*calls[:index], calls[index + 1], calls[index], *calls[index + 2 :]]


# ---------------------------------------------------------------- which arguments they have


def _missing_argument(calls: Calls, tools: Tools, rng: random.Random) -> Calls | None:
    """Without one of the arguments that must be there."""
    required = {tool["name"]: set(_required(tool)) for tool in tools}

    def without(call: ToolCall) -> ToolCall | None:
        left_out = sorted(required.get(call.name, set()) & set(call.arguments))
        if not left_out:
            return None
        name = rng.choice(left_out)
        return ToolCall(call.name, {key: value for key, value in call.arguments.items() if key != name})

    return _with(calls, rng, without)


def _extra_argument(calls: Calls, tools: Tools, rng: random.Random) -> Calls | None:
    """One argument more, which the tool does not have."""
    known = _properties(tools)

    def padded(call: ToolCall) -> ToolCall | None:
        free = [name for name in _INVENTED if name not in known.get(call.name, {}) and name not in call.arguments]
        if not free:
            return None
        name = rng.choice(free)
        return ToolCall(call.name, {**call.arguments, name: _INVENTED[name]})

    return _with(calls, rng, padded)


def _wrong_value(calls: Calls, tools: Tools, rng: random.Random) -> Calls | None:
    """One argument with a value of its type that the question does not ask for."""

    def other(call: ToolCall) -> ToolCall | None:
        return _changed(call, rng, {name: _other(value) for name, value in call.arguments.items()})

    return _with(calls, rng, other)


def _wrong_type(calls: Calls, tools: Tools, rng: random.Random) -> Calls | None:
    """One argument with its value as another type: a number as text, text in a list."""

    def other(call: ToolCall) -> ToolCall | None:
        return _changed(call, rng, {name: _retyped(value) for name, value in call.arguments.items()})

    return _with(calls, rng, other)


def _enum_violation(calls: Calls, tools: Tools, rng: random.Random) -> Calls | None:
    """One argument with a value that its schema does not list."""
    known = _properties(tools)

    def other(call: ToolCall) -> ToolCall | None:
        schemas = known.get(call.name, {})
        listed = {name: schemas.get(name, {}).get("enum") for name in call.arguments}
        return _changed(call, rng, {name: _unlisted(values) for name, values in listed.items() if values})

    return _with(calls, rng, other)


MUTATIONS: Mapping[str, Mutation] = {
    "wrong_tool": _wrong_tool,
    "missing_argument": _missing_argument,
    "wrong_value": _wrong_value,
    "call_not_due": _call_not_due,
    "no_call": _no_call,
    "unknown_tool": _unknown_tool,
    "extra_argument": _extra_argument,
    "wrong_type": _wrong_type,
    "enum_violation": _enum_violation,
    "duplicated_call": _duplicated_call,
    "wrong_order": _wrong_order,
}


# ---------------------------------------------------------------- how they are written


def _malformed_json(text: str, rng: random.Random) -> str | None:
    """What models write that is nearly JSON: a bracket too few, a comma too many, single quotes."""
    broken = [text[:-1], f"{text[:-1]},{text[-1:]}", text.replace('"', "'"), text.replace('":', '"', 1)]
    able = [wrong for wrong in broken if not _reads(wrong)]
    return rng.choice(able) if able else None


def _prose(text: str, rng: random.Random) -> str | None:
    """Words around the calls, where a client reads calls alone."""
    around = [
        f"Sure, here is the call:\n{text}",
        f"{text}\nLet me know if you need anything else.",
        f"```json\n{text}\n```",
    ]
    able = [wrong for wrong in around if not _reads(wrong)]
    return rng.choice(able) if able else None


WRITINGS: Mapping[str, Callable[[str, random.Random], str | None]] = {
    "malformed_json": _malformed_json,
    "prose": _prose,
}
KINDS = (*MUTATIONS, *WRITINGS)


# ---------------------------------------------------------------- values

_INVENTED: Mapping[str, Any] = {"verbose": True, "limit": 10, "language": "en", "format": "json", "timeout": 30}


def _with(calls: Calls, rng: random.Random, change: Callable[[ToolCall], ToolCall | None]) -> Calls | None:
    """One of the calls changed, the first in a random order that can be."""
    for index in rng.sample(range(len(calls)), len(calls)):
        if (changed := change(calls[index])) is not None:
            return [*calls[:index], changed, *calls[index + 1 :]]
    return None


def _changed(call: ToolCall, rng: random.Random, values: Mapping[str, Any]) -> ToolCall | None:
    """The call with one of these values, of those that are not None."""
    able = sorted(name for name, value in values.items() if value is not None)
    if not able:
        return None
    name = rng.choice(able)
    return ToolCall(call.name, {**call.arguments, name: values[name]})


def _properties(tools: Tools) -> dict[str, Mapping[str, Any]]:
    return {tool["name"]: (tool.get("parameters") or {}).get("properties", {}) for tool in tools}


def _required(tool: Mapping[str, Any]) -> Sequence[str]:
    required: Sequence[str] = (tool.get("parameters") or {}).get("required", ())
    return required


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


def _retyped(value: Any) -> Any:
    if isinstance(value, (bool, int, float)):
        return json.dumps(value)
    if isinstance(value, str):
        return [value]
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else None


def _unlisted(values: Sequence[Any]) -> Any:
    """A value of the type of those, which is none of them."""
    if any(isinstance(value, bool) or value is None for value in values):
        return None
    if all(isinstance(value, (int, float)) for value in values):
        return max(values) + 1
    return f"other {values[0]}"


def _example(schema: Mapping[str, Any]) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    examples = {"integer": 1, "number": 1.5, "boolean": True, "array": [], "object": {}}
    return examples.get(str(schema.get("type")), "example")


def _reads(text: str) -> bool:
    try:
        parse_calls(text)
    except ValueError:
        return False
    return True
