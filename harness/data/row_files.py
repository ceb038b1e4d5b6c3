"""What data verbs share that write rows: all of their input must be readable, and what they write says where it is
from.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from harness.data.layouts import row_of
from harness.data.reading import BadRow, read_records
from harness.data.record import Record
from harness.durable import fsync
from harness.errors import ConfigError
from harness.jsonl import require_absent

_NOT_JSONL = (".csv", ".tsv", ".parquet", ".txt", ".gz", ".zst")


def good_records(source: str) -> Iterator[Record]:
    """The records of a file or run. Raises ConfigError at the first row that is none, and where there is no row."""
    found = False
    for record in read_records(source):
        if isinstance(record, BadRow):
            raise ConfigError(
                f"{record.reason}: {record.detail}",
                where=record.where,
                remedy="`harness data check` lists all such rows, and `harness data clean` writes the others.",
            )
        found = True
        yield record
    if not found:
        raise ConfigError("it holds no row", where=source, remedy="Name one that holds some.")


def line_of(record: Record) -> str:
    """A record as a line of JSON. Raises ConfigError for a group, of which a row holds no more than a pair."""
    try:
        return json.dumps(row_of(record), ensure_ascii=False) + "\n"
    except ValueError as error:
        raise ConfigError(str(error), where=record.where, remedy="Give rows with one answer or two.") from None


def origin_of(record: Record) -> dict[str, Any]:
    """Where a record is from: as it says itself, else where it was read."""
    origin = record.extra.get("origin")
    return dict(origin) if isinstance(origin, dict) else {"source": record.source, "place": record.place}


def write_lines(out: Path, lines: Iterable[str]) -> None:
    """A file that was not there, whole or not at all. Raises ConfigError if it was, or cannot be written."""
    require_absent(out)
    draft = out.with_name(f"{out.name}.tmp")
    try:
        with draft.open("w", encoding="utf-8") as handle:
            handle.writelines(lines)
        fsync(draft)
        draft.rename(out)
        fsync(out.parent)
    except OSError as error:
        what = f"cannot be written ({error.strerror})"
        raise ConfigError(what, where=str(out), remedy="Name a file in a folder that is there.") from None
    finally:
        draft.unlink(missing_ok=True)


def require_jsonl_name(out: Path) -> None:
    """Raises ConfigError for a name by which rows of JSON would be read as something else."""
    if (suffix := out.suffix.lower()) in _NOT_JSONL:
        what = f"what is written is JSONL, which {suffix} does not say"
        raise ConfigError(
            what, where=str(out), remedy="Name a .jsonl file; `harness data export` writes other formats."
        )


def require_writable(out: Path) -> None:
    """Raises ConfigError, before the work is done, if `write_lines` would, and for a name that is not one of JSONL."""
    require_absent(out)
    require_jsonl_name(out)
    if not out.parent.is_dir():
        raise ConfigError("there is no such folder", where=str(out.parent), remedy="Make it, or name another file.")
