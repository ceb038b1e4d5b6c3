"""Rows of JSON from files that people and other programs write, each with the place at which to mend it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.durable import write_text
from harness.errors import ConfigError


def read_text(path: Path) -> str:
    """A file as UTF-8 text. Raises ConfigError if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
        raise ConfigError(what, where=str(path), remedy="Name a file that is there.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"not UTF-8: {error}", where=str(path), remedy="Save it as UTF-8.") from None


def read_jsonl(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Of each row its place (`FILE:LINE`) and its object; blank lines are passed over. Raises ConfigError."""
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        where, remedy = f"{path}:{number}", "Write one JSON object a line."
        try:
            value = json.loads(line)
            json.dumps(value, ensure_ascii=False).encode()
        except json.JSONDecodeError as error:
            what = f"not JSON: {error.msg} at character {error.pos}"
            raise ConfigError(what, where=where, remedy=remedy) from None
        except UnicodeEncodeError as error:  # it could not be written anywhere
            raise ConfigError(f"half of a character ({error.reason})", where=where, remedy="Mend the text.") from None
        if not isinstance(value, dict):
            raise ConfigError(f"a row is a JSON object, not {type(value).__name__}", where=where, remedy=remedy)
        yield where, value


def as_jsonl(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def require_absent(*paths: Path) -> None:
    """Raises ConfigError if a file is there that would be written: somebody may have filled it in."""
    for path in paths:
        if path.exists():
            raise ConfigError("it is there already", where=str(path), remedy="Name another file.")


def write_new(path: Path, text: str) -> None:
    """A file that was not there. Raises ConfigError if it was, or cannot be written."""
    require_absent(path)
    write_over(path, text)


def write_over(path: Path, text: str) -> None:
    """A file, whatever was there. Raises ConfigError if it cannot be written."""
    try:
        write_text(path, text)
    except OSError as error:
        what = f"cannot be written ({error.strerror})"
        raise ConfigError(what, where=str(path), remedy="Name a file in a folder that is there.") from None
