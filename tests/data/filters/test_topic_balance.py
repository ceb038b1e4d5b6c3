"""The filter of topics that have too much, with the real embedding model."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from duplicate_records import questions, record, sifted

from harness.data.record import Record


def named(topics: list[str]) -> list[Record]:
    return [replace(record(f"question {at}"), extra={"topic": t}) for at, t in enumerate(topics)]


def test_a_topic_that_a_column_names_is_capped() -> None:
    rows = named(["a"] * 6 + ["b"] * 3 + ["c"])
    found = sifted(rows, "topic_balance", column="topic", cap=4)
    assert [r.extra["topic"] for r in found.kept] == ["a"] * 4 + ["b"] * 3 + ["c"]
    assert {said[0].reason for said in found.remarks.values()} == {"over_represented"}
    figures = found.figures
    assert figures["topic_balance/topics"] == 3
    assert figures["topic_balance/largest_share_before"] == pytest.approx(0.6)
    assert figures["topic_balance/largest_share_after"] == pytest.approx(0.5)
    # H(.6, .3, .1) / ln 3, by hand: .8979 / 1.0986.
    assert figures["topic_balance/entropy_before"] == pytest.approx(0.8173, abs=1e-4)


def test_who_goes_does_not_depend_on_order_nor_on_what_is_added() -> None:
    rows = named(["a"] * 40)

    def kept(some: list[Record], cap: int) -> set[str]:
        return {r.asked for r in sifted(some, "topic_balance", column="topic", cap=cap).kept}

    before = kept(rows, 10)
    shuffled = rows[:]
    random.Random(0).shuffle(shuffled)
    assert kept(shuffled, 10) == before
    added = [replace(record(f"new {at}"), extra={"topic": "a"}) for at in range(10)]
    # Whoever leaves is replaced by a new one: nobody comes back.
    assert kept([*rows, *added], 10) <= before | {r.asked for r in added}
    assert before != {f"question {at}" for at in range(10)}
    other = sifted(rows, "topic_balance", column="topic", cap=10, seed=1)
    assert {r.asked for r in other.kept} != before


@pytest.mark.model
def test_collapse_is_seen_and_diverse_data_is_left_alone() -> None:
    things = [
        "gulls",
        "waves",
        "storms",
        "sand",
        "ships",
        "salt",
        "fish",
        "moon",
        "tide",
        "rocks",
        "foam",
        "wind",
        "nets",
        "whales",
        "crabs",
    ]
    collapsed = [record(f"Write a poem about the sea, with {one} and {other}.") for one in things for other in things]
    diverse = [record(q) for q in questions()[::12]]
    found = sifted(collapsed[:150], "topic_balance")
    assert found.figures["topic_balance/largest_share_before"] > 0.9
    assert len(found.kept) <= 80
    spread = sifted(diverse, "topic_balance")
    assert spread.remarks == {}
    assert spread.figures["topic_balance/topics"] >= 5
    assert spread.figures["topic_balance/entropy_before"] > found.figures["topic_balance/entropy_before"] + 0.3
    mixed = sifted([*collapsed[:150], *diverse[:100]], "topic_balance")
    assert set(mixed.remarks) <= set(range(150))
    assert 20 <= len(mixed.remarks) <= 30


@pytest.mark.model
def test_as_many_topics_as_are_asked_for() -> None:
    rows = [
        record(text) for text in ("boil an egg", "fry an egg", "stock prices", "share prices", "the moon", "the sun")
    ]
    found = sifted(rows, "topic_balance", topics=3)
    assert found.figures["topic_balance/topics"] == 3
    assert found.figures["topic_balance/largest_share_before"] == pytest.approx(1 / 3)
