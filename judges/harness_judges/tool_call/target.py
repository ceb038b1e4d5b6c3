"""What a tool-call item asks for, read from its `Prompt.target` and `Prompt.tools`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing import Registry


class ItemError(ValueError):
    """The suite's item is at fault, not the answer to it."""


OMITTED = ""
"""Among the acceptable values it says that the argument may be left out."""

# "any" is no type of JSON Schema, but tool descriptions use it.
_Validator = extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("any", lambda checker, instance: True),
)


@dataclass(frozen=True)
class ExpectedArgument:
    """One parameter of an expected call. `options` are the acceptable values, `tool_schema` the tool's whole schema."""

    name: str
    options: Sequence[Any]
    schema: Any
    tool_schema: Mapping[str, Any]

    @cached_property
    def validator(self) -> Validator:
        """Checks this argument; `$ref`s resolve within the tool's schema, nothing is fetched."""
        return _Validator(self.tool_schema, registry=Registry()).evolve(schema=self.schema)


@dataclass(frozen=True)
class ExpectedCall:
    """A call that is due: `arguments` may be given, those named in `due` must be."""

    name: str
    arguments: Mapping[str, ExpectedArgument]
    due: tuple[str, ...]


@dataclass(frozen=True)
class Target:
    """All calls that are due, none if the right answer is not to call. Their order matters only if `ordered`."""

    calls: tuple[ExpectedCall, ...]
    ordered: bool


def read_target(target: str, tools: str) -> Target:
    """Read a target, `{"calls": [{"name", "arguments": {parameter: [acceptable, ...]}}], "ordered": bool}`.

    Raises ItemError, saying what is wrong, when it is not of this form or when no answer could satisfy it.
    """
    value = _load(target, "the target")
    if not isinstance(value, dict) or not isinstance(value.get("calls"), list):
        raise ItemError('the target must be an object with a list of "calls"')
    ordered = value.get("ordered", False)
    if not isinstance(ordered, bool):
        raise ItemError('"ordered" must be true or false')
    if not value["calls"]:
        return Target((), ordered)
    schemas = _tool_schemas(tools)
    return Target(tuple(_expected_call(call, schemas) for call in value["calls"]), ordered)


def _tool_schemas(tools: str) -> dict[str, Mapping[str, Any]]:
    value = _load(tools, "tools")
    if not isinstance(value, list) or not all(isinstance(tool, dict) for tool in value):
        raise ItemError("tools must be a list of objects")
    return {str(tool.get("name")): tool.get("parameters") or {} for tool in value}


def _expected_call(call: Any, schemas: Mapping[str, Mapping[str, Any]]) -> ExpectedCall:
    if not isinstance(call, dict) or not isinstance(call.get("arguments"), dict):
        raise ItemError("each call of the target must be an object with a name and an object of arguments")
    name, options_by_parameter = call.get("name"), call["arguments"]
    if not isinstance(name, str) or name not in schemas:
        raise ItemError(f"the target calls {name!r}, which is not among the tools")
    schema = schemas[name]
    if not isinstance(schema, dict) or not isinstance(schema.get("properties", {}), dict):
        raise ItemError(f"the parameters of {name!r} are not a JSON Schema of an object")
    required = schema.get("required", [])
    if not isinstance(required, list):
        raise ItemError(f'"required" of {name!r} must be a list of parameters')
    arguments = {}
    for parameter, options in options_by_parameter.items():
        if not isinstance(options, list) or not options:
            raise ItemError(f"{name}: the acceptable values of {parameter!r} must be a list that is not empty")
        described, argument_schema = _parameter_schema(schema, parameter)
        if described:
            arguments[parameter] = ExpectedArgument(parameter, options, argument_schema, schema)
    due = [p for p, options in options_by_parameter.items() if p in required or OMITTED not in options]
    if impossible := sorted({*due, *required} - arguments.keys()):
        raise ItemError(
            f"no answer can be right: {name} and the target do not agree on the parameter {', '.join(impossible)}"
        )
    return ExpectedCall(name, arguments, tuple(due))


def _parameter_schema(schema: Mapping[str, Any], parameter: str) -> tuple[bool, Any]:
    """Whether the tool takes this parameter, and its schema.

    A tool that lists its parameters takes no others unless it says so; JSON Schema alone would allow any.
    """
    properties = schema.get("properties", {})
    if parameter in properties:
        return True, properties[parameter]
    others = schema.get("additionalProperties", "properties" not in schema)
    return others is not False, others


def _load(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ItemError(f"{what} cannot be read: not JSON, {error}") from None
