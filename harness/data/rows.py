"""What readers hand on: rows as they were found, and those of which no record can be made."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

MAX_LINE = 16 * 2**20
"""Bytes of the longest row that is read. A longer one is passed over without being held."""
SHOWN = 200
"""Characters of a bad row that are kept."""

Reason = Literal[
    "not_json",
    "not_utf8",
    "not_csv",
    "not_an_object",
    "too_long",
    "wrong_columns",
    "unknown_layout",
    "mixed_schema",
    "half_character",
    "bad_field",
]
"""Why no record can be made of a row: its bytes, its shape, its layout, or the value of a field."""


class RowError(ValueError):
    """Why no record can be made of a row: `reason` for counting, `detail` for whoever mends it."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that no record could be made of. `raw` is how it begins."""

    source: str
    place: int
    reason: Reason
    detail: str
    raw: str = ""

    @property
    def where(self) -> str:
        return f"{self.source}:{self.place}"


class RawRow(NamedTuple):
    """A row before anything costly is done with it."""

    place: int
    """Line (JSONL), row (other files) or group (runs), from 1."""
    value: Any
    """The bytes of a row, its columns, or a ScoredGroup; a BadRow where the reader itself found it bad."""
    end: int
    """Bytes of the source that are read once this row is: for progress."""


def beginning(value: Any) -> str:
    """How a row begins, for people to find it by."""
    if isinstance(value, bytes):
        return value[:SHOWN].decode(errors="replace").rstrip("\r\n")
    return json.dumps(value, ensure_ascii=False, default=str)[:SHOWN]
