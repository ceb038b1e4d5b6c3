"""The filters that must have seen all records: `length` and `templates`."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from quality_records import chat, make, record
from scipy.stats import norm

from harness.data.record import Answer, Flaw, Record
from harness_plugins.filters.quality.templates import SLOT, masked

USER = {"role": "user", "content": "What is it?"}


def surveyed(name: str, records: Sequence[Record], **config: Any) -> dict[int, Flaw]:
    made = make(name, config)
    found: dict[int, Flaw] = made.survey([made.sketch(one) for one in records])
    return found


def words(count: int) -> str:
    return ("word " * count).strip()


# ---------------------------------------------------------------- length


def test_one_gigantic_and_one_tiny_answer() -> None:
    """Half have 50 words. The deviation is at least log 1.5, so that six of them are a factor of 11.4: 600 words are
    beyond it and 500 are not; 4 are and 5 are not."""
    ordinary = [record(words(50)) for _ in range(300)]
    odd = [record(words(count)) for count in (600, 500, 4, 5)]
    found = surveyed("length", [*ordinary, *odd])
    assert {at: (flaw.reason, flaw.answer) for at, flaw in found.items()} == {
        300: ("too_long", 0),
        302: ("too_short", 0),
    }


def test_a_wide_spread_has_wide_bounds() -> None:
    """Logs drawn from a normal distribution: none of 2000 is six deviations away."""
    rng = random.Random(0)
    spread = [record(words(max(1, round(rng.lognormvariate(4, 1))))) for _ in range(2000)]
    assert surveyed("length", spread) == {}


def test_lengths_that_are_all_alike_have_no_outliers() -> None:
    assert surveyed("length", [record(words(20 + n % 3)) for n in range(200)]) == {}


def test_short_answers_to_tool_calls_are_no_outliers() -> None:
    call = '[{"name": "f", "arguments": {"text": "' + "x" * 200 + '"}}]'
    assert surveyed("length", [record(call if n else "[]") for n in range(200)]) == {}


def test_what_is_frequent_is_a_mode() -> None:
    """Three in 200 are more than 1%; two are not."""
    ordinary = [record(words(50)) for _ in range(197)]
    assert surveyed("length", [*ordinary, *[record(words(900))] * 3]) == {}
    assert list(surveyed("length", [*ordinary, record(words(50)), *[record(words(900))] * 2])) == [198, 199]


def test_few_records_have_absolute_bounds_only() -> None:
    few = [*[record(words(50))] * 20, record(words(5000))]
    assert surveyed("length", few) == {}
    found = surveyed("length", [record("ab"), record("abc"), record("abcd")], min_answer=3, max_chars=30)
    assert {at: flaw.reason for at, flaw in found.items()} == {0: "too_short"}
    assert [flaw.answer for flaw in surveyed("length", [record("a" * 9), record("b" * 8)], max_chars=8).values()] == [
        None,
        None,
    ]


def test_prompts_and_single_answers_of_groups() -> None:
    group = chat([USER], [Answer(words(50)), Answer(words(5000)), Answer(words(9000), 0.0)], "group")
    long_prompt = record(words(50), asked=words(3000))
    found = surveyed("length", [*[record(words(50))] * 200, group, long_prompt])
    assert {at: flaw.answer for at, flaw in found.items()} == {200: 1, 201: None}


def test_length_bias_of_pairs() -> None:
    """Wilson (1927) by hand: the centre is (p + z^2 / 2n) / (1 + z^2 / n)."""
    longer = chat([USER], [Answer("abc"), Answer("a", 0.0)], "pair")
    shorter = chat([USER], [Answer("a"), Answer("abc", 0.0)], "pair")
    equal = chat([USER], [Answer("a"), Answer("b", 0.0)], "pair")
    made = make("length")
    made.survey([made.sketch(one) for one in [longer] * 6 + [shorter] * 2 + [equal, record()]])
    figures = made.figures()
    z2 = norm.ppf(0.975) ** 2
    assert (figures["pairs"], figures["chosen_longer"]) == (8, 0.75)
    centre = (figures["chosen_longer_low"] + figures["chosen_longer_high"]) / 2
    assert centre == pytest.approx((0.75 + z2 / 16) / (1 + z2 / 8))
    made.survey([])
    assert made.figures() == {}


# ---------------------------------------------------------------- templates


def test_slots() -> None:
    assert masked('Write 3 mails to Anna Berg about "the plan". Then stop.') == [
        *["write", SLOT, "mails", "to", SLOT, "about", SLOT, "then", "stop"]
    ]
    assert masked("See https://a.org or me@b.org!") == ["see", SLOT, "or", SLOT]
    assert masked("It’s what I know.") == ["it’s", "what", "i", "know"]


def question(country: str, capital: str) -> Record:
    return record(f"The capital of {country} is {capital}.", asked=f"What is the capital of {country}?")


def test_one_template_is_capped_by_the_content_and_not_the_order() -> None:
    templated = [question(f"Land{n}", f"City{n}") for n in range(150)]
    others = [record(f"{chr(97 + n % 26) * (n // 26 + 1)} ends it.", asked="So?") for n in range(50)]
    records = [*templated, *others]
    found = surveyed("templates", records, min_count=40)
    assert {flaw.reason for flaw in found.values()} == {"templated"}
    assert len(found) == 110
    assert max(found) < 150
    turned = surveyed("templates", records[::-1], min_count=40)
    assert {records[at].text for at in found} == {records[::-1][at].text for at in turned}
    assert surveyed("templates", templated[:100]) == {}
    assert len(surveyed("templates", records, max_count=10)) == 140
    assert len(surveyed("templates", records, min_count=1, max_share=0.5)) == 50


def test_a_slot_may_hold_a_passage() -> None:
    def filled(n: int) -> Record:
        rng = random.Random(n)
        passage = " ".join("".join(rng.choices("abcdef", k=5)) for _ in range(20 + n % 7))
        asked = "please read the following text with care and then say what it is about in short: " + passage
        return record("this is what the text that you gave me to read is about in short", asked=asked)

    records = [filled(n) for n in range(30)]
    assert len(surveyed("templates", records, min_count=10)) == 20


@given(st.lists(st.text(max_size=20), max_size=20))
def test_sketches_are_small_and_a_survey_takes_any_of_them(texts: list[str]) -> None:
    for name, size in (("length", 44), ("templates", 16)):
        made = make(name)
        sketches = [made.sketch(record(one, asked=one)) for one in texts]
        assert all(len(sketch) == size for sketch in sketches)
        assert made.survey(sketches) == {}
