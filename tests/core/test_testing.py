"""The contract checks catch judges that break it, and let all built-in ones pass."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from harness.plugins import load_registry
from harness.specs import JudgeSpec
from harness.testing import assert_judge
from harness.types import Group, Score


class Good:
    def score(self, groups: Sequence[Group]) -> list[tuple[Score, ...]]:
        return [tuple(Score("j", float(len(c.text) % 2)) for c in group.completions) for group in groups]


class WrongCount(Good):
    def score(self, groups: Sequence[Group]) -> list[tuple[Score, ...]]:
        return [scores[:1] for scores in super().score(groups)]


class OutOfRange(Good):
    def score(self, groups: Sequence[Group]) -> list[tuple[Score, ...]]:
        return [tuple(Score("j", 10.0) for _ in group.completions) for group in groups]


class Mutates(Good):
    def score(self, groups: Sequence[Group]) -> list[tuple[Score, ...]]:
        for group in groups:
            group.prompt.metadata["seen"] = "yes"  # type: ignore[index]
        return super().score(groups)


class Numbers(Good):
    def score(self, groups: Sequence[Group]) -> list[Any]:
        return [[0.5 for _ in group.completions] for group in groups]


class Borrowed(Good):
    def score(self, groups: Sequence[Group]) -> list[tuple[Score, ...]]:
        return [tuple(Score("other", 0.5) for _ in group.completions) for group in groups]


class Moody(Good):
    def score(self, groups: Sequence[Group]) -> list[tuple[Score, ...]]:
        return [tuple(Score("j", random.random()) for _ in group.completions) for group in groups]


class Sociable(Good):
    """Its verdicts depend on the other groups."""

    def score(self, groups: Sequence[Group]) -> list[tuple[Score, ...]]:
        return [tuple(Score("j", 1 / len(groups)) for _ in group.completions) for group in groups]


class Insists(Good):
    def score(self, groups: Sequence[Group]) -> list[tuple[Score, ...]]:
        return super().score(groups) or [()]


def spec(judge: type[Good], *, deterministic: bool = True) -> JudgeSpec:
    return JudgeSpec("j", "a judge", lambda config, context: judge(), deterministic=deterministic)


def test_a_good_judge_passes() -> None:
    assert_judge(spec(Good))
    assert_judge(spec(Moody, deterministic=False))


@pytest.mark.parametrize(
    ("judge", "says"),
    [
        (WrongCount, "1 scores for the 7 completions"),
        (OutOfRange, r"value 10\.0 is outside \[0, 1\]"),
        (Mutates, "changes the groups that it is given"),
        (Numbers, "something other than its own Score"),
        (Borrowed, "something other than its own Score"),
        (Moody, "calls itself deterministic and gives other verdicts in another order"),
        (Sociable, "calls itself deterministic and gives other verdicts one by one"),
        (Insists, "1 verdict lists for 0 groups"),
    ],
)
def test_a_broken_promise_is_named(judge: type[Good], says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        assert_judge(spec(judge))


SETTINGS: dict[str, dict[str, Any]] = {"length": {"max": 20}, "regex": {"pattern": "a"}}


@pytest.mark.parametrize("name", ["exact", "json_schema", "length", "regex", "repetition"])
def test_built_in_judges_keep_the_contract(name: str) -> None:
    found = load_registry(third_party=False).get("judge", name).spec
    assert isinstance(found, JudgeSpec)
    assert_judge(found, config=SETTINGS.get(name, {}))
