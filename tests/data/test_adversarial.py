"""Variants of prompts: what is asked becomes harder, and what is right is known."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random

import pytest

from harness.data.adversarial import ASIDES, KINDS, adversarial
from harness.data.record import Answer, Record
from harness.types import Prompt

TEXT = "Please find the weather in Bergen tomorrow, because travellers should always carry suitable clothing?"


def tools(*names: str) -> str:
    return json.dumps([{"name": name, "parameters": {}} for name in names])


CALL = '[{"name": "find_weather", "arguments": {"city": "Bergen"}}]'
ASKED = Prompt("p", ({"role": "user", "content": TEXT},), tools("find_weather", "book_hotel"), target='{"calls": [1]}')
RECORD = Record(ASKED, (Answer(CALL), Answer("[]", 0.0)), "pair", "f", 1)
POOL = [Record(Prompt("q", (), tools("weather_map", "sum_numbers", "draw_chart")), (), "prompt")]


def named(record: Record | None) -> list[str]:
    assert record is not None
    return [tool["name"] for tool in json.loads(record.prompt.tools)]


def test_more_tools_leave_the_calls_right() -> None:
    made = adversarial(RECORD, "more_tools", Random(0), POOL)
    assert sorted(named(made)) == ["book_hotel", "draw_chart", "find_weather", "sum_numbers"], "none that is alike"
    assert made is not None
    assert made.answers == RECORD.answers
    assert made.prompt.id == "p-more_tools"
    assert made.prompt.messages == ASKED.messages
    declined = replace(RECORD, answers=(Answer("[]"), Answer(CALL, 0.0)))
    assert adversarial(declined, "more_tools", Random(0), POOL) is None, "a new tool might fit"
    assert adversarial(RECORD, "more_tools", Random(0), []) is None


def test_without_its_tool_the_right_answer_is_to_call_none() -> None:
    made = adversarial(RECORD, "missing_tool", Random(0), POOL)
    assert named(made) == ["book_hotel"]
    assert made is not None
    assert made.answers == (Answer("[]"), Answer(CALL, 0.0))
    assert (made.prompt.reference, made.prompt.target) == ("[]", '{"calls":[]}')
    alone = replace(RECORD, prompt=replace(ASKED, tools=tools("find_weather")), answers=(Answer(CALL),))
    borrowed = adversarial(replace(alone, kind="demonstration"), "missing_tool", Random(0), POOL)
    assert named(borrowed) in (["sum_numbers"], ["draw_chart"])
    assert borrowed is not None
    assert borrowed.answers == (Answer("[]"),)
    assert adversarial(replace(alone, kind="group"), "missing_tool", Random(0), POOL) is None
    unread = replace(RECORD, answers=(Answer("Sunny."), Answer("[]", 0.0)))
    assert adversarial(unread, "missing_tool", Random(0), POOL) is None


def test_shuffled_tools_are_the_same_ones() -> None:
    made = [adversarial(RECORD, "shuffled_tools", Random(seed), []) for seed in range(8)]
    orders = [named(one) for one in made if one is not None]
    assert orders
    assert all(order == ["book_hotel", "find_weather"] for order in orders)


def test_typos_spare_what_an_answer_may_repeat() -> None:
    for seed in range(20):
        made = adversarial(RECORD, "typos", Random(seed), [])
        assert made is not None
        text = made.prompt.messages[-1]["content"]
        assert text != TEXT
        assert sorted(text.lower()) == sorted(TEXT.lower()), "letters change places and case alone"
        assert all(word in text for word in ("find", "weather", "Bergen", "tomorrow,"))
        assert made.answers == RECORD.answers
    quoted = replace(ASKED, messages=({"role": "user", "content": 'Translate "travellers always carry clothing"'},))
    assert adversarial(replace(RECORD, prompt=quoted), "typos", Random(0), []) is None


def test_an_irrelevant_sentence_goes_before_a_question_and_nothing_else() -> None:
    made = adversarial(RECORD, "irrelevant", Random(0), [])
    assert made is not None
    assert made.prompt.messages[-1]["content"] in [f"{aside} {TEXT}" for aside in ASIDES]
    told = replace(ASKED, messages=({"role": "user", "content": "Shorten this: it rains."},))
    assert adversarial(replace(RECORD, prompt=told), "irrelevant", Random(0), []) is None


@pytest.mark.parametrize("kind", KINDS)
def test_equal_seeds_make_equal_variants_and_nothing_is_made_of_raw_text(kind: str) -> None:
    assert adversarial(RECORD, kind, Random(3), POOL) == adversarial(RECORD, kind, Random(3), POOL)  # type: ignore[arg-type]
    assert adversarial(Record(Prompt("t", ()), (Answer("It is."),), "text"), kind, Random(0), POOL) is None  # type: ignore[arg-type]


def test_an_unknown_kind() -> None:
    with pytest.raises(ValueError, match="is none of more_tools"):
        adversarial(RECORD, "harder", Random(0), [])  # type: ignore[arg-type]
