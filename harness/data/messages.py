"""Messages as people write them, as `{"role", "content"}` of text: what training reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from harness.data.rows import RowError
from harness.data.strict_json import read_value
from harness.types import canonical_json

Message = dict[str, str]

_PLAIN = {"role", "content"}
_ROLES = {
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "function_call": "assistant",
    "function-call": "assistant",
    "function": "tool",
    "function_response": "tool",
    "function-response": "tool",
    "observation": "tool",
}
"""Who speaks in sharegpt. Others keep their names."""
_NOT_TEXT = ("reasoning_content", "reasoning", "thinking", "refusal", "audio", "image", "images", "video", "videos")
"""Parts of a message that would be lost, and what is said with them."""


def read_messages(value: Any, column: str) -> list[Message]:
    """A list of messages, or its JSON text. Keys other than roles, contents and calls (names, ids, times) say nothing
    that is learnt, and are left out. Raises RowError."""
    return [_message(message, f"{column}[{at}]") for at, message in enumerate(listed(value, column))]


def listed(value: Any, column: str) -> Sequence[Any]:
    """A list, which may have been written as JSON text. Raises RowError."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = read_value(value)
    if not isinstance(value, list):
        raise RowError("bad_field", f"{column} is {kind_of(value)}, not a list of messages")
    return value


def read_prompt(value: Any, column: str) -> list[Message]:
    """Text is the user's."""
    return [{"role": "user", "content": value}] if isinstance(value, str) else read_messages(value, column)


def read_answer(value: Any, column: str) -> str:
    """Text, or one message of the assistant's."""
    if isinstance(value, str):
        return value
    messages = read_messages(value, column)
    if len(messages) != 1:
        raise RowError("bad_field", f"{column} holds {len(messages)} messages, not one; put the rest in prompt")
    return answer_at_end(messages, value, column)


def answer_at_end(messages: Sequence[Message], found: Any, column: str) -> str:
    """The text of the last message, the assistant's, of those that were `found`. Raises RowError where it is another's,
    or not to be learnt."""
    last, said = listed(found, column)[-1], messages[-1]
    if said["role"] != "assistant":
        raise RowError("bad_field", f"{column} ends with a message of {said['role']!r}, not of the assistant")
    if isinstance(last, Mapping):
        if _calls(last) and _content(last, column).strip():
            raise RowError("bad_field", f"{column} ends with text and tool_calls in one answer; keep one of them")
        if last.get("weight") == 0 or last.get("train") is False:
            raise RowError("bad_field", f"{column} ends with an answer that is marked as not to be learnt; cut it off")
    return said["content"]


def read_text(value: Any, column: str) -> str:
    if not isinstance(value, str):
        raise RowError("bad_field", f"{column} is {kind_of(value)}, not text")
    return value


def _message(message: Any, where: str) -> Message:
    if isinstance(message, str):  # JSON in a column of JSON
        message = read_value(message)
    if not isinstance(message, Mapping):
        raise RowError("bad_field", f"{where} is {kind_of(message)}, not a message")
    role, content = message.get("role"), message.get("content")
    if isinstance(role, str) and isinstance(content, str) and message.keys() == _PLAIN:
        return {"role": role, "content": content}
    if lost := next((key for key in _NOT_TEXT if message.get(key)), None):
        raise RowError("bad_field", f"{where} has {lost}, which is not read; write it into the content, or drop it")
    speaker = message.get("from")
    if role is None and isinstance(speaker, str):
        role = _ROLES.get(speaker, speaker)
    if not isinstance(role, str):
        raise RowError("bad_field", f"{where} has no role; say whose message it is")
    text = _content(message, where)
    if speaker in ("function_call", "function-call"):
        return {"role": role, "content": _given_call(text)}
    calls = _calls(message)
    return {
        "role": role,
        "content": "\n".join(filter(None, [text, write_found_calls(calls, where)])) if calls else text,
    }


def _content(message: Mapping[str, Any], where: str) -> str:
    content = message.get("content", message.get("value"))
    if isinstance(content, list):
        return "".join(_part(part, where) for part in content)
    return "" if content is None else read_text(content, f"content of {where}")


def _part(part: Any, where: str) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping) and isinstance(part.get("text"), str) and part.get("type", "text") == "text":
        return str(part["text"])
    kind = part.get("type") if isinstance(part, Mapping) else kind_of(part)
    raise RowError("bad_field", f"content of {where} has a part that is no text ({kind}); drop it")


# ---------------------------------------------------------------- tools and their calls


def _calls(message: Mapping[str, Any]) -> Any:
    call = message.get("function_call")
    return message.get("tool_calls") or ([call] if call else None)


def write_found_calls(calls: Any, where: str) -> str:
    """Calls in OpenAI's form as `harness.tools.write_calls` writes them. Arguments that are no JSON stay the text that
    they are: to say so is the work of filters."""
    if not isinstance(calls, list):
        raise RowError("bad_field", f"tool_calls of {where} is {kind_of(calls)}, not a list")
    return json.dumps([_call(call, where) for call in calls], ensure_ascii=False)


def _call(call: Any, where: str) -> dict[str, Any]:
    if isinstance(call, str):
        call = read_value(call)
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise RowError("bad_field", f"tool_calls of {where} has a call without a name")
    return {"name": function["name"], "arguments": _arguments(function.get("arguments"))}


def _arguments(value: Any) -> Any:
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        try:
            return read_value(value)
        except RowError:
            return value
    return value


def _given_call(text: str) -> str:
    """The content of a sharegpt call, one call or a list of them; what is neither stays as it is."""
    try:
        value = read_value(text)
        return write_found_calls(value if isinstance(value, list) else [value], "")
    except RowError:
        return text


def read_tools(value: Any) -> str:
    """Tools as `Prompt.tools` has them, from a list or its JSON text, in a wrapper of type "function" or bare."""
    if value in (None, "", []):
        return ""
    try:
        tools = read_value(value) if isinstance(value, str) else value
        tools = [read_value(tool) if isinstance(tool, str) else tool for tool in tools]
        bare = [tool.get("function", tool) for tool in tools]
        good = isinstance(tools, list) and all(isinstance(tool["name"], str) for tool in bare)
    except (RowError, TypeError, KeyError, AttributeError):
        good = False
    if not good:
        raise RowError("bad_field", 'tools is not a list of functions; use [{"name": ..., "parameters": {...}}]')
    return canonical_json(bare) if bare else ""


def kind_of(value: Any) -> str:
    """What a JSON value is, for people."""
    kinds = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")
