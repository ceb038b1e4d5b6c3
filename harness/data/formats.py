"""Records as rows of the formats that others train on: what each format holds, and what it cannot.

Rows are those of TRL 1.16 (its "Dataset formats and types"), of OpenAI's chat fine-tuning, of Alpaca and ShareGPT, and
ours. A record that a format cannot hold as it is gets a ValueError, never a row that says something else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from harness.chat_template import with_tools
from harness.data.layouts import row_of
from harness.data.record import Record, RecordKind
from harness.tools import ToolCall, parse_calls
from harness.types import canonical_json

Column = Literal["text", "chat", "calls", "turns", "flag", "json"]
"""What a column holds: text, messages of text, messages that may call tools, turns of ShareGPT, a truth value, or
whatever JSON holds, which tables keep as its text: its shape differs from row to row, and columns would fill with
nulls."""

Row = dict[str, Any]
Rows = Callable[[Record, bool], list[Row]]
"""The rows of a record; with True, as plain text."""


class UnfitError(ValueError):
    """A record that a format cannot hold. `reason` is the same word for all of a sort."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True)
class Format:
    """A layout of rows. `kinds` are those of records that it holds, `always` the columns that a table of it has even
    where no row has a value, and `plain` says whether its rows can be plain text as well as messages."""

    rows: Rows
    columns: Mapping[str, Column]
    kinds: tuple[RecordKind, ...]
    always: tuple[str, ...] = ()
    plain: bool = False
    mixes: bool = False
    """Whether rows of one file may have different columns."""


# ---------------------------------------------------------------- one answer instead of several

Take = Literal["chosen", "best", "good"]
TAKES: Mapping[Take, RecordKind] = {"chosen": "pair", "best": "group", "good": "label"}


def taken(record: Record, takes: Sequence[Take]) -> Record | None:
    """A record with the one answer that is taken of it as a demonstration: the chosen one of a pair, the one of highest
    worth of a group (the first of several, and it must be above 0), one that is labelled good. None where it has none;
    the record itself where nothing is taken of its kind."""
    if not any(TAKES[take] == record.kind for take in takes):
        return record
    worths = [answer.worth or 0.0 for answer in record.answers]
    best = max(worths, default=0.0)
    if best <= 0.0:
        return None
    return replace(record, answers=(record.answers[worths.index(best)],), kind="demonstration")


# ---------------------------------------------------------------- TRL


def _sft(record: Record, plain: bool) -> list[Row]:
    if record.kind == "text":
        return [{"text": record.answers[0].text}]
    return [_asked(record, plain) | {"completion": _said(record, 0, plain)}]


def _dpo(record: Record, plain: bool) -> list[Row]:
    return [_asked(record, plain) | {"chosen": _said(record, 0, plain), "rejected": _said(record, 1, plain)}]


def _kto(record: Record, plain: bool) -> list[Row]:
    """A pair is two rows, as `trl.data_utils.unpair_preference_dataset` makes of it."""
    return [
        _asked(record, plain) | {"completion": _said(record, index, plain), "label": answer.worth == 1.0}
        for index, answer in enumerate(record.answers)
    ]


def _grpo(record: Record, plain: bool) -> list[Row]:
    """TRL 1.16 shows a policy the tools that its trainer was given, and none of a column's: here they are in the system
    message. What its reward functions may need are columns."""
    asked = _asked(record, plain)
    if tools := record.prompt.tools:
        asked["prompt"] = with_tools(asked["prompt"], tools)
    reference = record.answers[0].text if record.kind == "demonstration" else record.prompt.reference
    known = {"reference": reference, "target": record.prompt.target}
    return [asked | {name: value for name, value in known.items() if value}]


def _prompt_only(record: Record, plain: bool) -> list[Row]:
    return [_asked(record, plain)]


def _asked(record: Record, plain: bool) -> Row:
    prompt: Any = _question(record)[1] if plain else _chat(record)
    tools = _wrapped_tools(record)
    return {"prompt": prompt} | ({"tools": canonical_json(tools)} if tools else {})


def _said(record: Record, index: int, plain: bool) -> Any:
    text = record.answers[index].text
    return text if plain else [{"role": "assistant", "content": text}]


def _chat(record: Record) -> list[Row]:
    """Messages of text alone."""
    if not record.prompt.messages:
        raise UnfitError("no_prompt", "nothing is asked")
    for message in record.prompt.messages:
        if set(message) != {"role", "content"} or not isinstance(message["content"], str):
            raise UnfitError("message", f"a message of {message.get('role')!r} is more than a role and text")
    return [dict(message) for message in record.prompt.messages]


def _question(record: Record, *, system: bool = False) -> tuple[str, str]:
    """The system message ("" for none, and the only choice unless `system`) and the user's one question."""
    messages = _chat(record)
    said = messages.pop(0)["content"] if system and messages[0]["role"] == "system" else ""
    if [message["role"] for message in messages] != ["user"]:
        raise UnfitError(
            "not_one_question", "it asks more than one message of the user's, which plain text cannot hold"
        )
    if record.prompt.tools:
        raise UnfitError("tools", "it has tools, which plain text cannot hold")
    return said, messages[0]["content"]


def _wrapped_tools(record: Record) -> list[Row]:
    """Tools as chat templates expect them. In a column for TRL they are JSON text, which its trainers parse."""
    return [{"type": "function", "function": tool} for tool in json.loads(record.prompt.tools or "[]")]


# ---------------------------------------------------------------- other people's


def _messages(record: Record, plain: bool) -> list[Row]:
    said = [*_chat(record), {"role": "assistant", "content": record.answers[0].text}]
    tools = _wrapped_tools(record)
    if tools or any(message["role"] == "tool" for message in said):  # else what looks like calls is JSON asked for
        said = _with_calls(said)
    return [{"messages": said, "tools": tools} if tools else {"messages": said}]


def _with_calls(messages: Sequence[Row]) -> list[Row]:
    """Messages in which the assistant's calls are `tool_calls` with ids, to which what tools say refers in turn."""
    made: list[Row] = []
    open_ids: list[str] = []
    count = 0
    for message in messages:
        if message["role"] == "assistant":
            calls = _calls(message["content"])
            open_ids = [f"call_{count + index}" for index in range(len(calls))]
            count += len(calls)
            named = [_named(call, id) for call, id in zip(calls, open_ids, strict=True)]
            made.append({"role": "assistant", "content": None, "tool_calls": named} if named else message)
        elif message["role"] == "tool":
            if not open_ids:
                raise UnfitError("unasked_result", "a tool's message answers no call")
            made.append({**message, "tool_call_id": open_ids.pop(0)})
        else:
            made.append(message)
    return made


def _calls(text: str) -> list[ToolCall]:
    try:
        return parse_calls(text)
    except ValueError:
        return []


def _named(call: ToolCall, id: str) -> Row:
    arguments = json.dumps(dict(call.arguments), ensure_ascii=False)
    return {"id": id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _alpaca(record: Record, plain: bool) -> list[Row]:
    system, question = _question(record, system=True)
    row = {"instruction": question, "input": "", "output": record.answers[0].text}
    return [row | ({"system": system} if system else {})]


SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt", "tool": "tool"}


def _sharegpt(record: Record, plain: bool) -> list[Row]:
    said = [*_chat(record), {"role": "assistant", "content": record.answers[0].text}]
    if unknown := [message["role"] for message in said if message["role"] not in SPEAKERS]:
        raise UnfitError("role", f"ShareGPT has no name for the role {unknown[0]!r}")
    turns = [{"from": SPEAKERS[message["role"]], "value": message["content"]} for message in said]
    return [{"conversations": turns} | ({"tools": record.prompt.tools} if record.prompt.tools else {})]


def _ours(record: Record, plain: bool) -> list[Row]:
    return [row_of(record)]


# ---------------------------------------------------------------- all of them

_ANSWERED: tuple[RecordKind, ...] = ("demonstration",)
_ASKED: tuple[RecordKind, ...] = ("demonstration", "pair", "label", "group", "prompt")

_PROMPT: Mapping[str, Column] = {"prompt": "chat", "tools": "text"}
_PAIR: Mapping[str, Column] = {**_PROMPT, "chosen": "chat", "rejected": "chat"}
_OURS: Mapping[str, Column] = {
    "id": "text",
    "prompt": "chat",
    "tools": "json",
    "origin": "json",
    "extra": "json",
    "label": "flag",
    **dict.fromkeys(("chosen", "rejected", "completion", "text"), "text"),
}

FORMATS: Mapping[str, Format] = {
    "trl-sft": Format(
        _sft, {**_PROMPT, "completion": "chat", "text": "text"}, ("demonstration", "text"), ("tools",), plain=True
    ),
    "trl-dpo": Format(_dpo, _PAIR, ("pair",), ("tools",), plain=True),
    "trl-kto": Format(
        _kto, {**_PROMPT, "completion": "chat", "label": "flag"}, ("label", "pair"), ("tools",), plain=True
    ),
    "trl-grpo": Format(
        _grpo, {**_PROMPT, "reference": "text", "target": "text"}, _ASKED, ("reference", "target", "tools"), plain=True
    ),
    "prompt-only": Format(_prompt_only, _PROMPT, _ASKED, ("tools",), plain=True),
    "messages": Format(_messages, {"messages": "calls", "tools": "json"}, _ANSWERED, ("tools",)),
    "alpaca": Format(
        _alpaca, dict.fromkeys(("instruction", "input", "output", "system"), "text"), _ANSWERED, ("system",)
    ),
    "sharegpt": Format(_sharegpt, {"conversations": "turns", "tools": "text"}, _ANSWERED, ("tools",)),
    "harness": Format(
        _ours, _OURS, ("demonstration", "pair", "label", "text", "prompt"), ("tools", "origin", "extra"), mixes=True
    ),
}


def format_rows(record: Record, name: str, *, plain: bool = False) -> list[Row]:
    """A record as rows of a format. Raises UnfitError where the format cannot hold it as it is."""
    format = FORMATS[name]
    if record.kind not in format.kinds:
        raise UnfitError(record.kind, f"{name} holds no {record.kind}: {_instead(record.kind, format)}")
    return format.rows(record, plain)


def _instead(kind: RecordKind, format: Format) -> str:
    take = next((take for take, of in TAKES.items() if of == kind and "demonstration" in format.kinds), None)
    if take:
        return f"--take {take} makes a demonstration of it"
    if kind == "group" and "pair" in format.kinds:
        return "`harness data pairs` makes pairs of groups"
    return f"it holds {', '.join(format.kinds)}"


def table_columns(row: Row, name: str, *, plain: bool = False) -> dict[str, Column]:
    """What the columns of a table hold whose first row this is."""
    format = FORMATS[name]
    columns = {column: holds for column, holds in format.columns.items() if column in row or column in format.always}
    return {column: "text" if plain and holds == "chat" else holds for column, holds in columns.items()}


def flat(value: Any, holds: Column) -> Any:
    """A value as a table's column holds it."""
    return canonical_json(value) if holds == "json" and value is not None else value
