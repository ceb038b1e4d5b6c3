"""The `panel` judge, made of judges whose verdicts are known."""

from __future__ import annotations

import json
from typing import Any

import pytest
from telling_judges import Telling, group_of, make, told

from harness.errors import ConfigError
from harness.types import Score


def verdict(*verdicts: float | str, **config: Any) -> Score:
    """What a panel of as many members makes of them; their weights are in `weights`."""
    weights = config.pop("weights", [1.0] * len(verdicts))
    names = ("alpha", "beta", "gamma", "delta")
    members = [told(n, {"x": v}, weight=w) for n, v, w in zip(names, verdicts, weights, strict=False)]
    ((score,),) = make("panel", members=members, **config).score([group_of("x")])
    assert score.judge == "panel"
    return score


def test_the_mean_is_weighted() -> None:
    assert verdict(1.0, 0.5).value == 0.75
    assert verdict(1.0, 0.5, 0.0, weights=[2, 1, 1]).value == pytest.approx((2 + 0.5) / 4)
    assert verdict(1.0, 1.0, 1.0, weights=[0.1, 0.2, 0.7]).value == 1.0


@pytest.mark.parametrize(
    ("values", "weights", "value"),
    [
        ((0.5, 0.9, 0.0), (1, 1, 1), 1.0),  # 0.5 is a vote for
        ((0.49, 0.9, 0.0), (1, 1, 1), 0.0),
        ((0.49, 0.9, 0.0), (1, 3, 1), 1.0),
        ((1.0, 0.0), (1, 1), None),
        ((1.0, 1.0, 0.0), (0.1, 0.2, 0.3), None),  # a tie, though not in binary fractions
        ((1.0, 0.0, "abstained"), (1, 1, 1), None),
        ((1.0, 1.0, "failed"), (1, 1, 5), 1.0),
    ],
)
def test_a_majority_votes_and_a_tie_is_no_opinion(
    values: tuple[float | str, ...], weights: tuple[float, ...], value: float | None
) -> None:
    score = verdict(*values, weights=weights, how="majority")
    assert score.value == value
    if value is None:
        assert (score.status, score.label) == ("abstained", "tie")


@pytest.mark.parametrize(
    ("verdicts", "quorum", "status"),
    [
        ((1.0, 1.0, "failed"), None, "scored"),
        ((1.0, "failed", "failed"), None, "failed"),
        ((1.0, "failed", "failed"), 1, "scored"),
        ((1.0, 1.0, "failed"), 3, "failed"),
        ((1.0, "abstained", "failed"), None, "failed"),  # with the one that failed there might have been two
        ((1.0, "abstained", "abstained"), None, "abstained"),
        (("failed", "abstained", "abstained"), 2, "abstained"),  # even with it there would be one
        (("abstained", "abstained", "abstained"), 1, "abstained"),
    ],
)
def test_a_quorum_is_missed_by_failures_alone(
    verdicts: tuple[float | str, ...], quorum: int | None, status: str
) -> None:
    assert verdict(*verdicts, quorum=quorum).status == status


def test_it_tells_what_each_said_and_adds_up_what_was_paid() -> None:
    members = [
        told("alpha", {"x": 0.25}),
        told("gamma", {"x": "failed"}, paid=0.5, family="north"),
        told("delta", {"x": 1.0}, paid=0.25),
    ]
    ((score,),) = make("panel", members=members).score([group_of("x")])
    assert score.explanation == "alpha 0.25, north failed (told so), delta 1"
    assert (score.value, score.cost, score.tokens, score.latency) == (0.625, 0.75, 7, 1.5)
    assert json.loads(score.raw) == {"north": "gamma on x", "delta": "delta on x"}


def test_figures_say_how_far_members_agree_and_how_often_they_fail() -> None:
    says = (
        {"a": 1.0, "b": 0.0, "c": 0.5, "d": "abstained"},
        {"a": 0.75, "b": 1.0, "c": 0.5, "d": 1.0},
        {"a": "failed", "b": 0.0, "c": "failed", "d": "abstained"},
    )
    members = [told(name, said) for name, said in zip(("alpha", "beta", "gamma"), says, strict=True)]
    for how, agreement in (
        # pairs: a: .75; b: 0, 1, 0; c: 1; d: none
        ("mean", (0.75 + 0 + 1 + 0 + 1) / 5),
        ("majority", (1 + 0 + 1 + 0 + 1) / 5),
    ):
        panel = make("panel", members=members, how=how)
        assert "agreement" not in panel.figures()
        panel.score([group_of("a", "b"), group_of("c")])
        panel.score([group_of("d")])
        figures = panel.figures()
        assert figures.pop("agreement") == pytest.approx(agreement)
        assert figures == {
            "alpha/failed": 0.0,
            "beta/failed": 0.0,
            "gamma/failed": 0.5,
            **{f"{name}/requests": 4.0 for name in ("alpha", "beta", "gamma")},
        }


def test_members_of_one_family_are_refused_unless_told_otherwise() -> None:
    twins = [told("gamma", {"x": 1.0}), told("gamma", {"x": 0.0})]
    with pytest.raises(ConfigError, match="two members are of family 'gamma'"):
        make("panel", members=twins)
    with pytest.raises(ConfigError, match="two members are of family 'n'"):
        make("panel", members=[told("gamma", {}, family="n"), told("delta", {}, family="n")])
    with pytest.raises(ConfigError, match="two members are of family 'small'"):
        make("panel", members=[told("gamma", {}, model="small"), told("delta", {}, model="small")])
    make("panel", members=[told("gamma", {}, model="small"), told("gamma", {}, model="large")])
    told_apart = [{**twins[0], "family": "north"}, {**twins[1], "family": "south"}]
    ((score,),) = make("panel", members=told_apart).score([group_of("x")])
    assert score.explanation == "north 1, south 0"
    ((score,),) = make("panel", members=twins, same_family=True).score([group_of("x")])
    assert score.explanation == "gamma-1 1, gamma-2 0"


def test_a_panel_that_cannot_decide_is_refused() -> None:
    with pytest.raises(ConfigError, match="a quorum of 3 is more than the 2 members"):
        make("panel", members=[told("alpha", {}), told("beta", {})], quorum=3)
    with pytest.raises(ConfigError, match="members"):
        make("panel", members=[told("alpha", {})])


def test_it_closes_its_members() -> None:
    panel = make("panel", members=[told("alpha", {}), told("beta", {})])
    judges = [member.judge for member in panel.members]
    assert all(isinstance(judge, Telling) and not judge.closed for judge in judges)
    panel.close()
    assert all(judge.closed for judge in judges)
