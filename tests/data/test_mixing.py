"""How much of each source is in a mixture, which rows, and in which order."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.mixing import MixConfig, apportion, drawn, from_easy, in_order, largest, measure, shares
from harness.data.record import Answer, Record
from harness.errors import ConfigError
from harness.types import Prompt

counts_and_weights = st.lists(st.tuples(st.integers(1, 500), st.floats(0.01, 10)), min_size=1, max_size=5)


@given(counts_and_weights, st.integers(1, 4))
def test_the_largest_mixture_keeps_its_weights_and_no_larger_one_does(
    sources: list[tuple[int, float]], repeats: int
) -> None:
    counts = [count for count, _ in sources]
    parts = shares(counts, MixConfig(weights=tuple(weight for _, weight in sources)))
    assert sum(parts) == 1
    size = largest(counts, parts, repeats)
    taken = apportion(size, parts)
    assert sum(taken) == size
    for number, count, part in zip(taken, counts, parts, strict=True):
        assert number <= count * repeats
        assert abs(number - size * part) < 1
    assert any((size + 1) * part > count * repeats for count, part in zip(counts, parts, strict=True))


def test_rounding_by_hand() -> None:
    """10 rows by 1/2, 1/3, 1/6: 5, 3.33, 1.67; the one that is left over goes to the last."""
    assert apportion(10, [Fraction(1, 2), Fraction(1, 3), Fraction(1, 6)]) == [5, 3, 2]
    assert largest([100, 100], [Fraction(7, 10), Fraction(3, 10)], 1) == 142
    assert largest([100, 100], [Fraction(7, 10), Fraction(3, 10)], 2) == 285


def test_temperatures_by_hand() -> None:
    """Of 900 and 100 rows: as they are, by their square roots (30 to 10), nearly equal."""
    for temperature, part in ((1.0, 0.9), (2.0, 0.75), (1000.0, 0.5)):
        found = shares([900, 100], MixConfig(temperature=temperature))
        assert float(found[0]) == pytest.approx(part, abs=2e-3)


@given(st.integers(1, 30), st.integers(0, 90), st.integers(0, 5))
def test_rows_repeat_evenly(rows: int, number: int, seed: int) -> None:
    made = drawn([f"row {i}" for i in range(rows)], number, seed)
    assert len(set(made)) == len(made) == number
    times = Counter(row for row, _ in made)
    assert max(times.values(), default=0) - min(times[row] for row in range(rows)) <= 1


@given(st.sets(st.integers(), min_size=2, max_size=30), st.integers(0, 5), st.data())
def test_a_row_more_replaces_one_at_most_and_keeps_the_order(keys: set[int], seed: int, data: st.DataObject) -> None:
    old = sorted(map(str, keys))
    new = [*old, "added"]
    number = data.draw(st.integers(1, len(old) - 1))
    before = {old[row] for row, _ in drawn(old, number, seed)}
    after = {new[row] for row, _ in drawn(new, number, seed)}
    assert len(before - after) <= 1
    kept = [new[row] for row in in_order(new, seed) if new[row] != "added"]
    assert kept == [old[row] for row in in_order(old, seed)]


def test_easy_buckets_come_first_and_are_shuffled_within() -> None:
    keys = [f"row {i}" for i in range(100)]
    order = from_easy(in_order(keys, 0), [float(i) for i in range(100)], 4)
    for bucket in range(4):
        part = order[25 * bucket : 25 * (bucket + 1)]
        assert set(part) == set(range(25 * bucket, 25 * (bucket + 1)))
        assert part != sorted(part)
    assert from_easy(in_order(keys, 0), [float(-i) for i in range(100)], 100) == list(range(99, -1, -1))


def test_how_hard_a_record_is() -> None:
    def record(**extra: object) -> Record:
        prompt = Prompt("p", ({"role": "user", "content": "two words"},))
        return Record(prompt, (Answer("and three more"),), "demonstration", "f.jsonl", 4, extra)

    assert measure(record(), "length") == 5
    assert measure(record(difficulty=3, pass_rate=0.1), "difficulty") == 3
    assert measure(record(pass_rate=0.25), "difficulty") == 0.75
    assert measure(record(loss=1.5), "loss") == 1.5
    for by, value in (("loss", "high"), ("loss", True), ("loss", float("nan")), ("loss", None), ("difficulty", None)):
        with pytest.raises(ConfigError, match=r"f\.jsonl:4: column '(loss|pass_rate)' holds no number"):
            measure(record(**({by: value} if value is not None else {})), by)
