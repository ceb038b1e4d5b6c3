"""The `verifiers` judge: reward functions in the signature of the package verifiers, alone or in its rubrics.

A rubric of verifiers logs what a function raises and counts it as 0. Here its functions are called one by one, with the
objects that the rubric would hand them, so that what cannot be scored has failed.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import ConfigError
from harness.protocols import Judge, RunContext
from harness.reward_functions import BackgroundLoop
from harness.types import Completion, Group, Prompt, Score
from harness_judges.function import load
from harness_judges.settings import VerifiersConfig

NAME = "verifiers"
WHERE = "judge verifiers"
OF_GROUPS = {"states", "prompts", "completions", "answers", "tasks", "infos"}
"""Parameters by which verifiers knows a function that scores a whole group of completions."""

State = dict[str, Any]


@dataclass(frozen=True)
class Reward:
    """One function, its weight, and the objects that it may ask for by name, of one completion and of several."""

    function: Callable[..., Any]
    weight: float
    objects: Callable[[State], Mapping[str, Any]]
    group_objects: Callable[[list[State]], Mapping[str, Any]]

    @property
    def name(self) -> str:
        return getattr(self.function, "__name__", repr(self.function))

    async def values(self, states: list[State]) -> list[float | str]:
        """For each of a group's completions its value, or why there is none."""
        if OF_GROUPS & set(inspect.signature(self.function).parameters):
            given = await self._call(lambda: self.group_objects(states))
            if isinstance(given, Failed):
                return [given.why] * len(states)
            if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != len(states):
                return [f"{self.name} gave no list of {len(states)} values"] * len(states)
        else:
            given = await asyncio.gather(*(self._call(lambda state=state: self.objects(state)) for state in states))
        return [self._checked(value) for value in given]

    async def _call(self, objects: Callable[[], Mapping[str, Any]]) -> Any:
        try:
            value = self.function(**_asked(self.function, objects()))
            return await value if inspect.isawaitable(value) else value
        except Exception as error:  # somebody's code: whatever it raises is its own report
            return Failed(f"{self.name} raised {type(error).__name__}: {error}")

    def _checked(self, value: Any) -> float | str:
        if isinstance(value, Failed):
            return value.why
        try:
            number = float(value)
        except (TypeError, ValueError):
            return f"{self.name} gave {value!r}, which is no number"
        return number if 0.0 <= number <= 1.0 else f"{self.name} gave {number}, which is outside [0, 1]"


@dataclass(frozen=True)
class Failed:
    """A function that raised."""

    why: str


class VerifiersJudge:
    """The mean of a rubric's functions by their weights; functions without weight are metrics and are not asked."""

    def __init__(self, rewards: Sequence[Reward], concurrency: int) -> None:
        self.rewards, self.concurrency = rewards, concurrency
        self.loop: BackgroundLoop | None = None

    def score(self, groups: Sequence[Group]) -> list[tuple[Score, ...]]:
        self.loop = self.loop or BackgroundLoop()  # one for all calls: clients stay on the loop that they were made on
        return self.loop.run(self._score(groups))

    def close(self) -> None:
        if self.loop is not None:
            self.loop.close()
            self.loop = None

    async def _score(self, groups: Sequence[Group]) -> list[tuple[Score, ...]]:
        free = asyncio.Semaphore(self.concurrency)

        async def one(group: Group) -> tuple[Score, ...]:
            async with free:
                states = [_state(group.prompt, completion) for completion in group.completions]
                columns = [await reward.values(states) for reward in self.rewards]
                return tuple(self._verdict(values) for values in zip(*columns, strict=True))

        return await asyncio.gather(*map(one, groups))

    def _verdict(self, values: Sequence[float | str]) -> Score:
        if reasons := [value for value in values if isinstance(value, str)]:
            return Score.failed(NAME, "; ".join(reasons))
        numbers = [(reward, float(value)) for reward, value in zip(self.rewards, values, strict=True)]
        mean = sum(r.weight * value for r, value in numbers) / sum(r.weight for r, _ in numbers)
        said = ", ".join(f"{reward.name} {value:g}" for reward, value in numbers)
        return Score(NAME, min(mean, 1.0), explanation=said)  # rounding may go beyond


# ---------------------------------------------------------------- what functions are called with


def _state(prompt: Prompt, completion: Completion) -> State:
    """A rollout of one turn, as verifiers describes it. `info` has the prompt's metadata and its target."""
    target = {"target": json.loads(prompt.target)} if prompt.target else {}
    row = {
        "prompt": [dict(message) for message in prompt.messages],
        "answer": prompt.reference or "",
        "info": {**prompt.metadata, **target},
        "example_id": prompt.id,
    }
    return {
        **row,
        "input": {**prompt.metadata, **row},  # a rubric hands out all of its columns
        "completion": [{"role": "assistant", "content": completion.text}],
        "is_completed": True,
        "is_truncated": completion.finish_reason == "length",
        "trajectory": [],
    }


def _objects(state: State) -> Mapping[str, Any]:
    """What verifiers hands to a function of one completion, less what only a rubric has, such as a parser."""
    asked = {key: state[key] for key in ("prompt", "completion", "answer", "info")}
    return {**state["input"], **asked, "state": state, "task": None}


def _group_objects(states: list[State]) -> Mapping[str, Any]:
    columns = {f"{key}s": [state[key] for state in states] for key in ("prompt", "completion", "answer", "info")}
    return {**columns, "states": states, "tasks": [None for _ in states]}


def _asked(function: Callable[..., Any], objects: Mapping[str, Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters
    if any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values()):
        return dict(objects)
    return {name: value for name, value in objects.items() if name in parameters}


# ---------------------------------------------------------------- what is named


def make(config: VerifiersConfig, context: RunContext) -> Judge:
    """Raises ConfigError or PluginError where there is no such rubric, or one that does more than its functions do."""
    found = load(config, _fits, where=WHERE, what="rubric or function")
    rewards = list(_of_rubric(found)) if _is_rubric(found) else [Reward(found, 1.0, _objects, _group_objects)]
    negative = [reward.name for reward in rewards if reward.weight < 0]
    if negative:
        raise ConfigError(
            f"{negative[0]} has a negative weight, and a mean in [0, 1] has no place for it",
            where=WHERE,
            remedy="Turn the function round (1 - value), and give it a positive weight.",
        )
    weighed = [reward for reward in rewards if reward.weight > 0]
    if not weighed:
        raise ConfigError("the rubric has no function with a weight", where=WHERE, remedy="Give it one.")
    return VerifiersJudge(weighed, config.concurrency)


def _fits(found: Any) -> bool:
    return _is_rubric(found) or (callable(found) and not inspect.isclass(found))


def _is_rubric(found: Any) -> bool:
    return not inspect.isclass(found) and hasattr(found, "funcs") and hasattr(found, "score_rollout")


def _of_rubric(rubric: Any) -> Iterator[Reward]:
    """Its functions; those of a group of rubrics are those of its members."""
    if not hasattr(rubric, "score_objects"):
        raise ConfigError(
            "this rubric does not say what its functions are called with",
            where=WHERE,
            remedy="Install verifiers 0.1.14 or later, before 0.4, which has no rubrics.",
        )
    for name in ("score_rollout", "score_group"):
        if not getattr(type(rubric), name).__module__.endswith((".rubrics.rubric", ".rubrics.rubric_group")):
            raise ConfigError(
                f"{type(rubric).__name__} scores in a way of its own ({name}), which may count errors as 0",
                where=WHERE,
                remedy="Give a Rubric with functions and weights.",
            )
    if hasattr(rubric, "rubrics"):
        for member in rubric.rubrics:
            yield from _of_rubric(member)
        return
    for function, weight in zip(rubric.funcs, rubric.weights, strict=True):
        yield Reward(function, float(weight), rubric.score_objects, rubric.group_score_objects)
