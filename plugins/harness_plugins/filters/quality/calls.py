"""Tools that are functions with JSON Schemas, and answers whose calls they take."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from jsonschema.protocols import Validator
from referencing import Registry

from harness.tools import answer_schema, parse_calls
from harness.types import Prompt, canonical_json

# A list of prose, such as `[1] ...`, does not begin like this.
_BEGINS = re.compile(
    r"\s*(?:<think>.*?</think>\s*)?(?:\[\s*\{\s*\"|\{\s*\"name\"|(<tool_call>|\[TOOL_CALLS\]|<\|python_tag\|>))",
    re.DOTALL,
)
_FIRST = ("[", "{", "<")
_TYPES = frozenset({"string", "number", "integer", "boolean", "array", "object", "null"})
_NOTES = frozenset({"title", "default", "example", "examples"})


class Tools(NamedTuple):
    """A validator of the arguments for each tool, or what is wrong with the tools."""

    validators: Mapping[str, Validator]
    wrong: str | None = None


def tools_flaw(tools: str) -> str | None:
    """What is wrong with a JSON array of tools, None if it is in order."""
    return _read(tools).wrong


def call_flaw(prompt: Prompt, text: str) -> tuple[str, str] | None:
    """Reason and detail, for an answer that begins as a call and is none that the prompt's tools take."""
    if text.lstrip()[:1] not in _FIRST or (begins := _BEGINS.match(text)) is None:
        return None
    try:
        calls = parse_calls(text)
    except ValueError as error:
        # Without tools an answer may be JSON of its own.
        return ("broken_call", str(error)) if prompt.tools or begins[1] else None
    tools = _read(prompt.tools or "[]")
    if tools.wrong is not None:
        return None
    for call in calls:
        validator = tools.validators.get(call.name)
        if validator is None:
            if prompt.tools or not _mentions(prompt, call.name):
                return "unknown_tool", f"{call.name[:60]!r} is not among the tools"
        elif (why := _refused(validator, dict(call.arguments))) is not None:
            return "bad_arguments", f"{call.name[:60]}: {why}"
    return None


def _mentions(prompt: Prompt, name: str) -> bool:
    """Tools may be in a message, as text."""
    return any(name in str(message.get("content")) for message in prompt.messages)


def _refused(validator: Validator, arguments: Mapping[str, Any]) -> str | None:
    try:
        error = next(validator.iter_errors(arguments), None)
    except RecursionError:
        return "nested too deeply to be checked"
    except Exception as cause:  # the library raises whatever a schema's references and patterns happen to provoke
        return f"its schema cannot be followed ({type(cause).__name__})"
    return None if error is None else f"{error.json_path[1:] or 'its arguments'} break {error.validator}"


@lru_cache(maxsize=4096)  # records of one data set share their tools
def _read(tools: str) -> Tools:
    try:
        listed = json.loads(tools)
    except (ValueError, RecursionError):
        return Tools({}, "not JSON")
    if not isinstance(listed, list):
        return Tools({}, "not a list")
    validators: dict[str, Validator] = {}
    for place, tool in enumerate(listed, start=1):
        if not isinstance(tool, dict) or not isinstance(name := tool.get("name"), str) or not name:
            return Tools({}, f"tool {place} has no name")
        if name in validators:
            return Tools({}, f"two tools are called {name[:60]!r}")
        schema = tool.get("parameters") or {}
        if (why := _wrong_schema(schema)) is not None:
            return Tools({}, f"tool {place} {why}")
        validators[name] = _validator(canonical_json([{"name": name, "parameters": schema}]))
    return Tools(validators)


@lru_cache(maxsize=4096)
def _validator(tool: str) -> Validator:
    """Of a tool's arguments, of which none may be made up."""
    arguments = answer_schema(tool)["items"]["anyOf"][0]["properties"]["arguments"]
    # A registry of its own: the library's default one would fetch references from the network.
    return Draft202012Validator(arguments, registry=Registry())


def _wrong_schema(schema: Any) -> str | None:
    if not isinstance(schema, dict):
        return "has parameters that are no object"
    if is_plain(schema):
        return None
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        return f"has parameters that are no JSON Schema ({error.json_path[1:] or 'top'}: {error.validator})"
    except RecursionError:
        return "has parameters that are nested too deeply"
    return None


def is_plain(schema: Any, depth: int = 0) -> bool:
    """Whether a schema is valid for certain, in a hundredth of the time that it takes to check it: it is made of types,
    properties, items, enumerations and notes alone."""
    return isinstance(schema, dict) and depth < 16 and all(_plain(key, part, depth) for key, part in schema.items())


def _plain(key: str, part: Any, depth: int) -> bool:
    match key:
        case "type":
            return isinstance(part, str) and part in _TYPES
        case "description":
            return isinstance(part, str)
        case "properties":
            return isinstance(part, dict) and all(is_plain(one, depth + 1) for one in part.values())
        case "items" | "additionalProperties":
            return isinstance(part, bool) or is_plain(part, depth + 1)
        case "required":
            strings = isinstance(part, list) and all(isinstance(one, str) for one in part)
            return strings and len(set(part)) == len(part)
        case "enum":
            return isinstance(part, list)
        case "title":
            return isinstance(part, str)
        case "examples":
            return isinstance(part, list)
    return key in _NOTES
