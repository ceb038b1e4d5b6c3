"""The `grounded` judge: every kind of mistake by a case made by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest
from judge_cases import Verdicts

from harness.errors import PluginError
from harness.types import Prompt

SENTENCES = ["Ada Byron was born in London.", "She wrote of the Analytical Engine.", "She died in 1852 in London."]


def about(answers: list[str], support: list[int], sentences: list[str] | None = None) -> Prompt:
    target = {"answers": answers, "sentences": SENTENCES if sentences is None else sentences, "support": support}
    return Prompt("row-5", (), target=json.dumps(target))


ENGINE = about(["the Analytical Engine", "Analytical Engine"], [2])
SILENT = about([], [])


@pytest.mark.parametrize(
    ("text", "label", "partial"),
    [
        ("Analytical Engine [2]", "ok", 1.0),
        ("the analytical engine. [2]", "ok", 1.0),
        ("[2] It was the “Analytical Engine”.", "ok", 1.0),
        ("Analytical Engine [1, 2]", "ok", 1.0),
        ("Analytical Engine [1] [2][2]", "ok", 1.0),
        ("Analytical Engine", "no_citation", 0.5),
        ("Analytical Engine (2)", "no_citation", 0.5),
        ("Analytical Engine [1]", "unsupported_citation", 0.5),
        ("Analytical Engine [2, 4]", "unsupported_citation", 0.5),
        ("Analytical Engine [0]", "unsupported_citation", 0.5),
        ("Analytical Engine [1][2][3]", "too_many_citations", 0.5),
        # All of the passage: sixteen words, of which two are the answer.
        (" ".join(SENTENCES) + " [2]", "too_long", 0.2),
        ("London [2]", "wrong_answer", 0.1),
        ("Analytical [2]", "wrong_answer", 0.1),
        ("the Difference Engine [2]", "not_in_passage", 0.0),
        ("Not in the passage.", "missed", 0.0),
        ("Not in the passage, or the Analytical Engine [2]", "missed", 0.0),
        ("", "no_answer", 0.0),
        ("[2]", "no_answer", 0.0),
        ("... [2]", "no_answer", 0.0),
    ],
)
def test_where_the_passage_says_so(verdicts: Verdicts, text: str, label: str, partial: float) -> None:
    (exact,) = verdicts("grounded", ENGINE, text)
    (graded,) = verdicts("grounded", ENGINE, text, credit="partial")
    assert (exact.label, exact.value) == (label, float(label == "ok")), exact.explanation
    assert (graded.label, graded.value) == (label, partial)
    assert bool(exact.explanation) == (label != "ok")


@pytest.mark.parametrize(
    ("text", "label", "partial"),
    [
        ("Not in the passage.", "ok", 1.0),
        ("not in passage", "ok", 1.0),
        ("That is not in the passage.", "ok", 1.0),
        ("Not in the passage. [2]", "unsupported_citation", 0.5),
        ("Not in the passage, as far as I can see from all that it says.", "too_long", 0.2),
        ("London [1]", "hallucinated", 0.0),
        ("Paris", "hallucinated", 0.0),
        ("", "no_answer", 0.0),
    ],
)
def test_where_the_passage_does_not_say(verdicts: Verdicts, text: str, label: str, partial: float) -> None:
    (exact,) = verdicts("grounded", SILENT, text)
    (graded,) = verdicts("grounded", SILENT, text, credit="partial")
    assert (exact.label, exact.value, graded.value) == (label, float(label == "ok"), partial), exact.explanation


def test_an_answer_in_two_sentences_may_cite_either(verdicts: Verdicts) -> None:
    scores = verdicts("grounded", about(["London"], [1, 3]), "London [1]", "London [3]", "London [1, 3]", "London [2]")
    assert [score.value for score in scores] == [1.0, 1.0, 1.0, 0.0]


def test_the_limits_are_settings(verdicts: Verdicts) -> None:
    long, many = "It was the Analytical Engine [2]", "Analytical Engine [1, 2, 3]"
    assert [score.label for score in verdicts("grounded", ENGINE, long, many, max_citations=3)] == ["ok", "ok"]
    assert [score.label for score in verdicts("grounded", ENGINE, long, extra_words=1)] == ["too_long"]


def test_a_prompt_without_a_target_is_abstained_from(verdicts: Verdicts) -> None:
    assert verdicts("grounded", Prompt("p", ()), "London [1]")[0].status == "abstained"


@pytest.mark.parametrize(
    "prompt",
    [
        about(["London"], []),
        about([], [1]),
        about(["London"], [4]),
        about(["London"], [0]),
        about([" "], [1]),
        about([], [], sentences=[]),
        Prompt("row-5", (), target='{"answers": ["London"], "sentences": ["a"], "support": "1"}'),
        Prompt("row-5", (), target='{"answers": "London"}'),
        Prompt("row-5", (), target="{"),
    ],
)
def test_a_broken_item_is_an_error_that_names_it(verdicts: Verdicts, prompt: Prompt) -> None:
    with pytest.raises(PluginError, match="prompt row-5, judge grounded"):
        verdicts("grounded", prompt, "London [1]")


def test_numbers_of_any_length_are_read(verdicts: Verdicts) -> None:
    text: Any = "Analytical Engine [" + "9" * 10_000 + "]"
    (score,) = verdicts("grounded", ENGINE, text)
    assert score.value == 0.0
