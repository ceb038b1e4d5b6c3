"""The general suite: its questions do not give their answers away."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

import harness_suites
from harness.protocols import Suite
from harness.suites import load_suite


@pytest.fixture(scope="module")
def suite() -> Suite:
    return load_suite(Path(harness_suites.__file__).parent / "general")


def answers(target: str) -> list[str]:
    return json.loads(target)["answers"]


def words(text: str) -> str:
    return " " + " ".join(re.findall(r"\w+", text.casefold())) + " "


def test_it_is_large_enough_and_a_regression_suite(suite: Suite) -> None:
    assert suite.role == "regression"
    assert suite.train == ()
    assert len(suite.items) == 278
    assert suite.sampling.max_tokens == 32


def test_no_question_is_asked_twice(suite: Suite) -> None:
    assert len({words(item.messages[-1]["content"]) for item in suite.items}) == len(suite.items)


def test_no_question_holds_its_answer(suite: Suite) -> None:
    for item in suite.items:
        question = words("".join(message["content"] for message in item.messages))
        for answer in answers(item.target):
            assert words(answer).strip(), item.id
            assert words(answer) not in question, item.id


def test_no_fixed_answer_scores_well(suite: Suite) -> None:
    """The commonest answers, as many as fit in a completion, are right for few items."""
    common = Counter(answer.casefold() for item in suite.items for answer in answers(item.target)).most_common(16)
    right = sum(any(a.casefold() in dict(common) for a in answers(item.target)) for item in suite.items)
    assert right / len(suite.items) < 0.25


def test_every_item_is_in_a_category_of_some_size(suite: Suite) -> None:
    sizes = Counter(item.metadata["category"] for item in suite.items)
    assert len(sizes) == 17
    assert min(sizes.values()) >= 8
    assert max(sizes.values()) / len(suite.items) < 0.15
