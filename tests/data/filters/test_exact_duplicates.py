"""The filter of exact duplicates."""

from __future__ import annotations

import json

import pytest
from duplicate_records import record, sifted

from harness.data.record import Answer, Record
from harness.types import Prompt


def dropped(records: list[Record], **config: str) -> list[int]:
    return sorted(set(range(len(records))) - set(sifted(records, "exact_duplicates", **config).indices))


def test_the_first_stays_and_is_named() -> None:
    found = sifted([record("a", "b"), record("c", "d"), record(" a\n", "b ")], "exact_duplicates")
    assert found.indices == [0, 1]
    (remark,) = found.remarks[2]
    assert (remark.reason, remark.other) == ("exact_duplicate", "here:1")


@pytest.mark.parametrize(("by", "gone"), [("record", [4]), ("prompt", [1, 4]), ("answer", [2, 4])])
def test_what_is_compared(by: str, gone: list[int]) -> None:
    rows = [record("a", "b"), record("a", "x"), record("c", "b"), record("d", "e"), record("a", "b")]
    assert dropped(rows, by=by) == gone


def test_tools_system_worth_and_the_order_of_a_pair_are_part_of_it() -> None:
    tools = json.dumps([{"name": "f"}])
    rows = [
        record("a", "b"),
        record("a", "b", tools=tools),
        record("a", "b", system="s"),
        record("a", "b", worths=[0.0]),
    ]
    assert dropped([*rows, record("a", "b", "c"), record("a", "c", "b")]) == []


@pytest.mark.parametrize(("normalise", "gone"), [("none", []), ("case", [1]), ("words", [1, 2])])
def test_normalisation(normalise: str, gone: list[int]) -> None:
    rows = [record("Say it, now", "b"), record("say  it, NOW", "b"), record("say it now!", "b")]
    assert dropped(rows, normalise=normalise) == gone


def test_raw_text_has_no_prompt_to_compare() -> None:
    rows = [Record(Prompt("", ()), (Answer(text),), "text") for text in ("a", "b", "a")]
    assert dropped(rows) == [2]
    assert dropped(rows, by="prompt") == []
