"""JSON as rows hold it, read strictly: what could not be written again, or would silently lose a part, is refused."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from harness.data.rows import RowError

_half = re.compile(r"\\u[dD][89a-fA-F]").search


def read_object(line: bytes) -> dict[str, Any]:
    """The JSON object of a line. Raises RowError."""
    try:
        value = read_value(line.decode())
    except UnicodeDecodeError as error:
        raise RowError("not_utf8", f"byte {error.start + 1} is not UTF-8; save the file as UTF-8") from None
    except RowError as error:
        if error.reason == "not_json" and b"\0" in line:
            what = "it holds NUL bytes, as a file does whose writer was cut off; write it again"
            raise RowError("not_json", what) from None
        raise
    if not isinstance(value, dict):
        raise RowError("not_an_object", f"a row is a JSON object, not {type(value).__name__}")
    return value


def read_value(text: str) -> Any:
    """Any JSON value. Raises RowError where it is not JSON, repeats a key, or holds half of a character or a number
    that JSON has not."""
    try:
        value = _STRICT.decode(text)
    except json.JSONDecodeError as error:
        raise RowError("not_json", f"{error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise RowError("not_json", "it is nested too deeply") from None
    except RowError:
        raise
    except ValueError as error:  # an integer of thousands of digits
        raise RowError("bad_field", f"a number cannot be read ({error})") from None
    if _half(text):
        _require_whole_characters(value)
    return value


def _require_whole_characters(value: Any) -> None:
    """Raises RowError for half of a surrogate pair, which no file can hold as UTF-8."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        what = f"\\u{ord(error.object[error.start]):04x} is half of a character; it was cut in the middle of one"
        raise RowError("half_character", what) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RowError("bad_field", f"key {twice!r} is there twice in one object; keep one of them")
    return result


def _no_constant(name: str) -> Any:
    raise RowError("bad_field", f"{name} is no JSON number; write null, or a number")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise RowError("bad_field", f"{text} is too large for a number")
    return value


_STRICT = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
