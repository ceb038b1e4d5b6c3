"""Records from files, `datasets` folders and runs, a row at a time.

What cannot be read is a `BadRow` with its place, and reading goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from harness.data.byte_streams import raw_document, raw_lines, require_utf8
from harness.data.json_files import list_in, raw_json
from harness.data.layouts import COLUMNS, LAYOUTS, fits, layout_of, record_of
from harness.data.record import Record
from harness.data.rows import BadRow, RawRow, RowError, beginning
from harness.data.stored_groups import GROUP_COLUMNS, raw_groups, raw_run, record_of_group, run_files, run_folder
from harness.data.strict_json import read_object
from harness.data.tables import csv_values, dataset_files, parquet_columns, raw_arrow, raw_csv, raw_parquet
from harness.errors import ConfigError, did_you_mean
from harness.training_data import FORMATS, file_digest
from harness.types import digest

__all__ = ["BadRow", "RawRow", "Source", "open_source", "read_records"]

SourceKind = Literal["jsonl", "json", "csv", "parquet", "document", "dataset", "group", "run"]

_LOOKED_AT = 100
"""Good rows by which the layout of a source is known."""
_LOOKED_THROUGH = 10_000
"""Rows among which they are looked for."""
_REMEDY = "Name a JSONL, JSON, CSV, TSV, Parquet or text file, a `datasets` folder, or a run."


@dataclass(frozen=True)
class Source:
    """Where records come from. `raw` reads in one process, and is cheap; `parse` may be called in others."""

    name: str
    """As it was given."""
    kind: SourceKind
    path: Path
    part: str = ""
    """The split of a dataset, the round of a run, the key of a JSON file's list."""
    layout: str = "any"
    """What every row must be of; "any" for none in particular."""
    told: bool = False
    """Whether the layout was asked for, so that rows which look like another as well are read as this one."""
    bytes: int | None = None
    """Its size on disk, as `RawRow.end` counts it."""

    def raw(self) -> Iterator[RawRow]:
        """Its rows, barely looked at. Raises ConfigError where it cannot be read on."""
        match self.kind:
            case "jsonl":
                return raw_lines(self.name, self.path)
            case "json":
                return raw_json(self.name, self.path, self.part)
            case "csv":
                return raw_csv(self.name, self.path)
            case "document":
                return raw_document(self.name, self.path)
            case "parquet":
                return raw_parquet(self.name, self.path)
            case "dataset":
                return raw_arrow(self.name, self.files)
            case "group":
                return raw_groups(self.path)
            case "run":
                return raw_run(self.path, self.part)

    def parse(self, row: RawRow) -> Record | BadRow:
        """The record of a row, or what is wrong with it."""
        if isinstance(row.value, BadRow):
            return row.value
        if self.kind in ("group", "run"):
            round_number, scored = row.value
            return record_of_group(scored, round_number, self.name, row.place)
        try:
            values = self._values(row.value)
            return record_of(values, self.name, row.place, layout=self._layout_of(values))
        except RowError as error:
            return BadRow(self.name, row.place, error.reason, error.detail, beginning(row.value))

    def _values(self, value: Any) -> dict[str, Any]:
        if self.kind == "csv":
            return csv_values(value)
        if self.kind == "document":
            return {"text": _document_text(value)}
        values: dict[str, Any] = read_object(value) if isinstance(value, bytes) else value
        return values

    def _layout_of(self, values: dict[str, Any]) -> str | None:
        found = layout_of(values)
        if found is None or self.layout in ("any", found):
            return found
        if self.told and fits(values, self.layout):
            return self.layout
        what = f"it is of layout {found}, where the others are {self.layout}; write two files, or read with layout any"
        raise RowError("mixed_schema", what)

    def digest(self) -> str:
        """sha256 (hex) of the content: of a file, its own."""
        if self.kind in ("dataset", "run"):
            return digest([file_digest(path) for path in self.files])
        return file_digest(self.path)

    @property
    def files(self) -> list[Path]:
        """The files that hold its rows, in order."""
        if self.kind == "run":
            return [path for _, path in run_files(self.path, self.part)]
        return (dataset_files(self.path, self.part) or []) if self.kind == "dataset" else [self.path]


def open_source(name: str, *, layout: str = "auto", runs: Path = Path("runs")) -> Source:
    """A file, a folder that `datasets` saved (`FOLDER:SPLIT`), or a run (`RUN:ROUND`) by its folder or its name.

    `layout` is one of LAYOUTS, which rows of it have, "any" to read each row by its own, or "auto" for the one that
    most of its first rows have. Raises HarnessError if nothing of it can be read.
    """
    if layout not in ("auto", "any", *LAYOUTS):
        raise ConfigError(
            f"there is no layout {layout!r}", where=name, remedy=did_you_mean(layout, ["auto", "any", *LAYOUTS])
        )
    source = _found(name, runs)
    source = replace(source, bytes=sum(path.stat().st_size for path in source.files))
    if source.kind in ("group", "run"):
        if layout not in ("auto", "any"):
            raise ConfigError("groups have no layout", where=name, remedy="Leave the layout out.")
        source = replace(source, layout="group")
    else:
        told = layout not in ("auto", "any")
        source = replace(source, layout=_most_common(source) if layout == "auto" else layout, told=told)
    if next(source.raw(), None) is None:
        raise ConfigError("it holds no row", where=name, remedy=f"Write rows such as {FORMATS}.")
    return source


def read_records(name: str, *, layout: str = "auto", runs: Path = Path("runs")) -> Iterator[Record | BadRow]:
    """Of every row of a file, or group of a run, what it holds. Raises HarnessError if it cannot be read at all."""
    source = open_source(name, layout=layout, runs=runs)
    yield from map(source.parse, source.raw())


def _found(name: str, runs: Path) -> Source:
    """By what is there: a file or folder of that name, or one with a part behind a colon."""
    path = Path(name)
    if path.is_file():
        return _file(name, path)
    before, colon, part = name.rpartition(":")
    for folder_name, chosen in ((name, ""), *([(before, part)] if colon and before else [])):
        if (folder := run_folder(folder_name, runs)) is not None:
            return Source(name, "run", folder, chosen)
        if Path(folder_name).is_dir() and dataset_files(Path(folder_name), chosen) is not None:
            return Source(name, "dataset", Path(folder_name), chosen)
    if path.is_dir():
        raise ConfigError("it is a folder of neither a dataset nor a run", where=name, remedy=_REMEDY)
    raise ConfigError("there is no such file, `datasets` folder or run", where=name, remedy=_REMEDY)


def _file(name: str, path: Path) -> Source:
    suffix = (path.with_suffix("") if path.suffix in (".gz", ".zst") else path).suffix.lower()
    if suffix == ".parquet":
        grouped = set(parquet_columns(path)) >= GROUP_COLUMNS
        return Source(name, "group" if grouped else "parquet", path)
    require_utf8(path)
    if suffix in (".csv", ".tsv"):
        return Source(name, "csv", path)
    if suffix == ".txt":
        return Source(name, "document", path)
    key = list_in(path, COLUMNS) if suffix == ".json" else None
    return Source(name, "jsonl", path) if key is None else Source(name, "json", path, key)


def _most_common(source: Source) -> str:
    """The layout of most of the first good rows, of two that are as common the first; "any" if none is good."""
    lenient = replace(source, layout="any")
    looked_at = islice(source.raw(), _LOOKED_THROUGH)
    good = (row for row in looked_at if isinstance(lenient.parse(row), Record))
    layouts = Counter(layout_of(lenient._values(row.value)) for row in islice(good, _LOOKED_AT))
    return layouts.most_common(1)[0][0] or "any" if layouts else "any"


def _document_text(content: bytes) -> str:
    try:
        return content.decode().replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise RowError("not_utf8", f"byte {error.start + 1} is not UTF-8; save the file as UTF-8") from None
