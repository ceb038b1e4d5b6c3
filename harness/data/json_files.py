"""JSON files that hold one list of rows: cut into the text of each, which is then read as a line of JSONL is."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Collection, Generator, Iterator
from pathlib import Path

from harness.data.byte_streams import lines, opened, too_long_row
from harness.data.rows import MAX_LINE, SHOWN, BadRow, RawRow
from harness.errors import ConfigError

WHOLE = "$"
"""In place of the name of a list: the whole file is one row."""

_space = re.compile(r"[ \t\r\n]*").match
_scan = json.JSONDecoder().raw_decode


def list_in(path: Path, columns: Collection[str]) -> str | None:
    """The key under which the rows lie: "" where the file itself is a list, `WHOLE` where it is one row, None where it
    holds a row a line. A list under one of these `columns` is part of a row.

    Raises ConfigError for a file that holds several lists, or none.
    """
    first = next((line for line in lines(path) if not line.content.isspace()), None)
    if first is None or first.content.lstrip().startswith(b"["):
        return ""
    if not first.too_long and _is_json(first.content) and _goes_on(path, first.number):
        return None
    text = _text(path)
    try:
        lists, others = _members(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ConfigError(f"not JSON: {error}", where=str(path), remedy="Mend it, or write a row a line.") from None
    if any(key in columns for key in (*lists, *others)):
        return WHOLE
    if len(lists) != 1:
        held = f"{len(lists)} lists ({', '.join(lists)})" if lists else "no list"
        what = f"it holds {held}, where one list of rows is read"
        raise ConfigError(what, where=str(path), remedy='Write [ROW, ...] or {"data": [ROW, ...]}.')
    return lists[0]


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content)
    except (ValueError, RecursionError):
        return False
    return True


def _goes_on(path: Path, number: int) -> bool:
    return any(line.number > number and not line.content.isspace() for line in lines(path))


def raw_json(name: str, path: Path, key: str) -> Iterator[RawRow]:
    """The text of each row of the list under `key`. What follows broken JSON cannot be told apart: it is one bad row,
    the last."""
    text = _text(path)
    size = path.stat().st_size
    place = end = 0
    try:
        for start, end in _rows(text, key):
            place += 1
            row = text[start:end].encode(errors="surrogateescape")
            at = size * end // len(text)
            yield RawRow(place, too_long_row(name, place, row) if len(row) > MAX_LINE else row, at)
    except (json.JSONDecodeError, RecursionError) as error:
        what = f"not JSON from here on ({error}): no row behind it is read"
        yield RawRow(place + 1, BadRow(name, place + 1, "not_json", what, text[end : end + SHOWN]), size)


def _text(path: Path) -> str:
    """Bytes that are not UTF-8 are kept as they are, so that one such row does not spoil the file."""
    with opened(path) as (stream, _):
        return stream.read().removeprefix(codecs.BOM_UTF8).decode(errors="surrogateescape")


def _rows(text: str, key: str) -> Iterator[tuple[int, int]]:
    start = _after(text, 0)
    if key == WHOLE:
        yield start, _scan(text, start)[1]
        return
    at = start if key == "" else _start_of(text, key)
    end = yield from _elements(text, at)
    if key == "" and (rest := _after(text, end)) < len(text):
        raise json.JSONDecodeError("Extra data", text, rest)


def _elements(text: str, at: int) -> Generator[tuple[int, int], None, int]:
    """Where each element of the list that opens at `at` starts and ends; returns where the list ends."""
    at = _after(text, at + 1)
    if text[at : at + 1] == "]":
        return at + 1
    while True:
        _, end = _scan(text, at)
        yield at, end
        at = _after(text, end)
        if text[at : at + 1] == "]":
            return at + 1
        if text[at : at + 1] != ",":
            raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
        at = _after(text, at + 1)


def _members(text: str) -> tuple[list[str], list[str]]:
    """Keys of an object whose values are lists, and the others. Rows are scanned one by one, not held together."""
    lists: list[str] = []
    others: list[str] = []
    for key, at in _values(text):
        (lists if text[at : at + 1] == "[" else others).append(key)
    return lists, others


def _start_of(text: str, key: str) -> int:
    return next(at for found, at in _values(text) if found == key)


def _values(text: str) -> Iterator[tuple[str, int]]:
    """Each key of the object that the text is, and where its value starts."""
    at = _after(text, 0)
    if text[at : at + 1] != "{":
        raise json.JSONDecodeError("Expecting a list or an object", text, at)
    at = _after(text, at + 1)
    while text[at : at + 1] == '"':
        key, end = _scan(text, at)
        at = _after(text, end)
        if text[at : at + 1] != ":":
            raise json.JSONDecodeError("Expecting ':' delimiter", text, at)
        at = _after(text, at + 1)
        yield key, at
        at = _after(text, _end_of(text, at))
        if text[at : at + 1] != ",":
            break
        at = _after(text, at + 1)
    if text[at : at + 1] != "}":
        raise json.JSONDecodeError("Expecting ',' delimiter", text, at)


def _end_of(text: str, at: int) -> int:
    if text[at : at + 1] != "[":
        return _scan(text, at)[1]
    elements = _elements(text, at)
    while True:
        try:
            next(elements)
        except StopIteration as stop:
            end: int = stop.value
            return end


def _after(text: str, at: int) -> int:
    match = _space(text, at)
    assert match is not None  # it matches nothing at all as well
    return match.end()
