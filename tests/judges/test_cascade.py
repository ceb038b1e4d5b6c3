"""The `cascade` judge, made of judges whose verdicts are known."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from telling_judges import group_of, make, told

from harness.errors import ConfigError, PluginError

RULE = {"good": 1.0, "bad": 0.0, "unsure": 0.5, "silent": "abstained", "broken": "failed", "hard": 0.6}
MODEL = {"unsure": 0.25, "silent": 0.75, "hard": "abstained"}


def cascade(**first: Any) -> Any:
    rules = {"low": 0.0, "high": 1.0, **first}
    return make("cascade", stages=[told("alpha", RULE, **rules), told("gamma", MODEL, paid=0.5)])


def test_the_first_stage_that_is_sure_decides() -> None:
    scores = cascade().score([group_of("good", "unsure", "bad"), group_of("silent", "broken", "hard")])
    assert [[score.value for score in row] for row in scores] == [[1.0, 0.25, 0.0], [0.75, None, None]]
    assert [score.status for score in scores[1]] == ["scored", "failed", "abstained"]
    assert {score.judge for row in scores for score in row} == {"cascade"}
    assert scores[0][1].explanation == "alpha 0.5, gamma 0.25"
    assert scores[1][1].explanation == "alpha failed (told so)"


@pytest.mark.parametrize(
    ("rules", "decided"),
    [
        ({"low": 0.0, "high": 0.6}, {"good", "bad", "hard"}),  # bounds are inclusive
        ({"low": 0.5, "high": None}, {"bad", "unsure"}),
        ({"low": None, "high": 0.5}, {"good", "unsure", "hard"}),
    ],
)
def test_either_bound_may_be_absent(rules: dict[str, float | None], decided: set[str]) -> None:
    texts = ("good", "bad", "unsure", "hard")
    judge = make("cascade", stages=[told("alpha", RULE, **rules), told("gamma", dict.fromkeys(texts, 0.1))])
    (scores,) = judge.score([group_of(*texts)])
    assert {text for text, score in zip(texts, scores, strict=True) if score.value != 0.1} == decided


def test_later_stages_see_the_undecided_alone_in_groups_as_they_were() -> None:
    judge = cascade()
    whole = group_of("good", "unsure", "bad", "silent", id="a")
    judge.score([whole, group_of("good", "bad", id="b"), group_of("hard", id="c")])
    first, second = (stage.judge for stage in judge.stages)
    assert first.shown[0] == whole
    assert [group.prompt.id for group in second.shown] == ["a", "c"]
    assert second.shown[0] == replace(whole, completions=(whole.completions[1], whole.completions[3]))


def test_nobody_is_asked_when_all_is_decided() -> None:
    judge = cascade()
    judge.score([group_of("good", "bad")])
    assert judge.stages[1].judge.shown == []
    assert judge.score([]) == []


def test_what_was_paid_adds_up() -> None:
    stages = [told("alpha", RULE, paid=0.25, high=1.0), told("gamma", MODEL, paid=0.5)]
    (scores,) = make("cascade", stages=stages).score([group_of("good", "unsure")])
    assert [score.cost for score in scores] == [0.25, 0.75]
    assert [score.tokens for score in scores] == [2, 7]
    assert json.loads(scores[1].raw) == {"alpha": "alpha on unsure", "gamma": "gamma on unsure"}


def test_figures_are_the_shares_that_each_stage_decided() -> None:
    judge = cascade()
    assert "alpha/decided" not in judge.figures()
    judge.score([group_of("good", "unsure", "bad", "silent")])
    judge.score([group_of("good", "broken", "hard", "unsure")])
    assert judge.figures() == {
        "alpha/decided": 3 / 8,
        "gamma/decided": 3 / 8,  # the rest failed or abstained
        "alpha/requests": 8.0,
        "gamma/requests": 4.0,
    }


@pytest.mark.parametrize(
    ("stages", "says"),
    [
        ([told("alpha", {}), told("beta", {})], "stage alpha decides nothing"),
        ([told("alpha", {}, high=1.0), told("beta", {}, low=0.0)], "beta is the last and decides all that is left"),
        ([told("alpha", {}, low=0.6, high=0.5), told("beta", {})], "low 0.6 is not below high 0.5"),
        ([told("alpha", {})], "stages"),
    ],
)
def test_stages_that_make_no_sense_are_refused(stages: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make("cascade", stages=stages)


def test_a_stage_is_held_to_its_contract() -> None:
    judge = cascade()
    judge.stages[1].judge.score = lambda groups: []
    with pytest.raises(PluginError, match="judge gamma: 0 verdict lists for 1 groups"):
        judge.score([group_of("unsure")])


def test_a_cascade_takes_panels_and_panels_take_built_ins() -> None:
    panel = {"members": [told("gamma", MODEL), told("delta", MODEL)], "how": "mean"}
    stages = [{"name": "length", "config": {"max": 0}, "high": 1.0}, {"name": "panel", "config": panel}]
    (scores,) = make("cascade", stages=stages).score([group_of("", "unsure")])
    assert [score.value for score in scores] == [1.0, 0.25]
    assert scores[1].explanation == "length 0, panel 0.25"
