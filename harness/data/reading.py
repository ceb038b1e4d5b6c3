"""Records from files, a row at a time: what cannot be read is a `BadRow` with its place, and reading goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.data.layouts import record_of
from harness.data.record import Record
from harness.errors import ConfigError


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that no record could be made of. `raw` is how it begins."""

    source: str
    place: int
    reason: str
    detail: str
    raw: str = ""

    @property
    def where(self) -> str:
        return f"{self.source}:{self.place}"


def read_records(source: str) -> Iterator[Record | BadRow]:
    """Of every row of a file, or group of a run, what it holds. Raises ConfigError if it cannot be read at all."""
    path = Path(source)
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror})", where=source, remedy="Name a file.") from None
    for place, line in enumerate(lines, start=1):
        if line.strip():
            try:
                yield record_of(json.loads(line), source, place)
            except ValueError as error:
                yield BadRow(source, place, "not_json", str(error), line[:200].decode(errors="replace"))
