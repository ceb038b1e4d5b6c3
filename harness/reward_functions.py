"""A plain function as a judge, in the signature that TRL's `reward_funcs` have: people already own such functions."""

from __future__ import annotations

import asyncio
import inspect
import json
import math
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from harness.errors import PluginError
from harness.protocols import RunContext
from harness.specs import JudgeSpec
from harness.types import Group, Score

RewardFunction = Callable[..., Sequence[float | None] | Awaitable[Sequence[float | None]]]
T = TypeVar("T")


def function_judge(function: RewardFunction, *, name: str = "", deterministic: bool = False) -> JudgeSpec:
    """`def f(prompts, completions, **columns) -> list[float | None]` as a judge named after it; or `async def`.

    As in TRL for chats, `prompts` holds lists of messages and a completion is `[{"role": "assistant", "content"}]`;
    columns are `completion_ids`, `target` (parsed JSON or None), `reference`, and every metadata key that all prompts
    have. It is called once with all that is to be judged, so an async function gathers its own requests. Values must
    lie in [0, 1]; None abstains; NaN counts as failed. `name` defaults to the function's.
    """
    judge_name = name or function.__name__
    summary = (function.__doc__ or "a reward function").strip().splitlines()[0]

    def create(config: Any, context: RunContext) -> _FunctionJudge:
        return _FunctionJudge(judge_name, function)

    return JudgeSpec(judge_name, summary, create, deterministic=deterministic)


class _FunctionJudge:
    def __init__(self, name: str, function: RewardFunction) -> None:
        self.name, self.function = name, function
        self.loop: BackgroundLoop | None = None

    def score(self, groups: Sequence[Group]) -> list[tuple[Score, ...]]:
        rows = [(group.prompt, completion) for group in groups for completion in group.completions]
        if not rows:
            return [() for _ in groups]
        columns: dict[str, list[Any]] = {
            "completion_ids": [list(completion.token_ids) for _, completion in rows],
            "target": [json.loads(prompt.target) if prompt.target else None for prompt, _ in rows],
            "reference": [prompt.reference for prompt, _ in rows],
        }
        for key in set.intersection(*(set(prompt.metadata) for prompt, _ in rows)) - {
            *columns,
            "prompts",
            "completions",
        }:
            columns[key] = [prompt.metadata[key] for prompt, _ in rows]
        values = self._values(
            prompts=[[dict(message) for message in prompt.messages] for prompt, _ in rows],
            completions=[[{"role": "assistant", "content": completion.text}] for _, completion in rows],
            **columns,
        )
        if len(values) != len(rows):
            raise self._wrong(f"{len(values)} values for {len(rows)} completions")
        scores = iter([self._score(value) for value in values])
        return [tuple(next(scores) for _ in group.completions) for group in groups]

    def close(self) -> None:
        if self.loop is not None:
            self.loop.close()
            self.loop = None

    def _values(self, **columns: list[Any]) -> list[Any]:
        values = self.function(**columns)
        if inspect.isawaitable(values):
            self.loop = self.loop or BackgroundLoop()
            values = self.loop.run(values)
        if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__"):
            raise self._wrong(f"{type(values).__name__}, not a list with one value a completion")
        return list(values)

    def _score(self, value: Any) -> Score:
        if value is None:
            return Score.abstained(self.name)
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise self._wrong(f"{value!r}, which is neither a number nor None") from None
        if math.isnan(number):
            return Score.failed(self.name, "the function returned NaN")
        if not 0.0 <= number <= 1.0:
            raise self._wrong(f"{number}, which is outside [0, 1]")
        return Score(self.name, number)

    def _wrong(self, what: str) -> PluginError:
        return PluginError(
            f"the function returned {what}", where=f"judge {self.name}", remedy="Return a list of numbers in [0, 1]."
        )


class BackgroundLoop:
    """An event loop in a thread of its own, as in TRL: it works inside a running loop (a notebook's), and clients that
    a function keeps between calls stay on the loop that they were made on."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def run(self, awaitable: Awaitable[T]) -> T:
        async def wait() -> T:
            return await awaitable

        return asyncio.run_coroutine_threadsafe(wait(), self.loop).result()

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
