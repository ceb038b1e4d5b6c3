"""The `tool_call` judge with mode = "bfcl" says what the published checker says: on the gold answer of every row that
asks for calls, and on 47,000 answers made from them. What it says otherwise is listed here, each with its reason."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from bfcl_checker import Call, Published, as_prompt, gold, mutants, published_checker

from harness.errors import PluginError
from harness.types import Completion, Group, Sampling
from harness_judges.settings import ToolCallConfig
from harness_judges.tool_call.judge import tool_call_judge

MUTANTS = 20
"""Of each row."""

REFUSED = {
    "live_simple_106-63-0": "required parameters have an empty list of acceptable values",
    "live_simple_112-68-0": "required parameters have an empty list of acceptable values",
    "live_multiple_862-181-3": "the gold leaves out a required parameter",
    "live_multiple_964-207-0": "the gold leaves out required parameters and names one that there is not",
}
"""Disagreements on rows, whatever the answer: the published checker calls it wrong, and the judge says that the row is
at fault, because no answer can be right."""

RAISES = {
    "OverflowError": (
        65,
        "a whole number beyond the range of floats where a fraction is due: the published checker stops with the "
        "exception, and the judge calls the answer wrong",
    ),
}
"""Disagreements on answers, and on how many."""

WRONG_GOLD = {
    "parallel_multiple_12": "it gives a parameter that the function does not have",
    "parallel_multiple_26": "it gives a parameter that the function does not have",
    "live_multiple_507-149-4": "the one acceptable value of a required parameter is that it is left out",
}
"""No disagreement: the gold answer is wrong to both."""

Row = tuple[str, dict[str, Any], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def published() -> Published:
    return published_checker()


def said_by_judge(row: dict[str, Any], truth: list[dict[str, Any]], answers: Sequence[list[Call]]) -> list[bool | str]:
    completions = tuple(Completion(json.dumps(answer), ()) for answer in answers)
    try:
        (scores,) = tool_call_judge(ToolCallConfig(mode="bfcl")).score(
            [Group(as_prompt(row, truth), (), completions, "base", Sampling())]
        )
    except PluginError:
        return ["refused"] * len(answers)
    return [score.value == 1.0 for score in scores]


def said_as_published(published: Published, answer: list[Call], row: Row) -> bool | str:
    category, values, truth = row
    try:
        return published(values, answer, truth, category)
    except Exception as error:
        return type(error).__name__


def test_gold_answers_of_every_row(published: Published, bfcl_rows: list[Row]) -> None:
    verdicts = {
        row[1]["id"]: (
            said_as_published(published, gold(row[2]), row),
            *said_by_judge(row[1], row[2], [gold(row[2])]),
        )
        for row in bfcl_rows
    }
    assert len(verdicts) == 2351
    others = {row_id: pair for row_id, pair in verdicts.items() if pair != (True, True)}
    assert others == dict.fromkeys(REFUSED, (False, "refused")) | dict.fromkeys(WRONG_GOLD, (False, False))


def test_answers_made_from_gold(published: Published, bfcl_rows: list[Row]) -> None:
    agreed: Counter[bool | str] = Counter()
    disagreements: Counter[tuple[str, bool | str, bool | str]] = Counter()
    for row in bfcl_rows:
        _, values, truth = row
        answers = list(mutants(values["id"], truth, MUTANTS))
        for answer, judged in zip(answers, said_by_judge(values, truth, answers), strict=True):
            if (as_published := said_as_published(published, answer, row)) == judged:
                agreed[judged] += 1
            else:
                # By row where the row is at fault, else together.
                disagreements[values["id"] if judged == "refused" else "", as_published, judged] += 1
    assert min(agreed[True], agreed[False]) > 10_000
    refused = {(row_id, False, "refused"): MUTANTS for row_id in REFUSED}
    raised = {("", error, False): count for error, (count, _) in RAISES.items()}
    assert disagreements == refused | raised
