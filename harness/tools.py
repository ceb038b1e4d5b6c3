"""The tool-call protocol: how tools are shown to a model without a tool template, and how any answer is read.

An answer is a JSON array of calls, `[{"name": ..., "arguments": {...}}]`, or the calls in the syntax of the model's own
tool template. `[]` says that no tool fits. That keeps "decides not to call" apart from "could not produce a call",
which prose answers do not.
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

DECLINE = "If no function fits, answer with []."
"""What a tool template leaves open: how to say that there is nothing to call."""

CALL_MARKS = (
    "<tool_call>",
    "</tool_call>",
    "[TOOL_CALLS]",
    "[CALL_ID]",
    "[ARGS]",
    "<|python_tag|>",
    "<think>",
    "</think>",
)
"""What `parse_calls` goes by. In some vocabularies these are special tokens, and they must stay in an answer's text."""


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

_THOUGHT = re.compile(r"<think>.*?</think>", re.DOTALL)
_TAGGED = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)
_MISTRAL_CALL = re.compile(r"\s*\[TOOL_CALLS\]\s*([\w.-]+)(?:\[CALL_ID\]\w+)?\[ARGS\]\s*")


def parse_calls(text: str) -> list[ToolCall]:
    """The calls in an answer. Raises ValueError, saying what is wrong, when the answer is not calls.

    Read are a JSON array and a single JSON object, and what tool templates teach:

    - `<tool_call>{"name", "arguments"}</tool_call>` blocks (Qwen, Hermes, SmolLM3),
    - `{"name", "parameters"}`, which may follow `<|python_tag|>` (Llama 3),
    - `[TOOL_CALLS][{"name", "arguments", "id"}]` and `[TOOL_CALLS]name[CALL_ID]id[ARGS]{}` (Mistral, up to and after
      version 7 of its tokenizer; ids are optional).

    A closed `<think>` block may precede any of them. Nothing is repaired: an answer that a strict client would refuse
    is refused here.
    """
    text = _THOUGHT.sub("", text, count=1).strip() if text.lstrip().startswith("<think>") else text.strip()
    if text.startswith("<tool_call>"):
        if rest := _TAGGED.sub("", text).strip():
            raise ValueError(f"text outside the <tool_call> blocks: {rest[:40]!r}")
        return [_call(_load(block)) for block in _TAGGED.findall(text)]
    if text.startswith("[TOOL_CALLS]"):
        return _mistral_calls(text)
    if text.startswith("<|python_tag|>"):
        return [_call(_load(text.removeprefix("<|python_tag|>")))]
    value = _load(text)
    return [_call(item) for item in value] if isinstance(value, list) else [_call(value)]


def _mistral_calls(text: str) -> list[ToolCall]:
    listed = text.removeprefix("[TOOL_CALLS]").lstrip()
    if listed.startswith("["):
        return [_call(_without_id(item)) for item in _load(listed)]
    calls, position = [], 0
    while position < len(text):
        match = _MISTRAL_CALL.match(text, position)
        if match is None:
            raise ValueError(f"not a call: {text[position : position + 40]!r}")
        arguments, position = _load_first(text, match.end())
        calls.append(_call({"name": match[1], "arguments": arguments}))
    return calls


def _without_id(value: Any) -> Any:
    if isinstance(value, dict) and isinstance(value.get("id"), str):
        return {key: item for key, item in value.items() if key != "id"}
    return value


def _load(text: str) -> Any:
    text = text.strip()
    value, end = _load_first(text, 0)
    if end < len(text):
        raise ValueError(f"not JSON: Extra data at character {end}")
    return value


def _load_first(text: str, start: int) -> tuple[Any, int]:
    """The JSON value that begins at `start`, and where it ends."""
    try:
        return _STRICT.raw_decode(text, start)
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


_STRICT = json.JSONDecoder(object_pairs_hook=_unique_keys, parse_constant=_no_constant)


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
    return json.dumps([_fields(call) for call in calls], ensure_ascii=False)


def write_tagged_calls(calls: Sequence[ToolCall]) -> str:
    """The same as `<tool_call>` blocks."""
    blocks = (json.dumps(_fields(call), ensure_ascii=False) for call in calls)
    return "\n".join(f"<tool_call>\n{block}\n</tool_call>" for block in blocks)


def _fields(call: ToolCall) -> dict[str, Any]:
    return {"name": call.name, "arguments": dict(call.arguments)}


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
