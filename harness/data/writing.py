"""Rows as files: JSONL, JSON, CSV, Parquet and a folder of the package `datasets`, written as the rows come."""

from __future__ import annotations

import csv
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from harness.data.formats import Column, Row, flat
from harness.durable import NOT_WRITABLE, fsync, fsync_tree, make_folder
from harness.errors import ConfigError, StoreError

Shape = Literal["jsonl", "json", "csv", "parquet", "datasets"]
TABLES: tuple[Shape, ...] = ("csv", "parquet", "datasets")
"""Shapes with columns, which are known before the first row is written."""

Columns = Mapping[str, Column]
BATCH = 5_000
"""Rows of a row group."""


@contextmanager
def moved_to(out: Path) -> Iterator[Path]:
    """A place beside `out`. What the block leaves there, a file or a folder, becomes `out`, whole and on the disk, when
    the block ends well. Raises StoreError where it cannot be written."""
    work: Path | None = None
    try:
        make_folder(out.parent)
        work = Path(tempfile.mkdtemp(prefix=f"{out.name}.", suffix=".tmp", dir=out.parent))
        yield work / out.name
        if (work / out.name).exists():
            fsync_tree(work / out.name)
            (work / out.name).rename(out)
            fsync(out.parent)
    except OSError as error:
        if error.errno not in NOT_WRITABLE:
            raise
        remedy = "Make room, or name another place with --out."
        raise StoreError(f"cannot be written ({error.strerror})", where=str(out), remedy=remedy) from error
    finally:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)


def write_jsonl(path: Path, rows: Iterable[Row], columns: Columns) -> None:
    with path.open("w", encoding="utf-8") as handle:
        for row in rows:
            handle.write(json.dumps(row, ensure_ascii=False) + "\n")


def write_json(path: Path, rows: Iterable[Row], columns: Columns) -> None:
    """One list, a row a line."""
    with path.open("w", encoding="utf-8") as handle:
        before = "[\n"
        for row in rows:
            handle.write(before + json.dumps(row, ensure_ascii=False))
            before = ",\n"
        handle.write("\n]\n")


def write_csv(path: Path, rows: Iterable[Row], columns: Columns) -> None:
    """Text as it is, everything else as JSON. What a row lacks is empty."""
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(columns), restval="")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: _cell(value) for name, value in row.items()})


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def write_parquet(path: Path, rows: Iterable[Row], columns: Columns) -> None:
    """A row group a batch, by a schema that does not depend on the rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema({name: _arrow(holds) for name, holds in columns.items()})
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        rest = iter(rows)
        while batch := list(islice(rest, BATCH)):
            flattened = [{name: flat(value, columns[name]) for name, value in row.items()} for row in batch]
            writer.write_table(pa.Table.from_pylist(flattened, schema=schema))


def _arrow(holds: Column) -> Any:
    import pyarrow as pa

    text = pa.string()
    if holds in ("text", "json"):
        return text
    if holds == "flag":
        return pa.bool_()
    message = {"role": text, "content": text}
    if holds == "turns":
        message = {"from": text, "value": text}
    if holds == "calls":
        function = pa.struct({"name": text, "arguments": text})
        call = pa.struct({"id": text, "type": text, "function": function})
        message |= {"tool_calls": pa.list_(call), "tool_call_id": text}
    return pa.list_(pa.struct(message))


def write_datasets(path: Path, rows: Iterable[Row], columns: Columns) -> None:
    """What `datasets.load_from_disk` loads. Raises ConfigError where that package is not installed."""
    datasets = require_datasets()
    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        with tempfile.TemporaryDirectory(dir=path.parent) as work:
            file = Path(work) / "rows.parquet"
            write_parquet(file, rows, columns)
            datasets.Dataset.from_parquet(str(file), cache_dir=work).save_to_disk(str(path))
    finally:
        if shown:
            datasets.enable_progress_bars()


def require_datasets() -> Any:
    try:
        import datasets
    except ImportError:
        raise ConfigError(
            "the package `datasets` is not installed",
            where="--as datasets",
            remedy='Install it with pip install "harness-align[trl]", or write Parquet, which it loads as well.',
        ) from None
    return datasets


WRITERS: Mapping[Shape, Callable[[Path, Iterable[Row], Columns], None]] = {
    "jsonl": write_jsonl,
    "json": write_json,
    "csv": write_csv,
    "parquet": write_parquet,
    "datasets": write_datasets,
}
