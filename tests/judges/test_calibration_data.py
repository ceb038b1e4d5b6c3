"""The pairs that judges are checked with: nothing but the content tells better from worse."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import harness_judges

DATA = Path(harness_judges.__file__).parent / "data"
KINDS = ("grounded", "correct", "helpful", "format")


def read(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def pairs() -> list[dict[str, Any]]:
    return read("pairs.jsonl")


def test_there_are_twenty_pairs_of_each_kind(pairs: list[dict[str, Any]]) -> None:
    assert Counter(pair["kind"] for pair in pairs) == dict.fromkeys(KINDS, 20)
    assert len({pair["id"] for pair in pairs}) == len({pair["prompt"] for pair in pairs}) == len(pairs)
    fields = {"id", "kind", "prompt", "better", "worse", "why"}
    for pair in pairs:
        assert set(pair) == fields | ({"context"} if pair["kind"] == "grounded" else set()), pair["id"]
        assert all(value.strip() for value in pair.values()), pair["id"]
        assert 50 <= len(pair.get("context", "word " * 50).split()) <= 100, pair["id"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [len, lambda text: len(text.split())], ids=["characters", "words"])
def test_a_judge_that_goes_by_length_is_right_half_of_the_time(
    pairs: list[dict[str, Any]], kind: str, length: Callable[[str], int]
) -> None:
    differences = [length(pair["better"]) - length(pair["worse"]) for pair in pairs if pair["kind"] == kind]
    assert Counter(difference > 0 for difference in differences) == {True: 10, False: 10}
    assert 0 not in differences


def test_answers_that_are_right_or_wrong_are_of_about_one_length(pairs: list[dict[str, Any]]) -> None:
    for pair in pairs:
        if pair["kind"] == "correct":
            assert abs(len(pair["better"].split()) - len(pair["worse"].split())) <= 6, pair["id"]


def test_counting_the_words_of_the_passage_does_not_settle_the_grounded_pairs(pairs: list[dict[str, Any]]) -> None:
    """The made-up answers use the passage's words as well."""

    def words(text: str) -> set[str]:
        return set(re.findall(r"\w+", text.casefold()))

    grounded = [pair for pair in pairs if pair["kind"] == "grounded"]
    shared = [
        [len(words(pair["context"]) & words(pair[side])) / len(words(pair[side])) for side in ("better", "worse")]
        for pair in grounded
    ]
    assert 6 <= sum(better > worse for better, worse in shared) <= 14
