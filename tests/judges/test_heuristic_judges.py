"""The `length` and `repetition` judges."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judge_cases import Verdicts
from pydantic import ValidationError

from harness.types import Completion, Group, Prompt, Sampling
from harness_judges.heuristics import length_judge, repetition_judge
from harness_judges.settings import LengthConfig, RepetitionConfig

PROMPT = Prompt("p", ())


@pytest.mark.parametrize(
    ("config", "text", "value", "label"),
    [
        ({"min": 2, "max": 3}, "one two", 1.0, "ok"),
        ({"min": 2, "max": 3}, "one two three", 1.0, "ok"),
        ({"min": 2, "max": 3}, "one", 0.0, "too_short"),
        ({"min": 2, "max": 3}, "one two three four", 0.0, "too_long"),
        ({"max": 2, "falloff": 4}, "a b c", 0.75, "too_long"),
        ({"max": 2, "falloff": 4}, "a b c d e f", 0.0, "too_long"),
        ({"max": 2, "falloff": 4}, "a b c d e f g", 0.0, "too_long"),
        ({"min": 4, "falloff": 4}, "", 0.0, "too_short"),
        ({"min": 4, "falloff": 4}, "a b", 0.5, "too_short"),
        ({"max": 5, "unit": "characters"}, "a b c", 1.0, "ok"),
        ({"max": 4, "unit": "characters"}, "a b c", 0.0, "too_long"),
    ],
)
def test_length(verdicts: Verdicts, config: dict, text: str, value: float, label: str) -> None:
    (score,) = verdicts("length", PROMPT, text, **config)
    assert (score.value, score.label) == (value, label)


def test_tokens_are_counted_as_sampled_not_as_text(verdicts: Verdicts) -> None:
    long, short = Completion("a", (1, 2, 3)), Completion("a b c d", (1, 2))
    scores = verdicts("length", PROMPT, long, short, max=2, unit="tokens")
    assert [score.label for score in scores] == ["too_long", "ok"]
    assert "3 tokens" in scores[0].explanation


@pytest.mark.parametrize("config", [{}, {"min": 3, "max": 2}, {"max": -1}, {"max": 1, "unit": "lines"}])
def test_bounds_that_make_no_sense_are_refused(config: dict) -> None:
    with pytest.raises(ValidationError):
        LengthConfig(**config)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 20), st.integers(0, 80))
def test_length_falls_steadily_on_both_sides(low: int, width: int, falloff: int, length: int) -> None:
    if low == width == 0:
        low = 1
    judge = length_judge(LengthConfig(min=low, max=low + width, falloff=falloff, unit="characters"))
    group = Group(PROMPT, (1,), tuple(Completion("x" * n, (1,)) for n in (length, length + 1)), "base", Sampling())
    ((here, next_longer),) = judge.score([group])
    if length < low:
        assert next_longer.value >= here.value
    if length >= low + width:
        assert next_longer.value <= here.value
    assert (here.value == 1.0) == (low <= length <= low + width)


@pytest.mark.parametrize(
    ("config", "text", "value"),
    [
        ({"n": 2}, "a b c d", 1.0),
        ({"n": 2}, "a b a b", 2 / 3),
        ({"n": 1}, "a a a a", 1 / 4),
        ({"n": 3}, "x y z " * 10, 3 / 28),
        ({"n": 2, "unit": "characters"}, "aaaa", 1 / 3),
        ({"n": 2, "unit": "tokens"}, "text does not matter", 1.0),
    ],
)
def test_repetition(verdicts: Verdicts, config: dict, text: str, value: float) -> None:
    (score,) = verdicts("repetition", PROMPT, text, **config)
    assert score.value == pytest.approx(value)
    assert score.label == ("ok" if value == 1.0 else "repeated")


def test_what_is_too_short_to_repeat_itself_repeats_nothing(verdicts: Verdicts) -> None:
    """Not an abstention: that would leave a terse policy's items unscored."""
    assert [score.value for score in verdicts("repetition", PROMPT, "", "a b c", "a b c d")] == [1.0, 1.0, 1.0]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.integers(1, 4))
def test_repetition_counts_each_ngram_that_was_there_before(tokens: list[int], n: int) -> None:
    group = Group(PROMPT, (1,), (Completion("", tuple(tokens)),), "base", Sampling())
    ((score,),) = repetition_judge(RepetitionConfig(n=n, unit="tokens")).score([group])
    spelled = "".join(map(str, tokens))
    starts = range(len(tokens) - n + 1)
    repeats = sum(spelled.find(spelled[start : start + n]) < start for start in starts)
    if not starts:
        assert score.value == 1.0
    else:
        assert score.value == float(1 - Fraction(repeats, len(starts)))
