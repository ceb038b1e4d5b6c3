"""One argument against its acceptable values, as an API with a JSON Schema would take it."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from harness_judges.tool_call.target import OMITTED, ExpectedArgument, ItemError
from harness_judges.wording import show


class Problem(NamedTuple):
    """What is wrong with an argument: a label of the judge, and how the sentence about it ends."""

    label: str
    detail: str


SameLeaf = Callable[[Any, Any], bool]

# Breaking one of these means that the value is of the right kind but not among those allowed.
_VALUE_KEYWORDS = frozenset(
    {
        "const",
        "enum",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "maxItems",
        "maxLength",
        "maximum",
        "minItems",
        "minLength",
        "minimum",
        "multipleOf",
        "pattern",
        "uniqueItems",
    }
)


@dataclass(frozen=True)
class StrictCheck:
    """Accepts a value that its schema allows and that equals an acceptable value.

    Objects and lists are compared through all levels; an acceptable object holds, for each key, a list of acceptable
    values. Numbers are equal within `tolerance` (relative), but two whole numbers only if they are the same: an
    identifier that is off by one is another identifier. true is not 1. Strings are compared as `normalize` leaves
    them unless `exact_strings`. A value identical to an acceptable one is right even where the tool's schema
    forbids it: then the two parts of the item contradict each other, and the gold answer decides.
    """

    tolerance: float = 1e-6
    exact_strings: bool = False

    def __call__(self, value: Any, argument: ExpectedArgument) -> Problem | None:
        if any(fits(value, option, _identical) for option in argument.options):
            return None
        if (problem := _schema_problem(value, argument)) is not None:
            return problem
        if any(fits(value, option, self._equal) for option in argument.options):
            return None
        return Problem("value_error", f"is {show(value)}, expected one of {show(list(argument.options))}")

    def _equal(self, value: Any, option: Any) -> bool:
        if isinstance(value, bool) or isinstance(option, bool):
            return value is option
        if isinstance(value, int | float) and isinstance(option, int | float):
            return _close(value, option, self.tolerance)
        if isinstance(value, str) and isinstance(option, str):
            return value == option if self.exact_strings else normalize(value) == normalize(option)
        return value is None and option is None


def fits(value: Any, option: Any, same: SameLeaf) -> bool:
    """Whether `value` has the shape of `option` and the `same` leaves, in all levels."""
    if isinstance(option, Mapping):
        return (
            isinstance(value, Mapping)
            and value.keys() <= option.keys()
            and all(_member_fits(value, key, options, same) for key, options in option.items())
        )
    if isinstance(option, list):
        return (
            isinstance(value, list)
            and len(value) == len(option)
            and all(fits(item, expected, same) for item, expected in zip(value, option, strict=True))
        )
    return same(value, option)


def _member_fits(value: Mapping[str, Any], key: str, options: Any, same: SameLeaf) -> bool:
    options = member_options(options)
    if key not in value:
        return OMITTED in options
    return any(fits(value[key], option, same) for option in options)


def member_options(options: Any) -> list[Any]:
    """Acceptable values of an object's member. Below the first level some gold answers give the one value bare."""
    return options if isinstance(options, list) else [options]


def _identical(value: Any, option: Any) -> bool:
    # OMITTED is a mark here; an empty string that is meant as a value passes through the schema instead.
    return type(value) is type(option) and value == option and option != OMITTED


def _close(a: float, b: float, tolerance: float) -> bool:
    if a == b:
        return True
    if _is_whole(a) and _is_whole(b):
        return False
    try:
        return math.isclose(a, b, rel_tol=tolerance)
    except OverflowError:  # an int beyond the range of floats
        return False


def _is_whole(number: float) -> bool:
    return isinstance(number, int) or number.is_integer()


_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_BETWEEN_NUMBERS = re.compile(r"(?<=\d)([\s,/_*^]+|\s*-\s+|-)(?=\d)")
# A point stays before a digit unless a letter precedes it ("No.5"), a minus unless a letter or digit does ("covid-19").
_IGNORED = re.compile(r"[\s,/_*^]|\.(?!\d)|(?<=[^\W\d_])\.|-(?!\d)|(?<=[^\W_])-")


def normalize(text: str) -> str:
    """Fold what people write differently without meaning it: case, spaces, the punctuation `,./-_*^`, quote marks.

    The set is that of BFCL's string comparison (Berkeley Function-Calling Leaderboard, AST evaluation). Unlike there,
    numbers stay what they are: they keep sign and point ("1.5 km" is not "15 km"; "1,000" is "1000") and do not run
    together ("2024-01-05" is "2024/01/05", but "1,2" is not "12"). Text of nothing but that punctuation is kept ("/"
    is not ".").
    """
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return text.removeprefix("+")
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    separated = _BETWEEN_NUMBERS.sub("|", _THOUSANDS.sub("", text))
    return _IGNORED.sub("", separated).casefold().replace("'", '"') or text


def _schema_problem(value: Any, argument: ExpectedArgument) -> Problem | None:
    """The first way in which `value` breaks its schema. Raises ItemError if the schema is not one."""
    try:
        error = next(argument.validator.iter_errors(value), None)
    except RecursionError:
        return Problem("type_error", "is nested too deeply to be checked")
    except Exception as cause:  # the library raises whatever a malformed schema happens to provoke
        raise ItemError(f"the schema of parameter {argument.name!r} is not valid: {cause}") from cause
    if error is None:
        return None
    keyword = str(error.validator)
    label = "value_error" if keyword in _VALUE_KEYWORDS else "type_error"
    place = f" at {error.json_path[1:]}" if error.absolute_path else ""
    return Problem(
        label, f"is {show(value)}, which its schema does not allow{place} ({keyword}: {show(error.validator_value)})"
    )
