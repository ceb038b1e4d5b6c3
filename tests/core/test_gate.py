from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from harness.gate import GateConfig, confirm, gate
from harness.types import EvalReport, ItemResult, Role, SuiteReport


def suite(name: str, role: Role, scores: Sequence[float | None], **changes: object) -> SuiteReport:
    items = tuple(ItemResult(f"{name}-{i}", f"h{i}", f"c{i}", s) for i, s in enumerate(scores))
    return replace(SuiteReport(name, role, "fingerprint", items), **changes)  # type: ignore[arg-type]


def report(*suites: SuiteReport) -> EvalReport:
    return EvalReport("policy", suites)


def scores(right: int, of: int = 200) -> list[float | None]:
    return [1.0] * right + [0.0] * (of - right)


def test_a_clear_gain_without_loss_is_promoted() -> None:
    before = report(suite("t", "target", scores(50)), suite("r", "regression", scores(100)))
    after = report(suite("t", "target", scores(90)), suite("r", "regression", scores(100)))
    decision = gate(before, after, before)
    assert decision.outcome == "promoted"
    assert "Promoted" in decision.sentence


def test_equal_policies_are_inconclusive_never_promoted() -> None:
    same = report(suite("t", "target", scores(50, 100)), suite("r", "regression", scores(100)))
    assert gate(same, same, same).outcome == "inconclusive"


def test_a_gain_below_the_minimum_is_rejected_once_it_is_certain() -> None:
    """With 4000 equal items the upper bound is far below a gain of 1 point: more sampling could not help."""
    same = report(suite("t", "target", scores(2000, 4000)))
    assert gate(same, same, same).outcome == "rejected"


def test_not_significantly_worse_is_not_enough() -> None:
    """A loss of 4 points on 100 items is within noise, and just for that reason non-inferiority is not shown."""
    before = report(suite("t", "target", scores(50)), suite("r", "regression", scores(60, 100)))
    after = report(suite("t", "target", scores(100)), suite("r", "regression", scores(56, 100)))
    decision = gate(before, after, before)
    assert decision.outcome == "inconclusive"
    assert "regression r" in decision.sentence


def test_small_losses_cannot_add_up_beyond_the_anchor() -> None:
    anchor = report(suite("t", "target", scores(50)), suite("r", "regression", scores(300, 400)))
    incumbent = report(suite("t", "target", scores(80)), suite("r", "regression", scores(280, 400)))
    candidate = report(suite("t", "target", scores(120)), suite("r", "regression", scores(275, 400)))
    against_incumbent_only = gate(incumbent, candidate, incumbent)
    assert against_incumbent_only.outcome == "promoted"
    assert gate(incumbent, candidate, anchor).outcome != "promoted"


def test_where_no_gain_is_asked_for_a_small_loss_within_the_margin_is_promoted() -> None:
    """By hand, for 4 of 200 items lost: with the pseudo-items n = 202, m = -4/202, sum of squares 6 - 202 m^2 = 5.9208,
    SE = sqrt(202/201 * 5.9208) / 202 = 0.012076, t(201, .95) = 1.6525, so the bounds are m -/+ 0.019955."""
    before, after = report(suite("t", "target", scores(100))), report(suite("t", "target", scores(96)))
    assert gate(before, after, before).outcome == "rejected"
    decision = gate(before, after, before, rule="hold")
    assert decision.outcome == "promoted"
    against_incumbent, against_anchor = decision.checks
    assert against_incumbent.name == "target t vs incumbent"
    assert against_incumbent.lower == pytest.approx(-0.039757, abs=1e-6)
    assert against_incumbent.upper == pytest.approx(0.000153, abs=1e-6)
    assert (against_incumbent.threshold, against_anchor.threshold) == (-0.05, -0.075)
    assert decision.sentence == (
        "Promoted: t holds at -2.0 points (at least -4.0 points with 95% confidence), "
        "and nothing else that must hold got worse."
    )


@pytest.mark.parametrize(
    ("anchor", "incumbent", "candidate", "outcome", "of"),
    [
        (100, 100, 90, "inconclusive", "target t vs incumbent"),  # [-7.7, -2.2] points, and the margin is 5
        (100, 100, 70, "rejected", "target t vs incumbent"),  # [-19.2, -10.5] points
        (110, 100, 97, "inconclusive", "target t vs anchor"),  # [-9.5, -3.3] points, and the anchor's margin is 7.5
    ],
)
def test_a_target_that_must_hold_is_held_to_its_margins(
    anchor: int, incumbent: int, candidate: int, outcome: str, of: str
) -> None:
    arms = [report(suite("t", "target", scores(right))) for right in (incumbent, candidate, anchor)]
    decision = gate(*arms, rule="hold")
    assert decision.outcome == outcome
    assert of in decision.sentence


def test_a_target_that_must_hold_keeps_its_floor_and_the_others_their_conditions() -> None:
    before = report(suite("t", "target", scores(150), floor=0.9), suite("g", "guard", scores(200)))
    assert gate(before, before, before, rule="hold").outcome == "rejected"
    before = report(suite("t", "target", scores(150), floor=0.7), suite("g", "guard", scores(200)))
    decision = gate(before, before, before, rule="hold")
    assert decision.outcome == "promoted"
    assert "t holds at +0.0 points" in decision.sentence  # the floor, which comes first, is not what is reported
    after = report(before.suites[0], suite("g", "guard", scores(180)))
    assert gate(before, after, before, rule="hold").outcome == "rejected"


def test_a_failing_guard_rejects_whatever_the_gain() -> None:
    before = report(suite("t", "target", scores(50)), suite("g", "guard", scores(200)))
    after = report(suite("t", "target", scores(200)), suite("g", "guard", scores(180)))
    assert gate(before, after, before).outcome == "rejected"


def test_a_guard_below_its_floor_rejects_even_if_it_did_not_fall() -> None:
    guard = suite("g", "guard", scores(150), floor=0.9)
    before = report(suite("t", "target", scores(50)), guard)
    after = report(suite("t", "target", scores(150)), guard)
    assert gate(before, after, before).outcome == "rejected"


def test_a_monitor_is_reported_and_binds_nothing() -> None:
    before = report(suite("t", "target", scores(50)), suite("m", "monitor", scores(200)))
    after = report(suite("t", "target", scores(150)), suite("m", "monitor", scores(0)))
    decision = gate(before, after, before)
    assert decision.outcome == "promoted"
    assert any(check.name.startswith("monitor") for check in decision.checks)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: replace(s, fingerprint="other"), "has changed"),
        (lambda s: replace(s, items=(*s.items[1:], s.items[0])), "same items"),
        (lambda s: replace(s, items=tuple(replace(i, score=None) for i in s.items[:5]) + s.items[5:]), "195 of 200"),
        (lambda s: replace(s, items=()), "same items"),
        (lambda s: replace(s, suite="renamed"), "other suites"),
    ],
)
def test_what_cannot_be_compared_is_invalid(change: object, says: str) -> None:
    before = report(suite("t", "target", scores(50)))
    after = report(change(before.suites[0]))  # type: ignore[operator]
    decision = gate(before, after, before)
    assert decision.outcome == "invalid"
    assert says in decision.sentence


def test_no_target_is_invalid() -> None:
    only = report(suite("r", "regression", scores(50)))
    assert gate(only, only, only).outcome == "invalid"


def test_an_unscored_item_is_left_out_and_is_not_zero() -> None:
    before = report(suite("t", "target", [1.0] * 200 + [0.0] * 100))
    after_scores: list[float | None] = [None, *[1.0] * 299]
    decision = gate(before, report(suite("t", "target", after_scores)), before)
    assert decision.outcome == "promoted"
    assert decision.checks[0].estimate == pytest.approx(100 / 301)


def test_a_suite_too_small_for_its_margin_says_so() -> None:
    before = report(suite("t", "target", scores(50)), suite("r", "regression", scores(6, 12)))
    after = report(suite("t", "target", scores(150)), suite("r", "regression", scores(6, 12)))
    decision = gate(before, after, before, GateConfig(), look=2)
    assert decision.outcome == "inconclusive"
    assert any("underpowered" in check.note for check in decision.checks)


def test_each_of_two_looks_is_at_pococks_level() -> None:
    """By hand for 6 gained and 1 lost of 200: m = 5/202, sum of squares 9 - 202 m^2 = 8.8762, SE = 0.014786, so that
    m / SE = 1.674; the quantiles of t(201) are 1.6525 at .05 and 1.8849 at .0304. For 6 and 0 it is 2.12."""
    before = report(suite("t", "target", scores(50)))
    for lost, two in ((1, "inconclusive"), (0, "promoted")):
        after = report(suite("t", "target", [0.0] * lost + [1.0] * (56 - lost) + [0.0] * 144))
        assert gate(before, after, before, GateConfig(looks=1)).outcome == "promoted"
        decision = gate(before, after, before, GateConfig(), look=2)
        assert (decision.outcome, decision.look) == (two, 2)


def test_a_guard_that_is_not_shown_to_hold_is_refuted_only_at_the_last_look() -> None:
    before = report(suite("t", "target", scores(50)), suite("g", "guard", scores(60, 100)))
    after = report(suite("t", "target", scores(150)), suite("g", "guard", scores(57, 100)))
    assert gate(before, after, before, GateConfig(), look=1).outcome == "inconclusive"
    assert gate(before, after, before, GateConfig(), look=2).outcome == "rejected"


def test_where_no_failure_may_be_new_one_rejects_and_old_ones_do_not() -> None:
    target = suite("t", "target", scores(50)), suite("t", "target", scores(150))
    old = [1.0] * 30 + [0.0] * 10
    before = report(target[0], suite("i", "guard", old, rule="no_new_failures"))
    for new, outcome in ((old, "promoted"), ([1.0] * 40, "promoted"), ([*old[:29], 0.5, *old[30:]], "rejected")):
        after = report(target[1], suite("i", "guard", new, rule="no_new_failures"))
        decision = gate(before, after, before, GateConfig())
        assert decision.outcome == outcome
    assert "new failures: i-29" in decision.sentence


@pytest.mark.parametrize(
    ("right", "outcome", "says"),
    [(80, "promoted", "Confirmed"), (52, "inconclusive", "Neither"), (20, "rejected", "rolled back")],
)
def test_fresh_items_confirm_refute_or_do_neither(right: int, outcome: str, says: str) -> None:
    anchor, final = (report(suite("t", "target", scores(n, 100))) for n in (50, right))
    decision = confirm(anchor, final, GateConfig())
    assert decision.outcome == outcome
    assert says in decision.sentence
    held = confirm(anchor, final, GateConfig(), rule="hold")
    assert held.promoted == (right >= 50)


def test_a_floor_is_refuted_by_all_items_and_not_by_a_part_of_them() -> None:
    guard = suite("g", "guard", scores(176), floor=0.9)
    before = report(suite("t", "target", scores(50)), guard)
    after = report(suite("t", "target", scores(150)), guard)
    assert gate(before, after, before, GateConfig(), look=1).outcome == "inconclusive"
    decision = gate(before, after, before, GateConfig(), look=2)
    assert decision.outcome == "rejected"
    assert "guard g is at 88.0%, below its floor of 90.0%" in decision.sentence


def test_an_incident_with_partial_credit_may_not_lose_any_of_it_and_one_unscored_decides_nothing() -> None:
    target = suite("t", "target", scores(50)), suite("t", "target", scores(150))
    before = report(target[0], suite("i", "guard", [0.95] * 200, rule="no_new_failures"))
    worse = report(target[1], suite("i", "guard", [0.95] * 199 + [0.9], rule="no_new_failures"))
    assert gate(before, worse, before).outcome == "rejected"
    unscored = report(target[1], suite("i", "guard", [0.95] * 199 + [None], rule="no_new_failures"))
    decision = gate(before, unscored, before)
    assert decision.outcome == "inconclusive"
    assert "no longer scored: i-199" in decision.sentence


def test_a_candidate_cannot_take_its_items_out_of_their_clusters() -> None:
    before = report(suite("t", "target", scores(50)))
    items = tuple(replace(item, cluster="all") for item in before.suites[0].items)
    clustered = report(replace(before.suites[0], items=items))
    assert gate(clustered, before, clustered).outcome == "invalid"


def test_half_a_pair_is_invalid() -> None:
    target = suite("t", "target", scores(50))
    half = report(target, suite("g", "guard", scores(200), pair="h"))
    decision = gate(half, half, half)
    assert (decision.outcome, "g means nothing without h" in decision.sentence) == ("invalid", True)
    whole = report(*half.suites, suite("h", "guard", scores(200), pair="g"))
    assert gate(whole, whole, whole).outcome != "invalid"
