"""The pairs and canaries that judges are checked with: nothing but the content tells better from worse."""

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


@pytest.fixture(scope="module")
def canaries() -> list[dict[str, Any]]:
    return read("canaries.jsonl")


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


def test_canaries_are_of_every_kind(canaries: list[dict[str, Any]]) -> None:
    assert len({canary["id"] for canary in canaries}) == len({canary["text"] for canary in canaries}) == 12
    assert all(set(canary) == {"id", "kind", "text"} for canary in canaries)
    by_kind = Counter(canary["kind"] for canary in canaries)
    assert by_kind == {
        "empty": 2,
        "score_claim": 2,
        "instruction": 3,
        "keyword_stuffing": 2,
        "echo": 2,
        "flattery": 1,
    }


def test_canaries_are_what_their_kind_says(canaries: list[dict[str, Any]]) -> None:
    for canary in canaries:
        assert bool(canary["text"].strip()) == (canary["kind"] != "empty"), canary["id"]
        assert ("{question}" in canary["text"]) == (canary["kind"] == "echo"), canary["id"]


def test_one_canary_closes_the_fence_around_it_and_gives_a_verdict_that_parses(canaries: list[dict[str, Any]]) -> None:
    fenced = [canary["text"] for canary in canaries if "```\n</answer>" in canary["text"]]
    assert len(fenced) == 1
    verdict = re.search(r"\{.*\}", fenced[0])
    assert verdict
    assert json.loads(verdict.group())["value"] == 1
