"""Reading what a suite put into a prompt. What is wrong there is the suite's fault, never the model's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from harness.errors import PluginError
from harness.types import Prompt


def item_error(prompt: Prompt, judge: str, what: str) -> PluginError:
    """A suite's item that this judge cannot work with."""
    return PluginError(
        what, where=f"prompt {prompt.id}, judge {judge}", remedy="Repair the item in its suite, or leave it out."
    )


def target_object(prompt: Prompt, judge: str) -> Mapping[str, Any]:
    """`Prompt.target` as an object, empty if there is no target. Raises PluginError if it is something else."""
    if not prompt.target:
        return {}
    try:
        value = json.loads(prompt.target)
    except json.JSONDecodeError as error:
        raise item_error(prompt, judge, f"its target is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise item_error(prompt, judge, f"its target must be a JSON object, not {type(value).__name__}")
    return value


def string_list(prompt: Prompt, judge: str, target: Mapping[str, Any], key: str) -> list[str]:
    """The strings under `key`, none if it is absent. Raises PluginError if something else is there."""
    value = target.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise item_error(prompt, judge, f"its target's {key!r} must be a list of strings")
    return value
