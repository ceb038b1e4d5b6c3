"""Prompts and answers in the forms that these tests need."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.types import Prompt, Score

Verdicts = Callable[..., tuple[Score, ...]]
"""`verdicts(judge_name, prompt, *texts, **config)`: see the fixture."""


def tool_prompt(
    tools: Sequence[Mapping[str, Any]], calls: Sequence[tuple[str, Mapping[str, Any]]], *, ordered: bool = False
) -> Prompt:
    target = {"calls": [{"name": name, "arguments": arguments} for name, arguments in calls], "ordered": ordered}
    return Prompt("item-7", ({"role": "user", "content": "q"},), tools=json.dumps(tools), target=json.dumps(target))


def answer(*calls: tuple[str, Any]) -> str:
    return json.dumps([{"name": name, "arguments": arguments} for name, arguments in calls])
