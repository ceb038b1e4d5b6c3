"""Files as bytes: plain, gzip or zstd by how they begin, a line at a time, never more of one than `MAX_LINE`."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from harness.data.rows import MAX_LINE, SHOWN, BadRow, RawRow
from harness.errors import ConfigError

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_BUFFER = 2**20


class Line(NamedTuple):
    """One line with its end, of which a very long one keeps only how it begins."""

    number: int
    content: bytes
    too_long: bool
    end: int
    """Bytes of the file on disk that are read by now."""


@contextmanager
def opened(path: Path) -> Iterator[tuple[io.BufferedReader[Any], Callable[[], int]]]:
    """A file's content, unpacked, and how many bytes of the file on disk are read.

    Raises ConfigError if it cannot be read, also in the middle of it, where it was cut short.
    """
    try:
        with io.BufferedReader(path.open("rb", buffering=0), _BUFFER) as file:
            magic = file.peek(4)[:4]
            unpacked = _unpacked(file, magic)
            yield unpacked or file, file.tell
    except (OSError, EOFError, zlib.error) as error:
        what = f"cannot be read ({getattr(error, 'strerror', None) or error})"
        raise ConfigError(what, where=str(path), remedy="Name a file that is there, and whole.") from None


def _unpacked(file: io.BufferedReader[Any], magic: bytes) -> io.BufferedReader[Any] | None:
    if magic.startswith(_GZIP):
        unpacked: Any = gzip.GzipFile(fileobj=file)
    elif magic == _ZSTD:
        import pyarrow as pa

        unpacked = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd")
    else:
        return None
    return io.BufferedReader(unpacked, _BUFFER)


def require_utf8(path: Path) -> None:
    """Raises ConfigError for a file in UTF-16 or UTF-32, of which every row would be wrong."""
    with opened(path) as (stream, _):
        head = stream.read(4)
    marked = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if marked or head[1::2] == b"\0\0" != head[::2] or head[::2] == b"\0\0" != head[1::2]:
        raise ConfigError("it is UTF-16, not UTF-8", where=str(path), remedy="Save it as UTF-8.")


def lines(path: Path) -> Iterator[Line]:
    """The lines of a file, a UTF-8 mark at its beginning left out."""
    with opened(path) as (stream, position):
        number = 0
        while line := stream.readline(MAX_LINE + 1):
            number += 1
            too_long = len(line) > MAX_LINE and not line.endswith(b"\n")
            if too_long:
                line = line[: 4 * SHOWN]
                _pass_over(stream)
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            yield Line(number, line, too_long, position())


def _pass_over(stream: io.BufferedReader[Any]) -> None:
    """Up to the end of the line."""
    while (chunk := stream.readline(_BUFFER)) and not chunk.endswith(b"\n"):
        pass


def raw_lines(name: str, path: Path) -> Iterator[RawRow]:
    """The lines of a JSONL file, undecoded; blank ones are passed over."""
    for number, content, too_long, end in lines(path):
        if too_long:
            yield RawRow(number, too_long_row(name, number, content), end)
        elif not content.isspace():
            yield RawRow(number, content, end)


def raw_document(name: str, path: Path) -> Iterator[RawRow]:
    """A text file as one row."""
    with opened(path) as (stream, position):
        content = stream.read(MAX_LINE + 1).removeprefix(codecs.BOM_UTF8)
        if len(content) > MAX_LINE:
            yield RawRow(1, too_long_row(name, 1, content), position())
        elif content.strip():
            yield RawRow(1, content, position())


def too_long_row(name: str, place: int, content: bytes) -> BadRow:
    what = f"it is longer than {MAX_LINE // 2**20} MiB; split it"
    return BadRow(name, place, "too_long", what, content[:SHOWN].decode(errors="replace"))
