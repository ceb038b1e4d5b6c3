"""Evaluations against one another."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from stored_evaluations import evaluation, store, suite_report

from harness.errors import ConfigError
from harness.evaluations import Evaluation, find_evaluation
from harness.head_to_head import comparable, compare_two, examples, only_in_some, rank, sentence
from harness.statistics import paired_interval


def test_the_interval_is_the_gates_and_wins_are_counted_by_hand() -> None:
    before = suite_report("s", [1, 0, 0, 1, 0.5, None], size=2)
    after = suite_report("s", [1, 1, 0, 0, 0.75, 1], size=2)
    found = compare_two(before, after)
    assert found.whole.interval == paired_interval(
        [0, 1, 0, -1, 0.25], [f"s cluster {c}" for c in (0, 0, 1, 1, 2)], alpha=0.025
    )
    w = found.whole
    assert (w.wins, w.ties, w.losses, w.unscored, w.clusters) == (2, 2, 1, 1, 3)
    assert (w.before, w.after) == (2.5 / 5, 2.75 / 5)
    even, odd = found.slices
    assert (even.name, even.wins, even.ties, even.losses) == ("even", 1, 2, 0)
    assert (odd.name, odd.wins, odd.ties, odd.losses, odd.unscored) == ("odd", 1, 0, 1, 1)
    assert odd.interval == paired_interval([1, -1], ["s cluster 0", "s cluster 1"], alpha=0.025)


def test_swapping_the_two_turns_the_signs() -> None:
    draw = random.Random(0)
    one, other = (suite_report("s", [draw.random() for _ in range(40)], size=3) for _ in range(2))
    there, back = compare_two(one, other).whole, compare_two(other, one).whole
    assert there.interval.estimate == pytest.approx(-back.interval.estimate)
    assert (there.interval.lower, there.interval.upper) == pytest.approx((-back.interval.upper, -back.interval.lower))
    assert (there.wins, there.losses) == (back.losses, back.wins)


def test_equal_means_over_epochs_are_a_tie_however_they_were_summed() -> None:
    found = compare_two(suite_report("s", [0.1 + 0.2]), suite_report("s", [0.3]))
    assert (found.whole.wins, found.whole.ties, found.whole.losses) == (0, 1, 0)


@pytest.mark.parametrize(
    ("right", "says"),
    [
        (70, "s: new is better than old by 19.6 points (95% sure: between +11.3 and +27.9 points)."),
        (30, "s: new is worse than old by 19.6 points (95% sure: between -27.9 and -11.3 points)."),
        (50, "s: no difference is shown; new is at +0.0 points to old (95% sure: between -2.8 and +2.8 points)."),
    ],
)
def test_the_sentence_says_what_the_interval_shows(right: int, says: str) -> None:
    """By hand, for 20 of 100 items: with the pseudo-items n = 102, m = 20/102, sum of squares 22 - 102 m^2 = 18.078,
    SE = sqrt(102/101 * 18.078) / 102 = 0.041890, t(101, .975) = 1.98373, so the bounds are m -/+ 0.083098."""
    before = suite_report("s", [1] * 50 + [0] * 50)
    after = suite_report("s", [1] * right + [0] * (100 - right))
    assert sentence(compare_two(before, after), "old", "new") == says


def test_no_item_that_both_have_scored_is_refused() -> None:
    with pytest.raises(ConfigError, match="no item of suite s is scored in both"):
        compare_two(suite_report("s", [1, None]), suite_report("s", [None, 1]))


# ---------------------------------------------------------------- what can be compared


def test_suites_that_all_have_are_compared_and_the_others_are_named() -> None:
    a = evaluation("a", suite_report("s", [1]), suite_report("only-a", [1]))
    b = evaluation("b", suite_report("t", [1]), suite_report("s", [0]))
    assert [pair[0].suite for pair in comparable([a, b])] == ["s"]
    assert only_in_some([a, b]) == {"only-a": ["a"], "t": ["b"]}
    with pytest.raises(ConfigError, match=r"not all evaluations have suite 't'. All have: s"):
        comparable([a, b], suites=["t"])
    with pytest.raises(ConfigError, match=r"no suite in common \(a: s, only-a; c: u\)"):
        comparable([a, evaluation("c", suite_report("u", [1]))])


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (suite_report("s", [1, 1, 1, 1], fingerprint="new"), "the judges, the decoding, or the items' metadata"),
        (suite_report("s", [1, 1, 1], fingerprint="new"), "3 items are in both, 1 and 0 in one"),
        (suite_report("s", [1, 1, 1, 1], first=2), "2 items are in both, 2 and 2 in one"),
        (suite_report("s", [1] * 4, epochs=[(1, 1)] * 4, fingerprint="new"), "1 and 2 epochs"),
    ],
)
def test_what_was_not_measured_alike_is_refused_with_what_differs(changed: object, says: str) -> None:
    a, b = evaluation("a", suite_report("s", [1, 1, 1, 1])), evaluation("b", changed)  # type: ignore[arg-type]
    with pytest.raises(ConfigError) as refused:
        comparable([a, b])
    assert f"suite s was not measured alike in a and b: {says}" in str(refused.value)
    assert "--common" in str(refused.value)


def test_items_in_another_order_are_not_paired_by_their_place() -> None:
    report = suite_report("s", [1, 0])
    turned = replace(report, items=report.items[::-1])
    with pytest.raises(ConfigError, match="in another order"):
        comparable([evaluation("a", report), evaluation("b", turned)])
    [(one, other)] = comparable([evaluation("a", report), evaluation("b", turned)], common=True)
    assert one == other


def test_identities_say_which_part_changed() -> None:
    def made(name: str, judges: str, fingerprint: str) -> Evaluation:
        identity = {
            "suites": {"s": {"judges": judges, "items": "i", "train": name, "margins": name, f"only {name}": 1}}
        }
        return replace(evaluation(name, suite_report("s", [1], fingerprint=fingerprint)), identity=identity)

    with pytest.raises(ConfigError, match=r"in a and b: judges changed\. Evaluate both"):
        comparable([made("a", "x", "1"), made("b", "y", "2")])


def test_settings_of_the_evaluation_are_said_of_both() -> None:
    a = replace(evaluation("a", suite_report("s", [1, 0])), identity={"eval": {"limit": 2, "epochs": 1}})
    b = replace(
        evaluation("b", suite_report("s", [1], fingerprint="new")),
        identity={"config": {"eval": {"limit": 1, "epochs": 1}}},
    )
    with pytest.raises(ConfigError, match=r"1 items are in both, 1 and 0 in one; eval.limit is 2 and 1\. Evaluate"):
        comparable([a, b])


def test_common_items_are_paired_by_content() -> None:
    a = evaluation("a", suite_report("s", [1, 0, 1, 0]))
    b = evaluation("b", suite_report("s", [1, 1, 0], first=2, fingerprint="new"))
    [(one, other)] = comparable([a, b], common=True)
    assert [i.id for i in one.items] == [i.id for i in other.items] == ["s-2", "s-3"]
    assert [i.score for i in one.items] == [1, 0]
    assert [i.score for i in other.items] == [1, 1]
    far = evaluation("c", suite_report("s", [1], first=9))
    with pytest.raises(ConfigError, match="no item of suite s is in all"):
        comparable([a, far], common=True)


# ---------------------------------------------------------------- examples


def test_examples_show_both_answers_and_the_widest_apart_first(tmp_path: Path) -> None:
    reports = suite_report("s", [0, 0.5, 1, 1]), suite_report("s", [1, 0.75, 1, 0])
    folders = [store(tmp_path / name, r, answers=f" by {name}") for name, r in zip("ab", reports, strict=True)]
    one, other = (find_evaluation(str(folder)) for folder in folders)
    arms = (one.groups("s"), other.groups("s"))
    wins, losses = examples(*reports, arms, 5)
    assert [e.id for e in wins] == ["s-0", "s-1"]
    assert (wins[0].scores, wins[0].labels) == ((0, 1), ("wrong", "right"))
    assert wins[0].answers == ("0 by a", "1 by b")
    assert wins[0].question == "s question 0"
    assert [(e.id, e.answers) for e in losses] == [("s-3", ("1 by a", "0 by b"))]
    assert [len(found) for found in examples(*reports, arms, 1)] == [1, 1]
    (folders[0] / "s.parquet").unlink()
    with pytest.raises(ConfigError, match="keeps no completions of suite s, only scores"):
        one.groups("s")


# ---------------------------------------------------------------- three


def test_three_are_ranked_by_whom_they_beat_and_what_is_unscored_says_nothing() -> None:
    draw = random.Random(1)
    reports = [suite_report("s", [float(draw.random() < p) for _ in range(300)]) for p in (0.3, 0.7, 0.5)]
    found = rank(["low", "high", "middle"], reports)
    assert [s.name for s in found.strengths] == ["high", "middle", "low"]
    assert found.clear == (True, True)
    # Of two, the odds are the ratio of wins, ties counting half on both sides.
    wins = sum(a.score > b.score for a, b in zip(reports[1].items, reports[0].items, strict=True))  # type: ignore[operator]
    losses = sum(a.score < b.score for a, b in zip(reports[1].items, reports[0].items, strict=True))  # type: ignore[operator]
    pair = rank(["low", "high"], reports[:2])
    half = (300 - wins - losses) / 2
    assert pair.chances["high"]["low"][0] == pytest.approx((wins + half) / 300)
    holes = replace(
        reports[2], items=tuple(replace(item, score=None) for item in reports[2].items[:200]) + reports[2].items[200:]
    )
    assert rank(["low", "high", "middle"], [*reports[:2], holes]).strengths[0].name == "high"
