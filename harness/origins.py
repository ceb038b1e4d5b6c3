"""Where training examples are from: a suite, or a line of a file, and what that line was cleaned from."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.jsonl import read_text
from harness.types import Prompt

FILE_LINE = re.compile(r"(?P<file>.+):(?P<line>\d+)", re.DOTALL)
ORIGIN = "origin"
"""The key of `Prompt.metadata` under which a cleaned row says, as a JSON object, what it was made from (`source`,
`place`) and which `filters` it passed."""


@dataclass(frozen=True, slots=True)
class FileLine:
    """A line (JSONL), row (other files) or group (Parquet of ours), from 1; None where it is not known."""

    file: str
    line: int | None

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"

    def is_of(self, what: str) -> bool:
        """Whether `what` is this file, or `FILE:LINE` this line of it."""
        named = FILE_LINE.fullmatch(what)
        within = named is not None and int(named["line"]) == self.line and same_file(self.file, named["file"])
        return within or same_file(self.file, what)


@dataclass(frozen=True, slots=True)
class ExampleOrigin:
    """Where one training example is from: its prompt's id, and its suite or the lines of files that it stems from."""

    prompt: str
    suite: str = ""
    lines: tuple[FileLine, ...] = ()
    filters: tuple[str, ...] = ()
    """That its row passed when its file was cleaned."""

    def is_of(self, what: str) -> bool:
        """Whether `what` names its prompt, its suite, a file of it, or a line as `FILE:LINE`."""
        return what in {self.prompt, self.suite} - {""} or any(line.is_of(what) for line in self.lines)


def row_origin(prompt: Prompt, file: str, line: int | None) -> ExampleOrigin:
    """Of a row of a file, and of what that row was cleaned from, where it says so."""
    said = json.loads(prompt.metadata.get(ORIGIN, "{}"))
    before = (FileLine(str(said["source"]), said.get("place")),) if "source" in said else ()
    return ExampleOrigin(prompt.id, lines=(FileLine(file, line), *before), filters=tuple(said.get("filters", ())))


def same_file(one: str, other: str) -> bool:
    """Whether one path ends as the whole other does: files are named from different folders, or by name alone."""
    parts = [[p for p in Path(os.path.normpath(path)).parts if p != ".."] for path in (one, other)]
    short, long = sorted(parts, key=len)
    return bool(short) and long[-len(short) :] == short


def row_places(path: Path, count: int) -> list[int]:
    """The lines of a JSONL file that hold its `count` rows; of other files their numbers, from 1."""
    if path.suffix in {".parquet", ".txt"}:
        return list(range(1, count + 1))
    return [number for number, line in enumerate(read_text(path).split("\n"), start=1) if line.strip()]


def ranges(numbers: Iterable[int]) -> list[list[int]]:
    """Rising numbers as `[first, last]` of each run of them without a gap."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found


def unranged(pairs: Sequence[Sequence[int]]) -> list[int]:
    """What `ranges` was given."""
    return [number for first, last in pairs for number in range(first, last + 1)]
