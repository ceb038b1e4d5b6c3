"""The `exact` and `regex` judges."""

from __future__ import annotations

import json
import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judge_cases import Verdicts
from transformers.data.metrics.squad_metrics import normalize_answer as squad

from harness.errors import ConfigError, PluginError
from harness.types import Prompt
from harness_judges.text import normalize_answer


def expecting(*answers: str, refused: tuple[str, ...] = ()) -> Prompt:
    target = ({"answers": answers} if answers else {}) | ({"not_answers": refused} if refused else {})
    return Prompt("row-5", (), target=json.dumps(target))


# ---------------------------------------------------------------- exact


@pytest.mark.parametrize(
    ("match", "answer", "text", "right"),
    [
        ("whole", "Paris", " paris. ", True),
        ("whole", "Paris", "It is Paris.", False),
        ("whole", "The Beatles", "beatles", True),
        ("whole", "3.14", "314", False),
        ("whole", "-5", "5", False),
        ("whole", "-5", '"-5".', True),
        ("whole", "1000", "1,000", True),
        ("whole", "$1000", "1,000.", True),
        ("whole", "A", "(a)", True),
        ("whole", "A", "B", False),
        ("whole", "+", "-", False),
        ("contains", "Paris", "It is Paris, of course.", True),
        ("contains", "art", "It starts here.", False),
        ("contains", "New York", "In new\nyork!", True),
        ("contains", "5", "-5", False),
        ("contains", "", "anything", False),
        ("first_line", "Paris", "\nParis\nIt is the capital.", True),
        ("first_line", "Paris", "The capital:\nParis", False),
        ("first_line", "Paris", "", False),
    ],
)
def test_normalized(verdicts: Verdicts, match: str, answer: str, text: str, right: bool) -> None:
    (score,) = verdicts("exact", expecting(answer), text, match=match)
    assert (score.value, score.label) == ((1.0, "ok") if right else (0.0, "value_error"))


@pytest.mark.parametrize(
    ("match", "text", "right"),
    [
        ("whole", "U.S.", True),
        ("whole", "u.s.", False),
        ("whole", "U.S. ", False),
        ("contains", "(U.S.)", True),
        ("contains", "U.S.A", False),
        ("first_line", "U.S.\nand more", True),
    ],
)
def test_letter_by_letter(verdicts: Verdicts, match: str, text: str, right: bool) -> None:
    (score,) = verdicts("exact", expecting("U.S."), text, match=match, normalize=False)
    assert score.value == float(right)


def test_an_empty_answer_is_not_contained_in_everything(verdicts: Verdicts) -> None:
    scores = verdicts("exact", Prompt("p", (), reference=""), "a, b", "", match="contains", normalize=False)
    assert [score.value for score in scores] == [0.0, 1.0]


def test_any_acceptable_answer_will_do_and_the_reference_is_the_last_resort(verdicts: Verdicts) -> None:
    scores = verdicts("exact", expecting("UK", "United Kingdom"), "the united kingdom", "uk", "England")
    assert [score.value for score in scores] == [1.0, 1.0, 0.0]
    assert "'England'" in scores[2].explanation
    assert "'UK'" in scores[2].explanation
    assert verdicts("exact", Prompt("p", (), reference="Rome"), "rome")[0].value == 1.0
    other = Prompt("p", (), target='{"calls": []}', reference="Rome")
    assert verdicts("exact", other, "rome")[0].value == 1.0
    assert verdicts("exact", Prompt("p", ()), "rome")[0].status == "abstained"


def test_an_answer_that_must_not_appear(verdicts: Verdicts) -> None:
    prompt = expecting("Paris", refused=("Lyon",))
    scores = verdicts("exact", prompt, "It is Paris.", "Paris, not Lyon.", "Nice.", match="contains")
    assert [(score.value, score.label) for score in scores] == [
        (1.0, "ok"),
        (0.0, "forbidden_answer"),
        (0.0, "value_error"),
    ]
    scores = verdicts("exact", expecting(refused=("Lyon",)), "Paris.", "Lyon.", match="contains")
    assert [score.value for score in scores] == [1.0, 0.0]


@pytest.mark.parametrize("target", ["{", "[]", '{"answers": "Paris"}', '{"answers": [3]}', '{"not_answers": {}}'])
def test_a_broken_item_is_an_error_that_names_it(verdicts: Verdicts, target: str) -> None:
    with pytest.raises(PluginError, match="prompt row-5, judge exact"):
        verdicts("exact", Prompt("row-5", (), target=target), "x")


words = st.lists(st.text(string.ascii_letters + string.digits, min_size=1), min_size=1)
edges = st.text("!?;:()[]\"'", max_size=2)


@given(words, edges, edges)
def test_plain_words_are_normalized_as_in_squad(parts: list[str], before: str, after: str) -> None:
    text = "  ".join(f"{before}{word}{after}" for word in parts)
    if squad(text):
        assert normalize_answer(text) == squad(text)


@given(st.text(string.printable))
def test_normalizing_twice_changes_nothing(text: str) -> None:
    once = normalize_answer(text)
    assert normalize_answer(once) == once


def test_long_runs_of_punctuation_take_linear_time() -> None:
    start = time.perf_counter()
    assert normalize_answer("!" * 50_000 + "a" + "!" * 50_000 + "b") != ""
    assert time.perf_counter() - start < 1.0


# ---------------------------------------------------------------- regex


@pytest.mark.parametrize(
    ("config", "text", "right"),
    [
        ({"pattern": r"\d{4}"}, "in 1999", True),
        ({"pattern": r"\d{4}", "match": "fullmatch"}, "in 1999", False),
        ({"pattern": r"\d{4}", "match": "fullmatch"}, "1999", True),
        ({"pattern": r"(?i)YES"}, "yes", True),
        ({"pattern": r"YES"}, "yes", False),
        ({"pattern": ""}, "anything", True),
    ],
)
def test_patterns(verdicts: Verdicts, config: dict, text: str, right: bool) -> None:
    (score,) = verdicts("regex", Prompt("p", ()), text, **config)
    assert (score.value, score.label) == ((1.0, "ok") if right else (0.0, "no_match"))


def test_the_prompts_own_pattern_goes_first(verdicts: Verdicts) -> None:
    prompt = Prompt("p", (), target='{"pattern": "^b"}')
    assert [score.value for score in verdicts("regex", prompt, "b", "a", pattern="^a")] == [1.0, 0.0]
    assert verdicts("regex", Prompt("p", ()), "a")[0].status == "abstained"


def test_patterns_that_do_not_compile(verdicts: Verdicts) -> None:
    with pytest.raises(ConfigError, match="does not compile"):
        verdicts("regex", Prompt("p", ()), "a", pattern="(")
    for pattern in ("(", 3):
        with pytest.raises(PluginError, match="prompt row-6, judge regex"):
            verdicts("regex", Prompt("row-6", (), target=json.dumps({"pattern": pattern})), "a")
