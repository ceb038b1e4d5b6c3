"""Partial credit: graded, never falling when an answer gets better, and not to be had by padding."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judge_cases import Verdicts, answer, tool_prompt
from pydantic import ValidationError

from harness.tools import ToolCall
from harness.types import Completion, Group, Sampling
from harness_judges.settings import ToolCallConfig
from harness_judges.tool_call.compare import compare_best, compare_call
from harness_judges.tool_call.judge import tool_call_judge
from harness_judges.tool_call.strict import StrictCheck
from harness_judges.tool_call.target import read_target

NAMES = ("f", "g")
TOOLS = [
    {"name": name, "parameters": {"type": "object", "properties": {p: {"type": "integer"} for p in "abco"}}}
    for name in NAMES
]
# Two calls of one tool and one of another; `o` is optional and, if given, must be 9.
DUE = [
    ("f", {"a": [1], "b": [2], "o": [9, ""]}),
    ("f", {"a": [1, 3], "b": [4]}),
    ("g", {"a": [5], "b": [6], "c": [7]}),
]
PROMPT = tool_prompt(TOOLS, DUE)
GOLD = [("f", {"a": 1, "b": 2}), ("f", {"a": 3, "b": 4}), ("g", {"a": 5, "b": 6, "c": 7})]

arguments = st.dictionaries(st.sampled_from("abcoxy"), st.integers(0, 9), max_size=5)
made_calls = st.lists(st.tuples(st.sampled_from(("f", "g", "h")), arguments), max_size=5)


def credit(calls: list[tuple[str, Any]], prompt=PROMPT, **config: Any) -> float:
    group = Group(prompt, (1,), (Completion(answer(*calls), (1,)),), "base", Sampling())
    ((score,),) = tool_call_judge(ToolCallConfig(credit="partial", **config)).score([group])
    assert score.value is not None
    return score.value


def test_the_documented_figures(verdicts: Verdicts) -> None:
    """Worked by hand from the docstring: 0.1 + 0.6 * mean of (1 + right) / (1 + due + wrong)."""
    cases = {
        "prose": 0.0,
        "[]": 0.05,
        answer(("h", {})): 0.1,
        answer(GOLD[0]): 0.1 + 0.6 * 1 / 3,
        answer(*GOLD[:2]): 0.1 + 0.6 * 2 / 3,
        answer(*GOLD): 1.0,
        answer(*GOLD[:2], ("g", {"a": 5, "b": 6, "c": 0})): 0.1 + 0.6 * (2 + 3 / 4) / 3,
        answer(*GOLD[:2], ("g", {"a": 5, "b": 6, "c": 7, "x": 1})): 0.1 + 0.6 * (2 + 4 / 5) / 3,
        answer(*GOLD, GOLD[0]): 0.1 + 0.6 * 3 / 4,
        answer(GOLD[0], GOLD[0], GOLD[0]): 0.1 + 0.6 * (1 + 1 / 3 + 0 + 1 / 3) / 3,
    }
    scores = verdicts("tool_call", PROMPT, *cases, credit="partial")
    for score, (text, expected) in zip(scores, cases.items(), strict=True):
        assert abs(score.value - expected) < 1e-12, (text, score)


def test_calls_in_the_wrong_order_are_credited_for_what_stands_in_its_place() -> None:
    ordered = tool_prompt(TOOLS, DUE, ordered=True)
    assert credit(GOLD, ordered) == 1.0
    assert abs(credit([GOLD[0], GOLD[2], GOLD[1]], ordered) - (0.1 + 0.6 * 1 / 3)) < 1e-12
    assert credit([GOLD[0], GOLD[2], GOLD[1]]) == 1.0


def test_where_no_call_is_due_a_call_earns_nothing(verdicts: Verdicts) -> None:
    prompt = tool_prompt(TOOLS, [])
    scores = verdicts("tool_call", prompt, "[]", answer(GOLD[0]), "no", credit="partial")
    assert [score.value for score in scores] == [1.0, 0.0, 0.0]


@given(made_calls, st.sampled_from(("strict", "bfcl")))
def test_full_credit_is_for_exact_answers_only(calls: list, mode: str) -> None:
    group = Group(PROMPT, (1,), (Completion(answer(*calls), (1,)),), "base", Sampling())
    ((exact,),) = tool_call_judge(ToolCallConfig(mode=mode)).score([group])
    value = credit(calls, mode=mode)
    assert (value == 1.0) == (exact.value == 1.0)
    assert value == 1.0 or value <= 0.7


@settings(max_examples=300)
@given(made_calls, st.data())
def test_mending_one_argument_never_lowers_it(calls: list, data: st.DataObject) -> None:
    """Whatever the calls are: bring an argument of one of them to what the call that it is credited as should have."""
    gold = data.draw(st.permutations(GOLD))
    before = credit(calls)
    for (name, given_arguments), (gold_name, gold_arguments) in zip(calls, gold, strict=False):
        if name != gold_name:
            continue
        # Only in the pairing that was credited is a change towards the gold call sure to be an improvement.
        if not _paired(calls, name, given_arguments, gold_name, gold_arguments):
            continue
        parameter = data.draw(st.sampled_from(sorted(set(gold_arguments) | set(given_arguments))))
        mended = dict(given_arguments)
        if parameter in gold_arguments:
            mended[parameter] = gold_arguments[parameter]
        elif parameter != "o":
            del mended[parameter]
        changed = [(n, mended if a is given_arguments else a) for n, a in calls]
        assert credit(changed) >= before - 1e-12


def _paired(calls: list, name: str, given_arguments: dict, gold_name: str, gold_arguments: dict) -> bool:
    target, check = read_target(PROMPT.target, PROMPT.tools), StrictCheck()
    due = target.calls[GOLD.index((gold_name, gold_arguments))]
    others = [expected for expected in target.calls if expected is not due]
    rest = [ToolCall(n, a) for n, a in calls if a is not given_arguments]
    total = _brute(rest, others, check) + compare_call(ToolCall(name, given_arguments), due, check).credit
    return abs(total - _brute([ToolCall(n, a) for n, a in calls], target.calls, check)) < 1e-12


def _brute(calls: list[ToolCall], due: Any, check: StrictCheck) -> float:
    """The most credit over all pairings, by trying them all."""
    table = [[compare_call(call, expected, check).credit for call in calls] for expected in due]
    size = max(len(calls), len(table))
    padded = [row + [0.0] * (size - len(row)) for row in table] + [[0.0] * size] * (size - len(table))
    return max(
        (sum(padded[i][p] for i, p in enumerate(order)) for order in itertools.permutations(range(size))), default=0
    )


@given(made_calls)
def test_the_pairing_is_the_best_of_all(calls: list) -> None:
    due, check = read_target(PROMPT.target, PROMPT.tools).calls, StrictCheck()
    made = [ToolCall(name, given_arguments) for name, given_arguments in calls]
    if made:
        best = sum(pair.credit for pair in compare_best(made, due, check))
        assert abs(best - _brute(made, due, check)) < 1e-12


@given(made_calls, arguments)
def test_what_is_too_much_always_costs(calls: list, some: dict) -> None:
    before = credit(calls)
    if before <= 0.1:  # no call of a due tool among them: nothing to lose
        return
    assert credit([(name, given_arguments | {"z": 1}) for name, given_arguments in calls]) < before
    if len(calls) >= len(DUE):
        assert credit([*calls, ("h", some)]) < before


@given(st.permutations(GOLD), st.sampled_from(GOLD))
def test_a_call_made_twice_to_be_sure_costs(calls: list, again: tuple) -> None:
    assert credit([*calls, again]) <= 0.55 + 1e-12


@given(made_calls.filter(bool), st.integers(0, 9), st.integers(0, 9))
def test_trying_beats_abstaining_and_optional_arguments_are_no_padding(calls: list, a: int, b: int) -> None:
    assert credit(calls) > credit([])
    one = tool_prompt(TOOLS, DUE[:1])
    bare, padded, wrong = (credit([("f", {"a": a, "b": b} | more)], one) for more in ({}, {"o": 9}, {"o": 8}))
    assert padded == bare
    assert wrong < bare


def test_settings_of_the_strict_mode_are_refused_where_nothing_reads_them() -> None:
    with pytest.raises(ValidationError, match="does not read exact_strings, tolerance"):
        ToolCallConfig(mode="bfcl", tolerance=0.1, exact_strings=True)
