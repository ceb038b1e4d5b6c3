"""The `json_schema` judge: is the answer JSON that satisfies the prompt's schema?"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from jsonschema.protocols import Validator
from referencing import Registry
from referencing.exceptions import Unresolvable

from harness.types import Completion, Prompt, Score
from harness_judges.items import item_error
from harness_judges.pointwise import PointwiseJudge, ScoreCompletion
from harness_judges.wording import sentence, show

NAME = "json_schema"


def json_schema_judge() -> PointwiseJudge:
    """1 if all of the text is one strict JSON value (no repeated keys, no NaN) that satisfies `Prompt.schema` under
    JSON Schema Draft 2020-12 with formats checked, else 0. Labels: ok, parse_error, schema_error.

    A prompt without a schema is abstained from; PluginError, naming the prompt, if its schema is not valid.
    """
    return PointwiseJudge(_for_prompt)


def _for_prompt(prompt: Prompt) -> ScoreCompletion:
    if not prompt.schema:
        return lambda completion: Score.abstained(NAME, "the prompt has no schema")
    try:
        validator = _compile(prompt.schema)
    except (ValueError, SchemaError) as error:
        raise item_error(prompt, NAME, f"its schema is not valid: {getattr(error, 'message', error)}") from error

    def score(completion: Completion) -> Score:
        try:
            value = parse_strict(completion.text)
        except ValueError as error:
            return unreadable(NAME, completion, error)
        try:
            problem = _first_problem(validator, value)
        except Unresolvable as error:
            raise item_error(prompt, NAME, f"its schema refers to what it does not contain: {error}") from error
        if problem is None:
            return Score(NAME, 1.0, label="ok")
        return Score(NAME, 0.0, label="schema_error", explanation=sentence(problem))

    return score


def unreadable(judge: str, completion: Completion, error: ValueError) -> Score:
    """0 for an answer that `parse_strict` cannot read."""
    cut = "cut off at the token limit: " if completion.finish_reason == "length" else ""
    return Score(judge, 0.0, label="parse_error", explanation=sentence(f"{cut}{error}"))


@lru_cache(maxsize=1024)
def _compile(schema: str) -> Validator:
    value = json.loads(schema)
    Draft202012Validator.check_schema(value)
    # A registry of its own: the library's default one would fetch references from the network.
    return Draft202012Validator(value, registry=Registry(), format_checker=Draft202012Validator.FORMAT_CHECKER)


def _first_problem(validator: Validator, value: Any) -> str | None:
    try:
        error = next(validator.iter_errors(value), None)
    except RecursionError:
        return "the answer is nested too deeply to be checked"
    if error is None:
        return None
    return f"{error.json_path} is {show(error.instance)}, against {error.validator}: {show(error.validator_value)}"


def parse_strict(text: str) -> Any:
    """The one JSON value that is all of the text. Raises ValueError for anything else, repeated keys and NaN."""
    try:
        return json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key is repeated in an object")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
