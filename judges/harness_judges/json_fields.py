"""The `json_fields` judge: does the answer's JSON say what it should?"""

from __future__ import annotations

from typing import Any

from harness.types import Completion, Prompt, Score
from harness_judges.items import item_error, target_object
from harness_judges.json_schema import parse_strict, unreadable
from harness_judges.pointwise import PointwiseJudge, ScoreCompletion
from harness_judges.settings import JsonFieldsConfig
from harness_judges.wording import sentence, show

NAME = "json_fields"

Path = tuple[str | int, ...]
"""Keys and indices from the outside in."""


def json_fields_judge(config: JsonFieldsConfig) -> PointwiseJudge:
    """Compares an answer that is all strict JSON with the target, `{"value": ...}`, leaf by leaf.

    A leaf is a string, number, true, false, null, or an empty list or object, at its path. Numbers are equal by value
    (5 and 5.0); true is not 1; strings are equal letter by letter; the order counts in lists, not in objects. With
    credit "exact" the value is 1 if the answer equals the target and 0 otherwise. With "partial" it is the leaves that
    are right over all paths that either has, so that a field too many costs as much as one too few.

    Labels: ok, parse_error, missing_field, extra_field, value_error (the first that holds, in this order). A prompt
    without a target is abstained from; PluginError, naming the prompt, if the target has no value.
    """

    def for_prompt(prompt: Prompt) -> ScoreCompletion:
        if not prompt.target:
            return lambda completion: Score.abstained(NAME, "the prompt has no target")
        target = target_object(prompt, NAME)
        if "value" not in target:
            raise item_error(prompt, NAME, "its target has no 'value'")
        due = leaves(target["value"])

        def score(completion: Completion) -> Score:
            try:
                made = leaves(parse_strict(completion.text))
            except ValueError as error:
                return unreadable(NAME, completion, error)
            right = sum(path in made and same(made[path], value) for path, value in due.items())
            share = right / len(due.keys() | made.keys())
            if share == 1:
                return Score(NAME, 1.0, label="ok")
            label, why = _difference(due, made)
            return Score(NAME, share if config.credit == "partial" else 0.0, label=label, explanation=sentence(why))

        return score

    return PointwiseJudge(for_prompt)


def leaves(value: Any) -> dict[Path, Any]:
    """Every leaf by its path. Not recursive: a model can nest as deep as the JSON reader allows."""
    found: dict[Path, Any] = {}
    waiting: list[tuple[Path, Any]] = [((), value)]
    while waiting:
        path, inner = waiting.pop()
        match inner:
            case dict() if inner:
                waiting += [((*path, key), item) for key, item in inner.items()]
            case list() if inner:
                waiting += [((*path, index), item) for index, item in enumerate(inner)]
            case _:
                found[path] = inner
    return found


def same(one: Any, other: Any) -> bool:
    """Whether two leaves are the same JSON value. (To Python, True equals 1.)"""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _difference(due: dict[Path, Any], made: dict[Path, Any]) -> tuple[str, str]:
    missing = [path for path in due if path not in made]
    extra = [path for path in made if path not in due]
    if missing:
        return "missing_field", f"{_name(missing[0])} is missing"
    if extra:
        return "extra_field", f"{_name(extra[0])} is not asked for"
    path = next(path for path, value in due.items() if not same(made[path], value))
    return "value_error", f"{_name(path)} is {show(made[path])} where {show(due[path])} is expected"


def _name(path: Path) -> str:
    return "$" + "".join(f"[{show(key)}]" if isinstance(key, int) else f".{show(key)[1:-1]}" for key in path[:8])
