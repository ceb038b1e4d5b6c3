"""One argument against its acceptable values, as the published BFCL checker decides it for Python.

Source: Berkeley Function-Calling Leaderboard v4, AST evaluation (`bfcl-eval` 2026.3.23). It looks at types one level
deep and compares literally below that. It is kept, quirks included, so that scores compare with published ones; where
the original would raise an exception on a model's answer, the answer is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from harness_judges.tool_call.strict import Problem, member_options
from harness_judges.tool_call.target import OMITTED, ExpectedArgument, ItemError
from harness_judges.wording import show

_PYTHON_TYPES: dict[str, type] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "array": list,
    "object": dict,
    "any": str,
}
_IGNORED = re.compile(r"[ ,./\-_*^]")


def bfcl_check(value: Any, argument: ExpectedArgument) -> Problem | None:
    """Accept or refuse as the published checker would. Raises ItemError for a schema type that it does not know."""
    options = argument.options
    kind = _python_type(argument.schema, argument)
    item_kind = (
        _python_type(argument.schema["items"], argument) if kind is list and "items" in argument.schema else None
    )
    if kind is float and type(value) is int:
        try:
            value = float(value)
        except OverflowError:
            return Problem("value_error", "is beyond the range of floats")

    # An answer may have another type than the schema says if the gold answer has it too ("variable" in the original).
    gold_kind = _gold_type(options)
    if type(value) is kind:
        if item_kind is not None and not any(_items_typed(value, option, item_kind) for option in options):
            return Problem("type_error", f"is {show(value)}, whose items are not all of type {item_kind.__name__}")
        literal = gold_kind is not None and gold_kind is not kind
    elif gold_kind is not None and type(value) is gold_kind:
        literal = True
    else:
        return Problem("type_error", f"is {show(value)}, expected type {kind.__name__}")

    if _accepted(value, options, kind, item_kind, literal):
        return None
    return Problem("value_error", f"is {show(value)}, expected one of {show(list(options))}")


def _accepted(value: Any, options: Any, kind: type, item_kind: type | None, literal: bool) -> bool:
    if literal:
        return value in options
    if kind is dict:
        return any(_dict_fits(value, option) for option in options)
    if kind is list and item_kind is dict:
        return any(_dicts_fit(value, option) for option in options)
    if kind is list:
        standardized = [_standardize(item) for item in value]
        # The mark for "may be omitted" is an empty sequence to the original, so it also accepts [].
        return any(
            standardized == [_standardize(item) for item in option]
            for option in options
            if isinstance(option, list | str)
        )
    if kind is str:
        return _standardize(value) in [_standardize(option) for option in options if isinstance(option, str)]
    return value in options


def _dict_fits(value: Mapping[str, Any], option: Any) -> bool:
    if not isinstance(option, Mapping) or not isinstance(value, Mapping):
        return False
    accepted = {key: member_options(options) for key, options in option.items()}
    return all(
        key in accepted and _standardize(member) in map(_standardize, accepted[key]) for key, member in value.items()
    ) and all(key in value or OMITTED in options for key, options in accepted.items())


def _dicts_fit(value: list[Any], option: Any) -> bool:
    if not isinstance(option, list | str) or len(value) != len(option):
        return False
    return all(_dict_fits(item, expected) for item, expected in zip(value, option, strict=True))


def _items_typed(value: Any, option: Any, item_kind: type) -> bool:
    if not isinstance(option, list):
        return True
    gold_kind = _gold_type(option)
    return all(type(item) is item_kind or (gold_kind is not None and type(item) is gold_kind) for item in value)


def _gold_type(options: Any) -> type | None:
    return next((type(option) for option in options if option != OMITTED), None)


def _standardize(value: Any) -> Any:
    return _IGNORED.sub("", value).lower().replace("'", '"') if isinstance(value, str) else value


def _python_type(schema: Any, argument: ExpectedArgument) -> type:
    name = schema.get("type", "any") if isinstance(schema, Mapping) else "any"
    if not isinstance(name, str) or name not in _PYTHON_TYPES:
        raise ItemError(f"BFCL knows no type {name!r} (parameter {argument.name!r}); use the strict mode")
    return _PYTHON_TYPES[name]
