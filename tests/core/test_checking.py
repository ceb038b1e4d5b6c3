"""What `harness judge check` finds out about judges whose ways are known."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from harness.checking import CheckReport, check_judge, length_slope
from harness.errors import ConfigError
from harness.hookspecs import hookimpl
from harness.plugins import Origin, load_registry
from harness.protocols import RunContext
from harness.specs import JudgeSpec
from harness.types import Group, KnownPair, Prompt, Score

RNG = random.Random(0)
PAIRS = [
    KnownPair(Prompt(f"p{i}", ({"role": "user", "content": f"q{i}"},)), "good " * n, "bad " * m, "ab"[i % 2])
    for i in range(60)
    for n, m in [(RNG.randint(1, 30), RNG.randint(1, 30))]
]


def check(score: Callable[[str, int, int], float | None]) -> CheckReport:
    """A judge from (answer, place in the group, how many answers it has judged) to a value."""

    class Fixed:
        seen = 0

        def value(self, text: str, place: int) -> Score:
            self.seen += 1
            value = score(text, place, self.seen)
            return Score.failed("j", "down") if value is None else Score("j", value)

        def score(self, groups: Sequence[Group]) -> list[tuple[Score, ...]]:
            return [tuple(self.value(c.text, i) for i, c in enumerate(group.completions)) for group in groups]

    class Plugin:
        @hookimpl
        def harness_register_judges(self) -> Any:
            return [JudgeSpec("j", "a judge", lambda config, context: Fixed())]

    registry = load_registry(third_party=False)
    registry.add(Plugin(), Origin("test", "test", "1"))
    return check_judge("j", {}, "known", PAIRS, registry, RunContext(components=registry))


def test_a_judge_that_knows_is_right() -> None:
    report = check(lambda text, place, seen: float(text.startswith("good")))
    assert report.accuracy.estimate == 1.0
    assert 0.9 < report.accuracy.lower < 1.0
    assert report.by_kind == {"a": (30, 1.0), "b": (30, 1.0)}
    assert (report.ties, report.order_flips, report.unscored, report.retest) == (0, 0, 0, 1.0)
    assert report.length_slope is not None
    assert report.length_slope.lower <= 0 <= report.length_slope.upper
    assert set(report.canaries.values()) == {0.0}
    assert report.parse_rate is None


def test_a_judge_of_length_alone_shows_in_the_slope() -> None:
    report = check(lambda text, place, seen: min(1.0, math.log2(max(len(text), 1)) / 10))
    assert report.accuracy.estimate == report.longer_is_better
    assert report.length_slope is not None
    assert report.length_slope.estimate == pytest.approx(0.1)
    assert report.length_slope.lower > 0.09
    assert report.canaries["keyword_stuffing"] > 0.5
    assert report.per_second is not None
    assert report.canaries["empty"] == 0.0


def test_a_judge_that_prefers_a_place_flips() -> None:
    report = check(lambda text, place, seen: 1.0 - place)
    assert (report.accuracy.estimate, report.order_flips) == (0.5, 1.0)


def test_a_judge_with_moods_does_not_say_the_same_again() -> None:
    report = check(lambda text, place, seen: random.Random(seen).random())
    assert report.retest == 1.0  # a new judge starts as the first one did
    drawn = random.Random(1)
    assert check(lambda text, place, seen: drawn.random()).retest == 0.0


def test_verdicts_that_failed_are_counted_and_left_out() -> None:
    report = check(lambda text, place, seen: None if len(text) % 3 == 0 else float(text.startswith("good")))
    gone = sum(len(pair.better) % 3 == 0 or len(pair.worse) % 3 == 0 for pair in PAIRS)
    assert (report.unscored, report.accuracy.estimate) == (gone, 1.0)
    with pytest.raises(ConfigError, match=r"judge j: it scores none of 60 pairs of known \(down\)"):
        check(lambda text, place, seen: None)


def test_the_slope_is_that_of_least_squares() -> None:
    """y = 0.5 + 0.2 x + noise, x in doublings; by numpy's lstsq."""
    import numpy as np

    rng = random.Random(3)
    rows, x, y = [], [], []
    for _ in range(200):
        a, b = rng.randint(1, 400), rng.randint(1, 400)
        x.append(math.log2(a / b))
        y.append(0.5 + 0.2 * x[-1] + rng.gauss(0, 0.1))
        rows.append((y[-1], "x" * a, "x" * b))
    slope = length_slope(rows)
    assert slope is not None
    expected = np.linalg.lstsq(np.stack([np.ones(200), x], axis=1), np.array(y), rcond=None)[0][1]
    assert slope.estimate == pytest.approx(expected)
    assert slope.lower < 0.2 < slope.upper
    assert slope.upper - slope.lower < 0.05
    assert length_slope([(0.1, "ab", "cd")] * 5) is None
