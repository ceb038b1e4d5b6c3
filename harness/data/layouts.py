"""Rows of the layouts that people have, as records, and records as rows of ours.

A layout is known by its columns. What it does not read goes to `Record.extra`, and is written again under `extra`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, NamedTuple

from harness.data.messages import (
    Message,
    answer_at_end,
    kind_of,
    read_answer,
    read_messages,
    read_prompt,
    read_text,
    read_tools,
)
from harness.data.record import Answer, Record, RecordKind
from harness.data.rows import RowError
from harness.types import Prompt, digest

Row = Mapping[str, Any]


class Found(NamedTuple):
    """What a row holds."""

    messages: list[Message]
    answers: tuple[Answer, ...]
    kind: RecordKind


class Layout(NamedTuple):
    """`needs` are the columns that a row of it has, one of each choice; `takes` all that it reads."""

    name: str
    needs: tuple[tuple[str, ...], ...]
    takes: frozenset[str]
    read: Callable[[Row], Found]


# ---------------------------------------------------------------- what each layout means


def _pair(row: Row) -> Found:
    chosen, rejected = (_given(row, side) for side in ("chosen", "rejected"))
    if row.get("prompt") is not None:
        prompt = read_prompt(row["prompt"], "prompt")
    elif row.get("instruction") is not None:
        prompt = _instruction(row)
    else:
        prompt = _shared(chosen, rejected)
    sides = [_behind(prompt, given, side) for given, side in ((chosen, "chosen"), (rejected, "rejected"))]
    return Found(prompt, (Answer(sides[0]), Answer(sides[1], 0.0)), "pair")


def _shared(chosen: Any, rejected: Any) -> list[Message]:
    """The messages with which both begin, short of the last of either."""
    if isinstance(chosen, str) or isinstance(rejected, str):
        raise RowError("bad_field", "prompt is missing; chosen and rejected are text, and say nothing of it")
    sides = [read_messages(side, name) for side, name in ((chosen, "chosen"), (rejected, "rejected"))]
    most = min(map(len, sides)) - 1
    same = next((at for at in range(most) if sides[0][at] != sides[1][at]), max(most, 0))
    return sides[0][:same]


def _behind(prompt: Sequence[Message], given: Any, column: str) -> str:
    """The answer that follows a prompt, which may be repeated before it."""
    if isinstance(given, str):
        return given
    messages = read_messages(given, column)
    if messages and messages[:-1] == prompt:
        return answer_at_end(messages, given, column)
    return read_answer(given, column)


def _prompt(row: Row) -> Found:
    prompt = read_prompt(row["prompt"], "prompt")
    if row.get("completion") is None:
        return Found(prompt, (), "prompt")
    return _demonstration(prompt, _behind(prompt, row["completion"], "completion"))


def _chat(column: str) -> Callable[[Row], Found]:
    def read(row: Row) -> Found:
        found = _given(row, column)
        messages = read_messages(found, column)
        if messages and messages[-1]["role"] == "assistant":
            return _demonstration(messages[:-1], answer_at_end(messages, found, column))
        return Found(messages, (), "prompt")

    return read


def _alpaca(row: Row) -> Found:
    return _demonstration(_instruction(row), _answer(row, "output", "response"))


def _instruction(row: Row) -> list[Message]:
    before: list[Message] = []
    history = row.get("history") or []
    for turn in history if isinstance(history, list) else [history]:
        if not isinstance(turn, list) or len(turn) != 2:
            raise RowError("bad_field", "history is not a list of a question and an answer each")
        asked, said = (read_text(text, "history") for text in turn)
        before += [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
    given = [row.get(column) for column in ("instruction", "input", "context")]
    asked = "\n\n".join(read_text(text, "instruction or input") for text in given if text)
    return [*before, {"role": "user", "content": asked}]


def _question(row: Row) -> Found:
    asked = next(column for column in _QUESTIONS if row.get(column) is not None)
    return _demonstration(read_prompt(row[asked], asked), _answer(row, *_ANSWERS))


def _answer(row: Row, *columns: str) -> str:
    column = next(column for column in columns if row.get(column) is not None)
    return read_answer(row[column], column)


def _text(row: Row) -> Found:
    return Found([], (Answer(read_text(row["text"], "text")),), "text")


def _demonstration(messages: list[Message], answer: str) -> Found:
    return Found(messages, (Answer(answer),), "demonstration")


def _given(row: Row, column: str) -> Any:
    if row.get(column) is None:
        raise RowError("bad_field", f"{column} is missing")
    return row[column]


# ---------------------------------------------------------------- which layout a row has

_QUESTIONS = ("question", "query", "prompt")
_ANSWERS = ("answer", "response", "answers")
_INSTRUCTION = {"instruction", "input", "context", "history"}
_COMMON = frozenset({"id", "tools", "system", "system_prompt", "origin", "extra"})
"""What any layout but raw text may have beside its own."""

_TABLE = (
    Layout("pair", (("chosen", "rejected"),), frozenset({"chosen", "rejected", "prompt", *_INSTRUCTION}), _pair),
    Layout("prompt", (("prompt",), ("completion",)), frozenset({"prompt", "completion"}), _prompt),
    Layout("messages", (("messages",),), frozenset({"messages"}), _chat("messages")),
    Layout("sharegpt", (("conversations",),), frozenset({"conversations"}), _chat("conversations")),
    Layout("sharegpt", (("conversation",),), frozenset({"conversation"}), _chat("conversation")),
    Layout(
        "alpaca", (("instruction",), ("output", "response")), frozenset({*_INSTRUCTION, "output", "response"}), _alpaca
    ),
    Layout("question", (_QUESTIONS, _ANSWERS), frozenset({*_QUESTIONS, *_ANSWERS}), _question),
    Layout("prompt", (("prompt",),), frozenset({"prompt"}), _prompt),
    Layout("text", (("text",),), frozenset({"text"}), _text),
)
"""In the order in which a row is held against them: one with more columns may also have those of a later one."""

_LABEL = "+label"
LAYOUTS = (
    *dict.fromkeys(layout.name for layout in _TABLE),
    *dict.fromkeys(layout.name + _LABEL for layout in _TABLE if layout.name not in ("pair", "text")),
)
"""Names of all layouts. Those with `+label` have a column `label` that says whether the answer is good."""
COLUMNS = frozenset[str]().union(*(layout.takes for layout in _TABLE))
"""Columns that some layout reads."""
FOREIGN = ("sharegpt", "alpaca", "question")
"""Layouts that training does not read as they are."""


def layout_of(row: Row) -> str | None:
    """The name of the layout that a row has, None for one of no layout. Columns that are null are not there."""
    layout = _matching(frozenset([column for column, value in row.items() if value is not None]))
    return None if layout is None else layout.name + (_LABEL if _is_labelled(row, layout) else "")


@lru_cache(maxsize=1024)
def _matching(columns: frozenset[str], name: str = "") -> Layout | None:
    """The first layout that these columns fit, of those of that name if there is one."""
    for layout in _TABLE:
        if name in ("", layout.name) and all(not columns.isdisjoint(choice) for choice in layout.needs):
            return layout
    return None


def fits(row: Row, name: str) -> bool:
    """Whether a row has the columns of a layout, whichever else it may have."""
    columns = frozenset([column for column, value in row.items() if value is not None])
    return _matching(columns, name.removesuffix(_LABEL)) is not None


def _is_labelled(row: Row, layout: Layout) -> bool:
    """A label beside a completion says what it is worth; beside others it may be any category."""
    label = row.get("label")
    if label is None or layout.name in ("pair", "text"):
        return False
    return "completion" in layout.takes or isinstance(label, bool) or (isinstance(label, str) and label in _BOOLEANS)


_BOOLEANS = {
    True: True,
    False: False,
    "true": True,
    "false": False,
    "True": True,
    "False": False,
    "TRUE": True,
    "FALSE": False,
    "1": True,
    "0": False,
}


# ---------------------------------------------------------------- from a row, and back


def record_of(row: Row, source: str, place: int, *, layout: str | None = None) -> Record:
    """What a row holds, read as this layout, or the one that it has. Raises RowError (a ValueError), which says what is
    wrong, for a row that no record can be made of."""
    name = layout or layout_of(row) or ""
    columns = frozenset([column for column, value in row.items() if value is not None])
    read_as = _matching(columns, name.removesuffix(_LABEL)) if name else None
    if read_as is None:
        raise RowError("unknown_layout", _unknown(row))
    found = read_as.read(row)
    takes = read_as.takes | ({"id", "origin", "extra"} if read_as.name == "text" else _COMMON)
    if name.endswith(_LABEL):
        takes |= {"label"}
        found = found._replace(answers=tuple(Answer(a.text, _worth(row)) for a in found.answers), kind="label")
        if not found.answers:
            raise RowError("bad_field", "label is there, and no answer that it could be of")
    extra = {column: value for column, value in row.items() if column not in takes}
    if extra:
        _refuse_misspelt(frozenset(extra), frozenset(row), read_as.name)
    if "origin" in row or "extra" in row:
        extra = _kept_apart(row) | extra
    return Record(_prompt_of(row, found), found.answers, found.kind, source, place, extra)


def _prompt_of(row: Row, found: Found) -> Prompt:
    """With the id that it has in training: its own, or a digest of what is asked (of raw text, the text)."""
    if found.kind == "text":
        return Prompt(_id(row.get("id")) or digest(found.answers[0].text)[:16], ())
    messages = _with_system(found.messages, row)
    tools = read_tools(row.get("tools"))
    return Prompt(_id(row.get("id")) or digest([messages, tools])[:16], tuple(messages), tools=tools)


def _id(value: Any) -> str:
    if value is not None and (isinstance(value, bool) or not isinstance(value, str | int | float)):
        raise RowError("bad_field", f"id is {kind_of(value)}, not text or a number")
    return "" if value is None else str(value)


def _with_system(messages: list[Message], row: Row) -> list[Message]:
    column = next((column for column in ("system", "system_prompt") if row.get(column)), None)
    if column is None:
        return messages
    message = {"role": "system", "content": read_text(row[column], column)}
    if messages and messages[0]["role"] == "system":
        if messages[0] != message:
            raise RowError("bad_field", f"{column} is not the system message that the row begins with; keep one")
        return messages
    return [message, *messages]


def _worth(row: Row) -> float:
    label = row.get("label")
    if not isinstance(label, bool | int | str) or label not in _BOOLEANS:
        raise RowError("bad_field", f"label is {label!r}, not true or false")
    return float(_BOOLEANS[label])


def _kept_apart(row: Row) -> dict[str, Any]:
    extra = row.get("extra")
    kept = dict(extra) if isinstance(extra, dict) else {} if extra is None else {"extra": extra}
    return kept | ({} if row.get("origin") is None else {"origin": row["origin"]})


@lru_cache(maxsize=1024)
def _refuse_misspelt(extra: frozenset[str], columns: frozenset[str], layout: str) -> None:
    """A misspelt `label` would turn a bad answer into a good one, misspelt tools take them away."""
    meant = {"prompt": {"label", "tools"}, "text": set[str]()}.get(layout, {"tools"})
    for name in sorted(meant - columns):
        for column in get_close_matches(name, sorted(extra), n=1, cutoff=0.8):
            raise RowError("bad_field", f"column {column!r} means nothing here; if it is {name}, name it so")


def _unknown(row: Row) -> str:
    named = frozenset(row)
    layout = _matching(named)
    if empty := sorted(column for column in (layout.takes & named if layout else ()) if row[column] is None):
        return f"{', '.join(empty)} is null"
    columns = ", ".join(sorted(map(str, row))[:8]) or "none"
    return f"its columns are {columns}; name them as one of the layouts does ({', '.join(LAYOUTS)})"


def row_of(record: Record) -> dict[str, Any]:
    """A record as a row that `harness train --data` reads (FORMATS of harness.training_data), with what it does not
    train on under `origin` and `extra`. Raises ValueError for a group, of which one row can be made in many ways."""
    row: dict[str, Any] = {"id": record.prompt.id}
    if record.kind == "text":
        return row | {"text": record.answers[0].text} | _beside(record)
    if record.prompt.tools:
        row["tools"] = json.loads(record.prompt.tools)
    row["prompt"] = [dict(message) for message in record.prompt.messages]
    if record.kind == "group":
        raise ValueError("a group is no row; `harness data pairs` makes pairs of it")
    if record.kind == "pair":
        row |= {"chosen": record.answers[0].text, "rejected": record.answers[1].text}
    elif record.kind == "label":
        row |= {"completion": record.answers[0].text, "label": record.answers[0].worth == 1.0}
    elif record.kind == "demonstration":
        row |= {"completion": record.answers[0].text}
    return row | _beside(record)


def _beside(record: Record) -> dict[str, Any]:
    extra = dict(record.extra)
    origin = {"origin": extra.pop("origin")} if isinstance(extra.get("origin"), dict) else {}
    return origin | ({"extra": extra} if extra else {})
