"""The tool-call protocol: how tools are shown to a model without a tool template, and how its answer is read.

An answer is a JSON array of calls, `[{"name": ..., "arguments": {...}}]`; `[]` says that no tool fits. That keeps
"decides not to call" apart from "could not produce a call", which prose answers do not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

INSTRUCTION = (
    'Answer with a JSON list of calls, such as [{"name": "f", "arguments": {"x": 1}}], one for each thing that is '
    "asked, or with [] if no function fits."
)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function's name and the arguments it is called with, as parsed from JSON."""

    name: str
    arguments: Mapping[str, Any]


# ---------------------------------------------------------------- showing tools to a model


def render_tools(tools: str) -> str:
    """The system message for a JSON array of tools: the instruction, then a signature and notes for each.

    Signatures take about half the tokens of the JSON Schema that they stand for, and a prompt's length is most of
    what a tool call costs.
    """
    return "\n\n".join([INSTRUCTION, *map(_render_tool, json.loads(tools))])


def _render_tool(tool: Mapping[str, Any]) -> str:
    schema = tool.get("parameters") or {}
    required = set(schema.get("required", ()))
    properties: Mapping[str, Any] = schema.get("properties", {})
    signature = ", ".join(
        f"{name}{'' if name in required else '?'}: {_render_type(p)}" for name, p in properties.items()
    )
    lines = [f"{tool['name']}({signature})", _one_line(tool.get("description", ""))]
    lines += [f"- {name}: {note}" for name, p in properties.items() if (note := _one_line(p.get("description", "")))]
    return "\n".join(lines)


def _render_type(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(json.dumps(value, ensure_ascii=False) for value in schema["enum"])
    kind = schema.get("type", "any")
    if kind == "array":
        item = _render_type(schema.get("items", {}))
        return f"({item})[]" if " | " in item else f"{item}[]"
    if kind == "object" and schema.get("properties"):
        required = set(schema.get("required", ()))
        fields = (f"{n}{'' if n in required else '?'}: {_render_type(p)}" for n, p in schema["properties"].items())
        return "{" + ", ".join(fields) + "}"
    return " | ".join(kind) if isinstance(kind, list) else str(kind)


def _one_line(text: str) -> str:
    return " ".join(text.split())


# ---------------------------------------------------------------- reading a model's answer

_TAGGED = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)


def parse_calls(text: str) -> list[ToolCall]:
    """The calls in an answer. Raises ValueError, saying what is wrong, when the answer is not calls.

    Read are a JSON array, a single JSON object, and `<tool_call>` blocks as models with a tool template of their
    own write them. Nothing is repaired: an answer that a strict client would refuse is refused here.
    """
    text = text.strip()
    if text.startswith("<tool_call>"):
        if rest := _TAGGED.sub("", text).strip():
            raise ValueError(f"text outside the <tool_call> blocks: {rest[:40]!r}")
        return [_call(_load(block)) for block in _TAGGED.findall(text)]
    value = _load(text)
    return [_call(item) for item in value] if isinstance(value, list) else [_call(value)]


def _load(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise ValueError("not JSON: nested too deeply") from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("not strict JSON: a key is repeated")
    return result


def _no_constant(name: str) -> Any:
    raise ValueError(f"not strict JSON: {name}")


def _call(value: Any) -> ToolCall:
    if not isinstance(value, dict):
        raise ValueError(f"a call must be an object, not {type(value).__name__}")
    arguments = value.get("arguments", value.get("parameters"))
    if set(value) - {"name", "arguments", "parameters"} or len(value) != 2:
        raise ValueError(f"a call has exactly the keys name and arguments, not {sorted(value)}")
    if not isinstance(value.get("name"), str) or not isinstance(arguments, dict):
        raise ValueError("a call's name must be a string and its arguments an object")
    return ToolCall(value["name"], arguments)


def write_calls(calls: Sequence[ToolCall]) -> str:
    """The answer text for these calls: what `parse_calls` reads back."""
    return json.dumps([{"name": c.name, "arguments": dict(c.arguments)} for c in calls], ensure_ascii=False)


def answer_schema(tools: str) -> dict[str, Any]:
    """JSON Schema of a valid answer, for constrained decoding: an array of calls to these tools."""
    calls = [
        {
            "type": "object",
            "properties": {"name": {"const": tool["name"]}, "arguments": _closed(tool.get("parameters") or {})},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for tool in json.loads(tools)
    ]
    return {"type": "array", "items": {"anyOf": calls}}


def _closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Without `additionalProperties` a parameter that does not exist would be valid."""
    return {"type": "object", "additionalProperties": False, **schema}
