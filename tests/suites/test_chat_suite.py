"""The chat suite: what is held out is not trained on, and the references do what the requests ask."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

import harness_suites
from harness.config import DEFAULTS, LoopConfig, merge
from harness.protocols import Suite
from harness.suites import load_suite
from harness.types import Prompt
from harness_plugins.updaters.configs import PreferenceConfig

CATEGORIES = {
    "explain",
    "how-to",
    "rewrite",
    "summarize",
    "brainstorm",
    "advice",
    "email",
    "compare",
    "creative",
    "plan",
}


@pytest.fixture(scope="module")
def suite() -> Suite:
    return load_suite(Path(harness_suites.__file__).parent / "chat")


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def shingles(text: str, n: int = 5) -> set[tuple[str, ...]]:
    """The n-grams of words; all the words, where there are fewer than n."""
    found = words(text)
    return {tuple(found[i : i + n]) for i in range(max(1, len(found) - n + 1))}


def closest(texts: list[tuple[str, str]]) -> tuple[float, str, str]:
    """The two of (id, text) that share most 5-grams, and their Jaccard index."""
    sets = [(key, shingles(text)) for key, text in texts]
    return max(
        (len(a & b) / len(a | b), first, second) for i, (first, a) in enumerate(sets) for second, b in sets[i + 1 :]
    )


def count(reference: str, unit: str) -> int:
    match unit.rstrip("s"):
        case "word":
            return len(reference.split())
        case "item":
            return len(re.findall(r"^\d+\. ", reference, flags=re.MULTILINE))
        case "sentence":
            return len(re.findall(r"[.!?]\"?(?=\s|$)", reference))
    raise AssertionError(unit)


def request(prompt: Prompt) -> str:
    (message,) = prompt.messages
    return str(message["content"])


def passage(prompt: Prompt) -> str:
    """What follows the instruction of a request that brings its own text."""
    return request(prompt).partition("\n\n")[2]


def test_it_is_a_target_with_enough_of_every_category(suite: Suite) -> None:
    assert suite.role == "target"
    assert suite.sampling.temperature == 0
    assert Counter(item.metadata["category"] for item in suite.items) == dict.fromkeys(CATEGORIES, 10)
    assert Counter(row.metadata["category"] for row in suite.train) == dict.fromkeys(CATEGORIES, 12)


def test_any_first_items_and_rows_are_a_cross_section(suite: Suite) -> None:
    for rows in (suite.items, suite.train):
        for start in range(0, len(rows), len(CATEGORIES)):
            assert {row.metadata["category"] for row in rows[start : start + len(CATEGORIES)]} == CATEGORIES


def test_no_id_and_no_topic_comes_twice(suite: Suite) -> None:
    rows = suite.train + suite.items
    assert len({row.id for row in rows}) == len(rows) == 220
    assert len({row.cluster for row in rows}) == len(rows)


def test_no_two_requests_and_no_two_references_are_alike(suite: Suite) -> None:
    rows = suite.train + suite.items
    assert closest([(row.id, request(row)) for row in rows]) < (0.3,)
    assert closest([(row.id, row.reference or "") for row in rows]) < (0.1,)


def test_references_fit_in_an_answer(suite: Suite) -> None:
    for row in suite.train + suite.items:
        reference = row.reference or ""
        assert 30 <= len(reference.split()) <= 120, row.id
        assert len(reference) < 4 * suite.sampling.max_tokens, row.id
        assert reference == reference.strip(), row.id


def test_every_text_to_work_on_is_there_and_the_answer_is_not_a_copy(suite: Suite) -> None:
    for row in suite.train + suite.items:
        category, length = row.metadata["category"], len(passage(row).split())
        assert bool(length) == (category in ("summarize", "rewrite")), row.id
        if category == "summarize":
            assert 60 <= length <= 150, row.id
            assert len((row.reference or "").split()) < 0.75 * length, row.id
        if length:
            shared = shingles(row.reference or "") & shingles(passage(row))
            assert len(shared) / len(shingles(row.reference or "")) < 0.5, row.id


def test_a_tenth_of_the_requests_set_a_limit_and_their_references_keep_it(suite: Suite) -> None:
    for rows in (suite.items, suite.train):
        limited = [row for row in rows if "constraint" in row.metadata]
        assert 0.09 <= len(limited) / len(rows) <= 0.12
        for row in limited:
            number, unit = row.metadata["constraint"].split()
            found = count(row.reference or "", unit)
            assert found <= int(number) if unit == "words" else found == int(number), row.id


def test_the_recipe_is_a_loop_that_asks_nothing_twice(suite: Suite) -> None:
    config = LoopConfig.model_validate(merge(DEFAULTS, suite.recipe, {"suite": suite.name}))
    (stage,) = config.stages
    assert (stage.generator, stage.updater) == ("policy", "preference")
    assert stage.prompts * stage.rounds <= len(suite.train)
    assert PreferenceConfig(**stage.config).objective == "dpo"
