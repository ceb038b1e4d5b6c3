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
from harness.types import Completion, Prompt
from harness_judges.settings import ExactConfig
from harness_judges.text import exact_judge


@pytest.fixture(scope="module")
def suite() -> Suite:
    return load_suite(Path(harness_suites.__file__).parent / "general")


def answers(target: str) -> list[str]:
    return json.loads(target)["answers"]


def words(text: str) -> str:
    return " " + " ".join(re.findall(r"\w+", text.casefold())) + " "


def test_it_is_large_enough_and_a_regression_suite(suite: Suite) -> None:
    assert suite.role == "regression"
    assert len(suite.items) == 278
    assert len(suite.train) == 128
    assert suite.sampling.max_tokens == 32


def test_no_question_is_asked_twice(suite: Suite) -> None:
    rows = suite.train + suite.items
    assert len({words(row.messages[-1]["content"]) for row in rows}) == len(rows)


def test_no_question_holds_its_answer(suite: Suite) -> None:
    for item in suite.train + suite.items:
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


def test_training_rows_are_of_the_held_out_kinds_and_mixed(suite: Suite) -> None:
    held_out = Counter(item.metadata["category"] for item in suite.items)
    trained = Counter(row.metadata["category"] for row in suite.train)
    assert set(trained) == set(held_out)
    for category, size in held_out.items():
        assert abs(trained[category] - size * len(suite.train) / len(suite.items)) < 1, category
    assert len({row.metadata["category"] for row in suite.train[:16]}) >= 12


def test_references_of_training_rows_are_right_and_short(suite: Suite) -> None:
    (use,) = suite.judges
    judge = exact_judge(ExactConfig(**use.config))
    for row in suite.train:
        reference = row.reference or ""
        assert judge.for_prompt(row)(Completion(reference, ())).value == 1, row.id
        assert len(reference.split()) < 25, row.id
        assert "one word" not in row.messages[-1]["content"] or len(reference.split()) == 1, row.id


def test_no_training_row_is_close_to_a_held_out_item(suite: Suite) -> None:
    """Of the words that tell a question and its answers from others, fewer than half are those of any held-out item."""
    rows = suite.train + suite.items
    counts = Counter(word for row in rows for word in set(words(row.messages[-1]["content"]).split()))
    template = {word for word, count in counts.items() if count >= 8 and not word.isdigit()}

    def fact(row: Prompt) -> set[str]:
        text = " ".join([row.messages[-1]["content"], *answers(row.target)])
        return set(words(text).split()) - template

    for row in suite.train:
        mine = fact(row)
        assert mine, row.id
        for item in suite.items:
            theirs = fact(item)
            assert len(mine & theirs) / len(mine | theirs) < 0.5, (row.id, item.id)
