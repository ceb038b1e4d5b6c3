from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from harness.errors import JudgeFailure, PluginError
from harness.judging import Bench, verdict_figures
from harness.protocols import RunContext
from harness.reward_functions import function_judge
from harness.rewards import JudgingConfig, reward
from harness.specs import NoConfig
from harness.types import Completion, Group, Preference, Prompt, Sampling, Score


def group(*texts: str, **fields: object) -> Group:
    prompt = Prompt("p", ({"role": "user", "content": "say it"},), **fields)  # type: ignore[arg-type]
    return Group(prompt, (1,), tuple(Completion(t, (1,)) for t in texts), "base", Sampling())


def scores(**values: float | None) -> list[Score]:
    return [Score(name, v) if v is not None else Score.abstained(name) for name, v in values.items()]


def test_a_reward_is_the_weighted_mean() -> None:
    assert reward(scores(a=1.0, b=0.5), {"a": 3.0, "b": 1.0}) == pytest.approx(0.875)


def test_abstained_is_left_out_and_failed_makes_it_unknown() -> None:
    assert reward(scores(a=1.0, b=None), {"a": 1.0, "b": 1.0}) == 1.0
    assert reward([Score("a", 1.0), Score.failed("b", "timeout")], {"a": 1.0, "b": 1.0}) is None
    assert reward(scores(a=None), {"a": 1.0}) is None


def test_a_failed_judge_that_does_not_count_changes_nothing() -> None:
    assert reward([Score("a", 1.0), Score.failed("b", "timeout")], {"a": 1.0, "b": 0.0}) == 1.0


def test_a_negative_weight_negates() -> None:
    assert reward(scores(a=0.25), {"a": -1.0}) == -0.25


class Fixed:
    def __init__(self, *verdicts: Sequence[Score]) -> None:
        self.verdicts = [tuple(v) for v in verdicts]

    def score(self, groups: Sequence[Group]) -> list[tuple[Score, ...]]:
        return self.verdicts


@pytest.mark.parametrize(
    ("verdicts", "says"),
    [
        ([], "0 verdict lists for 1 groups"),
        ([[Score("j", 1.0)]], "1 scores for the 2 completions"),
        ([[Score("other", 1.0), Score("j", 1.0)]], "its own Score"),
        ([[1.0, 0.0]], "its own Score"),
    ],
)
def test_a_judge_that_breaks_its_contract_stops_the_round(verdicts: object, says: str) -> None:
    bench = Bench({"j": Fixed(*verdicts)}, {"j": 1.0})  # type: ignore[misc]
    with pytest.raises(PluginError, match=says):
        bench.score([group("a", "b")])


def test_a_judge_that_raises_is_named() -> None:
    class Raising:
        def score(self, groups: Sequence[Group]) -> list[tuple[Score, ...]]:
            raise KeyError("model")

    with pytest.raises(PluginError, match="judge j: raised KeyError"):
        Bench({"j": Raising()}, {"j": 1.0}).score([group("a")])


def test_a_few_failures_are_unscored_and_many_stop_the_round() -> None:
    texts = [str(i) for i in range(20)]

    def verdicts(failed: int) -> list[Score]:
        return [Score.failed("j", "timeout") if i < failed else Score("j", 1.0) for i in range(20)]

    [scored] = Bench({"j": Fixed(verdicts(2))}, {"j": 1.0}).score([group(*texts)])
    assert scored.rewards == (None, None, *[1.0] * 18)
    with pytest.raises(JudgeFailure, match="3 of 20 verdicts failed, the first with: timeout"):
        Bench({"j": Fixed(verdicts(3))}, {"j": 1.0}).score([group(*texts)])


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_scores_lie_between_zero_and_one(value: float) -> None:
    with pytest.raises(ValueError, match="outside"):
        Score("j", value)


def test_unscored_is_not_zero() -> None:
    with pytest.raises(ValueError, match="status"):
        Score("j", 0.0, "failed")
    with pytest.raises(ValueError, match="status"):
        Score("j", None)


def test_a_function_judge_gets_what_trl_would_give_it() -> None:
    seen: dict[str, object] = {}

    def shouting(prompts, completions, **columns):  # type: ignore[no-untyped-def]
        """Is it in capitals?"""
        seen.update(columns, prompts=prompts)
        return [None if not c[0]["content"] else float(c[0]["content"].isupper()) for c in completions]

    spec = function_judge(shouting)
    assert (spec.name, spec.summary) == ("shouting", "Is it in capitals?")
    judge = spec.create(spec.config(), RunContext())
    verdicts = judge.score(
        [group("YES", "no", target='{"a": 1}', metadata={"topic": "t"}), group("", target="2", metadata={"topic": "u"})]
    )
    assert [[s.value for s in v] for v in verdicts] == [[1.0, 0.0], [None]]
    assert verdicts[1][0].status == "abstained"
    assert seen["target"] == [{"a": 1}, {"a": 1}, 2]
    assert seen["topic"] == ["t", "t", "u"]
    assert seen["prompts"] == [[{"role": "user", "content": "say it"}]] * 3


def test_an_async_function_is_awaited_on_one_loop_even_within_another() -> None:
    loops = set()
    waiting = most = 0

    async def patient(completions, **columns):  # type: ignore[no-untyped-def]
        loops.add(asyncio.get_running_loop())

        async def length(completion):  # type: ignore[no-untyped-def]
            nonlocal waiting, most
            waiting += 1
            most = max(most, waiting)
            await asyncio.sleep(0)
            waiting -= 1
            return len(completion[0]["content"]) / 10

        return await asyncio.gather(*map(length, completions))

    judge: Any = function_judge(patient).create(NoConfig(), RunContext())
    expected = [(Score("patient", 0.1), Score("patient", 0.2)), (Score("patient", 0.3),)]
    groups = [group("a", "bb"), group("ccc")]
    assert judge.score(groups) == expected
    assert most == 3

    async def notebook() -> object:
        return judge.score(groups)

    assert asyncio.run(notebook()) == expected
    (loop,) = loops  # a client that the function keeps stays usable
    judge.close()
    assert loop.is_closed()
    judge.close()


def test_an_async_function_that_raises_is_named() -> None:
    async def down(completions, **columns):  # type: ignore[no-untyped-def]
        raise TimeoutError("no reply")

    judge = function_judge(down).create(NoConfig(), RunContext())
    with pytest.raises(PluginError, match="judge down: raised TimeoutError: no reply"):
        Bench({"down": judge}, {"down": 1.0}).score([group("a")])


@pytest.mark.parametrize(
    ("returned", "says"),
    [
        (0.5, "returned float, not a list with one value a completion"),
        (None, "returned NoneType, not a list"),
        ("ab", "returned str, not a list"),
        ([1.0], "returned 1 values for 2 completions"),
        ([1.0, "good"], "returned 'good', which is neither a number nor None"),
        ([1.0, 1.5], r"returned 1.5, which is outside \[0, 1\]"),
    ],
)
def test_what_a_function_returns_wrongly_is_said(returned: Any, says: str) -> None:
    spec = function_judge(lambda **columns: returned, name="f")
    with pytest.raises(PluginError, match=f"judge f: the function {says}"):
        spec.create(NoConfig(), RunContext()).score([group("a", "b")])


def test_numbers_of_other_libraries_and_nan_are_read() -> None:
    values: Any = np.array([0.25, np.nan, True])
    [scores] = (
        function_judge(lambda **columns: values, name="f").create(NoConfig(), RunContext()).score([group(*"abc")])
    )
    assert [(score.value, score.status) for score in scores] == [(0.25, "scored"), (None, "failed"), (1.0, "scored")]


class Comparing(Fixed):
    """Prefers each completion to the next."""

    def compare(self, groups: Sequence[Group]) -> list[tuple[Preference, ...]]:
        return [tuple(Preference("j", i, i + 1, 0.5) for i in range(len(g.completions) - 1)) for g in groups]


def test_a_judge_that_compares_hands_out_its_comparisons() -> None:
    scored = Bench({"j": Comparing(scores(j=0.5) * 3)}, {"j": 1.0}, ["j"]).score([group("a", "b", "c")])
    assert scored[0].preferences == (Preference("j", 0, 1, 0.5), Preference("j", 1, 2, 0.5))
    assert Bench({"j": Fixed(scores(j=0.5))}, {"j": 1.0}, ["j"]).score([group("a")])[0].preferences == ()


@pytest.mark.parametrize(
    "wrong", [[], [("no preference",)], [(Preference("j", 0, 7),)], [(Preference("other", 0, 1),)]]
)
def test_comparisons_that_break_the_contract_stop_the_round(wrong: list[object]) -> None:
    class Wrong(Fixed):
        def compare(self, groups: Sequence[Group]) -> list[object]:
            return wrong

    with pytest.raises(PluginError, match="compare"):
        Bench({"j": Wrong(scores(j=0.5) * 2)}, {"j": 1.0}, ["j"]).score([group("a", "b")])


def test_groups_with_too_few_rewards_are_not_trained_on() -> None:
    verdicts = [Score("j", 1.0), Score("j", 0.0), Score.failed("j", "down"), Score.failed("j", "down")]
    for min_scored, expected in ((0.5, (1.0, 0.0, None, None)), (0.6, (None,) * 4)):
        limits = JudgingConfig(max_failed=0.5, min_scored=min_scored)
        [scored] = Bench({"j": Fixed(verdicts)}, {"j": 1.0}, limits=limits).score([group(*"abcd")])
        assert scored.rewards == expected
    with pytest.raises(JudgeFailure, match="2 of 4 verdicts failed, the first with: down"):
        Bench({"j": Fixed(verdicts)}, {"j": 1.0}, limits=JudgingConfig(max_failed=0.49)).score([group(*"abcd")])


def test_figures_are_of_the_verdicts_and_of_what_judges_report() -> None:
    class Reporting(Fixed):
        def figures(self) -> dict[str, float]:
            return {"flip_rate": 0.25}

    verdicts = [Score("j", 1.0, cost=0.5, tokens=7), Score("j", 0.0, cost=0.25), Score.abstained("j")]
    bench = Bench({"j": Reporting(verdicts)}, {"j": 1.0})
    scored = bench.score([group(*"abc")])
    assert bench.figures() == {"judge/j/flip_rate": 0.25}
    assert verdict_figures(scored) == pytest.approx(
        {
            "judge/j/mean": 0.5,
            "judge/j/failed": 0.0,
            "judge/j/abstained": 1 / 3,
            "judge/j/cost": 0.75,
            "judge/j/tokens": 7,
        }
    )
