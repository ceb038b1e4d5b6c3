"""A plain function as a judge, in the signature that TRL's `reward_funcs` have: people already own such functions."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

from harness.protocols import RunContext
from harness.specs import JudgeSpec
from harness.types import Group, Score

RewardFunction = Callable[..., Sequence[float | None]]


def function_judge(function: RewardFunction, *, name: str = "", deterministic: bool = False) -> JudgeSpec:
    """`def f(prompts, completions, **columns) -> list[float | None]` as a judge named after it.

    As in TRL for chats, `prompts` holds lists of messages and a completion is `[{"role": "assistant", "content"}]`;
    columns are `completion_ids`, `target` (parsed JSON or None), `reference`, and every metadata key that all prompts
    have. Values must lie in [0, 1]; None abstains; NaN counts as failed. `name` defaults to the function's.
    """
    judge_name = name or function.__name__
    summary = (function.__doc__ or "a reward function").strip().splitlines()[0]

    def create(config: Any, context: RunContext) -> _FunctionJudge:
        return _FunctionJudge(judge_name, function)

    return JudgeSpec(judge_name, summary, create, deterministic=deterministic)


class _FunctionJudge:
    def __init__(self, name: str, function: RewardFunction) -> None:
        self.name, self.function = name, function

    def score(self, groups: Sequence[Group]) -> list[tuple[Score, ...]]:
        rows = [(group.prompt, completion) for group in groups for completion in group.completions]
        if not rows:
            return [() for _ in groups]
        columns: dict[str, list[Any]] = {
            "completion_ids": [list(completion.token_ids) for _, completion in rows],
            "target": [json.loads(prompt.target) if prompt.target else None for prompt, _ in rows],
            "reference": [prompt.reference for prompt, _ in rows],
        }
        for key in set.intersection(*(set(prompt.metadata) for prompt, _ in rows)) - set(columns):
            columns[key] = [prompt.metadata[key] for prompt, _ in rows]
        values = self.function(
            prompts=[[dict(message) for message in prompt.messages] for prompt, _ in rows],
            completions=[[{"role": "assistant", "content": completion.text}] for _, completion in rows],
            **columns,
        )
        if len(values) != len(rows):
            raise ValueError(f"{len(values)} values for {len(rows)} completions")
        scores = iter([self._score(value) for value in values])
        return [tuple(next(scores) for _ in group.completions) for group in groups]

    def _score(self, value: float | None) -> Score:
        if value is None:
            return Score.abstained(self.name)
        if math.isnan(value):
            return Score.failed(self.name, "the function returned NaN")
        return Score(self.name, float(value))
