"""Rows of tables: CSV and TSV, Parquet, and the Arrow files of a `datasets` folder, a batch at a time."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, time
from decimal import Decimal
from math import isinf, isnan
from pathlib import Path
from typing import Any

from harness.data.byte_streams import lines, too_long_row
from harness.data.rows import MAX_LINE, SHOWN, BadRow, RawRow, RowError
from harness.data.strict_json import read_value
from harness.errors import ConfigError, StoreError, did_you_mean

_BATCH = 1024

# ---------------------------------------------------------------- CSV

_DELIMITERS = ",;\t"
_EMPTY_IS_NONE = {"id", "tools", "label", "system", "system_prompt", "input", "context", "history", "origin", "extra"}
_JSON_CELLS = {"messages", "conversations", "conversation", "history", "tools", "origin", "extra"}
_CHAT_CELLS = {"prompt", "completion", "chosen", "rejected"}
"""Columns that hold text, or a chat as JSON."""


class _Lines:
    """The lines of a CSV file as `csv` reads them, and which one it read last."""

    def __init__(self, path: Path) -> None:
        self._lines = lines(path)
        self.number = self.end = 0
        self.cut: bytes | None = None
        """How a line begins that is too long."""

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.number, self.end = line.number, line.end
            if line.too_long:
                self.cut = line.content
            yield line.content.decode(errors="surrogateescape")


def raw_csv(name: str, path: Path) -> Iterator[RawRow]:
    """Rows by their header's columns, as text. Raises ConfigError for a header that is none."""
    csv.field_size_limit(MAX_LINE)  # the module's own is too small for a text, and is of the whole process
    read = _Lines(path)
    source = iter(read)
    header_line = next(source, "")
    delimiter = max(_DELIMITERS, key=header_line.count) if path.name.split(".")[1:2] != ["tsv"] else "\t"
    header = next(csv.reader([header_line], delimiter=delimiter), [])
    _require_header(header, path)
    rows = csv.reader(source, delimiter=delimiter, strict=True)
    for place, (fields, first, why) in enumerate(_csv_rows(rows, read), start=1):
        if read.cut is not None:
            yield RawRow(place, too_long_row(name, place, read.cut), read.end)
            read.cut = None
        elif why:
            yield RawRow(place, BadRow(name, place, "not_csv", f"line {first}: {why}"), read.end)
        elif fields and len(fields) != len(header):
            what = f"line {first} has {len(fields)} columns, the header {len(header)}; quote what holds a {delimiter!r}"
            yield RawRow(place, BadRow(name, place, "wrong_columns", what, delimiter.join(fields)[:SHOWN]), read.end)
        elif fields:
            yield RawRow(place, dict(zip(header, fields, strict=True)), read.end)


def _csv_rows(rows: Iterator[list[str]], read: _Lines) -> Iterator[tuple[list[str], int, str]]:
    """Each row, the line on which it starts, and why it cannot be read."""
    while True:
        first = read.number + 1
        try:
            yield next(rows), first, ""
        except StopIteration:
            return
        except csv.Error as error:
            yield [], first, str(error)


def _require_header(header: Sequence[str], path: Path) -> None:
    if not header:
        raise ConfigError("it holds no row", where=str(path), remedy="Write a header and rows.")
    if len(set(header)) < len(header) or not all(column.strip() for column in header):
        what = f"its first line names no columns, or one twice: {', '.join(header)[:SHOWN]!r}"
        raise ConfigError(what, where=str(path), remedy="Begin with a line of column names.")


def csv_values(cells: Mapping[str, str]) -> dict[str, Any]:
    """The cells of a row as values: chats and tools from JSON, empty ones of columns that may be missing as null."""
    try:
        "".join(cells.values()).encode()
    except UnicodeEncodeError:
        raise RowError("not_utf8", "it holds bytes that are not UTF-8; save the file as UTF-8") from None
    return {column: _cell(column, text) for column, text in cells.items()}


def _cell(column: str, text: str) -> Any:
    if text == "" and column in _EMPTY_IS_NONE:
        return None
    if column in _JSON_CELLS and text.lstrip()[:1] in ("[", "{"):
        return read_value(text)
    return read_value(text) if column in _CHAT_CELLS and _is_chat(text) else text


def _is_chat(text: str) -> bool:
    """Whether a text is a list of messages, and not an answer that looks like one."""
    if not (text.startswith("[{") and '"content"' in text):
        return False
    try:
        value = read_value(text)
    except RowError:
        return False
    return all(isinstance(message, dict) and {"role", "content"} <= message.keys() for message in value)


# ---------------------------------------------------------------- Parquet and Arrow


@contextmanager
def arrow_errors(path: Path, what: str) -> Iterator[None]:
    """pyarrow's own errors, among which are these, as one that says which file it was."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"this is no {what} ({error})", where=str(path), remedy="Restore or write it anew.") from None


def parquet_columns(path: Path) -> list[str]:
    import pyarrow.parquet as pq

    with arrow_errors(path, "Parquet file"):
        names: list[str] = pq.read_schema(path).names
        return names


def raw_parquet(name: str, path: Path) -> Iterator[RawRow]:
    import pyarrow.parquet as pq

    size = path.stat().st_size
    with arrow_errors(path, "Parquet file"):
        file = pq.ParquetFile(path)
        total = file.metadata.num_rows
        batches = file.iter_batches(batch_size=_BATCH)
    place = 0
    while (batch := _next(batches, path)) is not None:
        for value in _batch_rows(batch, name, place):
            place += 1
            yield RawRow(place, value, size * place // total)


def raw_arrow(name: str, files: Sequence[Path]) -> Iterator[RawRow]:
    """Rows of Arrow stream files, which together are one dataset."""
    import pyarrow as pa

    place = before = 0
    for path in files:
        with arrow_errors(path, "Arrow file"):
            memory = pa.memory_map(str(path))
            batches = iter(pa.ipc.open_stream(memory))
        while (batch := _next(batches, path)) is not None:
            for start in range(0, batch.num_rows, _BATCH):
                for value in _batch_rows(batch.slice(start, _BATCH), name, place):
                    place += 1
                    yield RawRow(place, value, before + memory.tell())
        before += path.stat().st_size


def _next(batches: Iterator[Any], path: Path) -> Any:
    with arrow_errors(path, "readable table"):
        return next(batches, None)


def _batch_rows(batch: Any, name: str, before: int) -> Iterator[Any]:
    """The rows of a batch as values, and a BadRow for each that has none."""
    decoders = {field.name: decoder for field in batch.schema if (decoder := _decoder(field.type))}
    try:
        rows = batch.to_pylist()
    except UnicodeDecodeError:
        rows = [_one_row(batch.slice(at, 1)) for at in range(batch.num_rows)]
    for at, row in enumerate(rows, start=before + 1):
        if row is None:
            yield BadRow(name, at, "not_utf8", "it holds text that is not UTF-8; write the file anew")
            continue
        try:
            for column, decoder in decoders.items():
                if row[column] is not None:
                    row[column] = decoder(row[column])
        except RowError as error:
            yield BadRow(name, at, error.reason, error.detail)
            continue
        yield row


def _one_row(batch: Any) -> dict[str, Any] | None:
    try:
        row: dict[str, Any] = batch.to_pylist()[0]
    except UnicodeDecodeError:
        return None
    return row


def _decoder(kind: Any) -> Callable[[Any], Any] | None:
    """What turns values of an Arrow type into JSON values, None where they are that already.

    Fields of records that are null are left out: a table has them all in each, and there is no telling one that is null
    from one that is not there. Columns of the type JSON are as they were written.
    """
    import pyarrow.types as of

    if getattr(kind, "extension_name", "") == "arrow.json":
        return read_value
    if of.is_list(kind) or of.is_large_list(kind) or of.is_fixed_size_list(kind):
        inner = _decoder(kind.value_type)
        return None if inner is None else lambda values: [None if v is None else inner(v) for v in values]
    if of.is_struct(kind):
        fields = {field.name: _decoder(field.type) for field in kind}
        return lambda record: {
            key: decode(value) if (decode := fields[key]) else value
            for key, value in record.items()
            if value is not None
        }
    if of.is_map(kind):
        return dict
    plain = of.is_string(kind) or of.is_large_string(kind) or of.is_integer(kind) or of.is_boolean(kind)
    return None if plain or of.is_null(kind) else _json_value


def _json_value(value: Any) -> Any:
    """A value of a table that JSON has no type for; pandas writes a missing number as NaN."""
    if isinstance(value, float):
        if isinf(value):
            raise RowError("bad_field", "a number is infinite; write null, or a number")
        return None if isnan(value) else value
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bool | int | str):
        return value
    raise RowError("bad_field", f"a column holds {type(value).__name__}, which is no text; drop it")


# ---------------------------------------------------------------- datasets folders


def dataset_files(folder: Path, split: str) -> list[Path] | None:
    """The Arrow files of what `datasets` saved here, in order; None where it saved nothing. Raises ConfigError."""
    listed = folder / "dataset_dict.json"
    if listed.is_file():
        splits = _json(listed)["splits"]
        if not split and len(splits) != 1:
            known = " or ".join(f"{folder}:{name}" for name in splits)
            raise ConfigError("it holds several splits", where=str(folder), remedy=f"Name one: {known}.")
        if split and split not in splits:
            raise ConfigError(f"there is no split {split!r}", where=str(folder), remedy=did_you_mean(split, splits))
        return dataset_files(folder / (split or splits[0]), "")
    if not (folder / "state.json").is_file():
        return None
    if split:
        raise ConfigError("it has no splits", where=str(folder), remedy=f"Name it without :{split}.")
    state = _json(folder / "state.json")
    if "_data_files" not in state:
        raise StoreError("state.json names no data files", where=str(folder), remedy="Save the dataset anew.")
    return [folder / file["filename"] for file in state["_data_files"]]


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot be read ({error})", where=str(path), remedy="Save the dataset anew.") from None
