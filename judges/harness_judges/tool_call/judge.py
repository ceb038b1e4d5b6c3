"""The `tool_call` judge: an answer's calls against those that were due, all or nothing or with partial credit."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache

from harness.tools import ToolCall, parse_calls
from harness.types import Completion, FinishReason, Prompt, Score
from harness_judges.items import item_error
from harness_judges.pointwise import PointwiseJudge, ScoreCompletion
from harness_judges.settings import ToolCallConfig
from harness_judges.tool_call.bfcl import bfcl_check
from harness_judges.tool_call.compare import (
    RIGHT,
    CheckArgument,
    Comparison,
    compare_best,
    compare_first_fit,
    compare_in_order,
)
from harness_judges.tool_call.strict import StrictCheck
from harness_judges.tool_call.target import ItemError, Target, read_target
from harness_judges.wording import sentence

NAME = "tool_call"

# What an answer earns with credit = "partial"; an exact answer earns 1.
MISSED = 0.05
"""A readable [] where calls are due: above broken syntax, below any call."""
PARSED = 0.10
"""Calls that can be read."""
CALLS = 0.60
"""Times the mean credit of the calls."""


def tool_call_judge(config: ToolCallConfig) -> PointwiseJudge:
    """A judge of `harness.tools` answers. Labels: ok, parse_error, wrong_tool, missing_arg, extra_arg, type_error,
    value_error, wrong_count, false_call (a call where none is due), missed_call (none where one is due).

    With credit "exact" the value is 1 for ok and 0 otherwise. With "partial" it is

        0                                  unreadable, or a call where none is due
        MISSED                             no call where one is due
        PARSED + CALLS * sum(c) / max(made, due)
                                           with c in [0, 1] each pair's credit (see `compare_call`)
        1                                  exact

    so that mending an argument or adding a call that was due never lowers it, a call or an argument too many always
    costs, and the step of 0.3 or more to an exact answer keeps nearly right from being good enough.

    A prompt without a target is abstained from. Raises PluginError, naming the prompt, for a target that cannot be
    read or that no answer can satisfy.
    """
    check = bfcl_check if config.mode == "bfcl" else StrictCheck(config.tolerance, config.exact_strings)
    return PointwiseJudge(_Grader(config, check).for_prompt)


# Reading an item costs as much as judging several answers to it, and the same items come up in every round.
_read_target = lru_cache(maxsize=4096)(read_target)


class _Grader:
    def __init__(self, config: ToolCallConfig, check: CheckArgument) -> None:
        self.check = check
        self.partial = config.credit == "partial"
        # Credit always comes from the best pairing: only that one can never fall when an answer gets better.
        self.compare = compare_first_fit if config.mode == "bfcl" else compare_best

    def for_prompt(self, prompt: Prompt) -> ScoreCompletion:
        if not prompt.target:
            return lambda completion: Score.abstained(NAME, "the prompt has no target")
        try:
            target = _read_target(prompt.target, prompt.tools)
        except ItemError as error:
            raise item_error(prompt, NAME, str(error)) from error

        @cache  # a sharpened policy gives the same answer many times in a group
        def score_text(text: str, finish_reason: FinishReason) -> Score:
            try:
                return self._score(text, finish_reason, target)
            except ItemError as error:
                raise item_error(prompt, NAME, str(error)) from error

        def score(completion: Completion) -> Score:
            return score_text(completion.text, completion.finish_reason)

        return score

    def _score(self, text: str, finish_reason: FinishReason, target: Target) -> Score:
        try:
            calls = parse_calls(text)
        except ValueError as error:
            cut = "cut off at the token limit: " if finish_reason == "length" else ""
            return Score(NAME, 0.0, label="parse_error", explanation=sentence(f"{cut}{error}"))
        value, verdict = self._grade(calls, target)
        return Score(NAME, value, label=verdict.label, explanation=sentence(verdict.explanation))

    def _grade(self, calls: Sequence[ToolCall], target: Target) -> tuple[float, Comparison]:
        made, due = len(calls), len(target.calls)
        if not due:
            return (0.0, _problem("false_call", f"{_calls(made)} made where none is due")) if made else (1.0, RIGHT)
        if not made:
            value = MISSED if self.partial else 0.0
            return value, _problem("missed_call", f"no call is made where {_calls(due)} due")
        verdict = self._verdict(calls, target)
        if verdict.right:
            return 1.0, RIGHT
        if not self.partial:
            return 0.0, verdict
        pairs = (compare_in_order if target.ordered else compare_best)(calls, target.calls, self.check)
        return PARSED + CALLS * sum(pair.credit for pair in pairs) / max(made, due), verdict

    def _verdict(self, calls: Sequence[ToolCall], target: Target) -> Comparison:
        """RIGHT, or the first thing that is wrong."""
        made, due = len(calls), len(target.calls)
        if made != due:
            return _problem("wrong_count", f"{_calls(made)} made where {_calls(due)} due")
        compare = compare_in_order if target.ordered else self.compare
        return next((pair for pair in compare(calls, target.calls, self.check) if not pair.right), RIGHT)


def _problem(label: str, explanation: str) -> Comparison:
    return Comparison(0.0, label, explanation)


def _calls(number: int) -> str:
    return "1 call is" if number == 1 else f"{number} calls are"
