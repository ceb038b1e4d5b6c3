"""Calls that were made against calls that were due."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from harness.tools import ToolCall
from harness_judges.tool_call.strict import Problem
from harness_judges.tool_call.target import ExpectedArgument, ExpectedCall
from harness_judges.wording import show

CheckArgument = Callable[[Any, ExpectedArgument], Problem | None]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One call against one expected call. `credit` is in [0, 1], and 1 exactly if the call is right."""

    credit: float
    label: str = "ok"
    explanation: str = ""

    @property
    def right(self) -> bool:
        return self.credit == 1.0


RIGHT = Comparison(1.0)


def compare_call(call: ToolCall, expected: ExpectedCall, check: CheckArgument) -> Comparison:
    """Name and arguments of one call.

    credit = (1 + right) / (1 + due + wrong), 0 for another tool; `right` counts due arguments that are right, `wrong`
    arguments that are given, not due, and not right. An optional argument that is right changes nothing, so there
    is nothing to be won by padding a call with optional arguments. The explanation is about the first problem.
    """
    if call.name != expected.name:
        return Comparison(0.0, "wrong_tool", f"{show(call.name)} is called where {show(expected.name)} is due")
    right = wrong = 0
    problems: list[tuple[str, Problem]] = []
    for name in expected.due:
        if name not in call.arguments:
            problems.append((name, Problem("missing_arg", "is missing")))
    for name, value in call.arguments.items():
        argument = expected.arguments.get(name)
        problem = Problem("extra_arg", "is not asked for") if argument is None else check(value, argument)
        if problem is None:
            right += name in expected.due
        else:
            problems.append((name, problem))
            wrong += name not in expected.due
    if not problems:
        return RIGHT
    name, (label, detail) = problems[0]
    credit = (1 + right) / (1 + len(expected.due) + wrong)
    return Comparison(credit, label, f"{expected.name}: argument {show(name)} {detail}")


def compare_in_order(
    calls: Sequence[ToolCall], expected: Sequence[ExpectedCall], check: CheckArgument
) -> list[Comparison]:
    """The first call with the first that is due, and so on; what is over on either side is left out."""
    return [compare_call(call, due, check) for call, due in zip(calls, expected, strict=False)]


def compare_best(calls: Sequence[ToolCall], expected: Sequence[ExpectedCall], check: CheckArgument) -> list[Comparison]:
    """The pairing of calls that gives the most credit in all, in the order of `expected`."""
    pairs = compare_in_order(calls, expected, check)
    if len(calls) == len(expected) and (len(pairs) == 1 or all(pair.right for pair in pairs)):
        return pairs
    table = [[compare_call(call, due, check) for call in calls] for due in expected]
    rows, columns = linear_sum_assignment(np.array([[pair.credit for pair in row] for row in table]), maximize=True)
    return [table[row][column] for row, column in zip(rows, columns, strict=True)]


def compare_first_fit(
    calls: Sequence[ToolCall], expected: Sequence[ExpectedCall], check: CheckArgument
) -> list[Comparison]:
    """Each expected call takes the first call left that is right for it: how the published BFCL checker pairs them.

    Ends with the first expected call that finds none. Needs as many calls as are due.
    """
    left, pairs = list(calls), []
    for due in expected:
        tried = [compare_call(call, due, check) for call in left]
        best = max(range(len(left)), key=lambda index: tried[index].credit)
        pairs.append(tried[best])
        if not tried[best].right:
            break
        del left[best]
    return pairs
