"""The judges of likelihood suites, on numbers that are worked out by hand."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from judge_cases import Verdicts

from harness.errors import ConfigError, PluginError
from harness.protocols import RunContext
from harness.testing import assert_judge
from harness.types import Completion, Group, Prompt, Sampling
from harness_judges.likelihood import LikelihoodJudge
from harness_judges.plugin import harness_register_judges
from harness_judges.settings import LikelihoodConfig

SPECS = {spec.name: spec for spec in harness_register_judges()}


def given(text: str, *probabilities: float) -> Completion:
    """A text whose tokens have these probabilities."""
    return Completion(text, tuple(range(len(probabilities))), tuple(map(math.log, probabilities)), "length")


def choosing(*texts: str, gold: Any) -> Prompt:
    return Prompt("q1", (), target=json.dumps({"choices": texts, "gold": gold}))


# ---------------------------------------------------------------- likelihood


def test_the_value_is_one_over_the_perplexity(verdicts: Verdicts) -> None:
    (score,) = verdicts("likelihood", Prompt("d", ()), given("abcdef", 0.5, 0.125))
    assert score.value == pytest.approx(0.25)  # the geometric mean of 1/2 and 1/8
    assert score.explanation == "1.3863 nats per token, perplexity 4, 2 tokens"


def test_by_byte_it_is_two_to_the_minus_bits_per_byte(verdicts: Verdicts) -> None:
    (score,) = verdicts("likelihood", Prompt("d", ()), given("aé-", 0.5, 0.125), per="byte")
    assert score.value == pytest.approx(2 ** -(4 / 4))  # 1 + 3 bits over 4 bytes


def test_figures_are_of_all_tokens_together() -> None:
    judge = LikelihoodJudge(LikelihoodConfig())
    assert judge.figures() == {}
    groups = [
        Group(Prompt(name, ()), (1,), (completion,), "base", Sampling())
        for name, completion in [("a", given("12345678", 0.5)), ("b", given("1234", 0.25, 0.5, 0.25))]
    ]
    for group in groups:  # figures are of everything since the judge was made
        judge.score([group])
    figures = judge.figures()
    assert figures["bits_per_byte"] == pytest.approx(6 / 12)  # 1 bit, then 2 + 1 + 2
    assert figures["nats_per_token"] == pytest.approx(6 / 4 * math.log(2))
    assert figures["perplexity"] == pytest.approx(2**1.5)


def test_what_no_policy_has_seen_is_unscored(verdicts: Verdicts) -> None:
    drawn, empty, broken = Completion("x", (1,)), Completion("", (), ()), Completion("x", (1,), (math.nan,))
    scores = verdicts("likelihood", Prompt("d", ()), drawn, empty, broken)
    assert [score.status for score in scores] == ["abstained", "abstained", "failed"]
    scores = verdicts("choice", choosing("a", "b", gold=0), given("a", 0.5), drawn)
    assert [score.status for score in scores] == ["abstained", "abstained"]
    assert verdicts("choice", Prompt("d", ()), drawn)[0].status == "abstained"


# ---------------------------------------------------------------- choice


@pytest.mark.parametrize(
    ("normalize", "likeliest"),
    [
        ("none", 0),  # 3 bits against 4 and 5
        ("characters", 1),  # 3/1 against 4/4 and 5/4
        ("bytes", 2),  # 3/1 against 4/4 and 5/8
        ("tokens", 1),  # 3/1 against 4/4 and 5/2
    ],
)
def test_the_likeliest_choice_depends_on_what_it_is_divided_by(
    verdicts: Verdicts, normalize: str, likeliest: int
) -> None:
    completions = given("y", 1 / 8), given("yyyy", 0.5, 0.5, 0.5, 0.5), given("éééé", 1 / 4, 1 / 8)
    for gold in range(3):
        scores = verdicts("choice", choosing("y", "yyyy", "éééé", gold=gold), *completions, normalize=normalize)
        right = gold == likeliest
        assert [(s.value, s.label) for s in scores] == [(float(right), "ok" if right else "wrong_choice")] * 3


def test_several_may_be_right_and_a_tie_goes_to_the_first(verdicts: Verdicts) -> None:
    tied = given("a", 0.2), given("b", 0.4), given("c", 0.4)
    for gold, value in [([0, 1], 1.0), ([0, 2], 0.0), (1, 1.0), (2, 0.0)]:
        assert verdicts("choice", choosing("a", "b", "c", gold=gold), *tied)[0].value == value


def test_lengths_are_those_of_the_choices_without_their_delimiter(verdicts: Verdicts) -> None:
    target = {"choices": ["a", "bbb"], "gold": 1, "delimiter": " "}
    completions = given(" a", 2**-2), given(" bbb", 2**-5)  # 2/1 against 5/3; with the space 2/2 against 5/4
    (score, _) = verdicts("choice", Prompt("q", (), target=json.dumps(target)), *completions, normalize="characters")
    assert score.value == 1.0


@pytest.mark.parametrize(
    "target",
    [
        {"choices": ["a"], "gold": 0},
        {"choices": ["a", ""], "gold": 0},
        {"choices": "ab", "gold": 0},
        {"choices": ["a", "b"]},
        {"choices": ["a", "b"], "gold": 2},
        {"choices": ["a", "b"], "gold": -1},
        {"choices": ["a", "b"], "gold": True},
        {"choices": ["a", "b"], "gold": []},
        {"choices": ["a", "b"], "gold": "a"},
        {"choices": ["a", "b"], "gold": 0, "delimiter": 1},
    ],
)
def test_choices_that_are_wrong_are_the_suites_fault(verdicts: Verdicts, target: Any) -> None:
    with pytest.raises(ConfigError, match="prompt q1"):
        verdicts("choice", Prompt("q1", (), target=json.dumps(target)), given("a", 0.5), given("b", 0.5))


def test_there_is_a_completion_for_each_choice(verdicts: Verdicts) -> None:
    with pytest.raises(PluginError, match="1 completions for 2 choices"):
        verdicts("choice", choosing("a", "b", gold=0), given("a", 0.5))


@pytest.mark.parametrize("name", ["likelihood", "choice"])
def test_they_keep_the_contract_of_judges(name: str) -> None:
    groups = [
        Group(choosing("a", "b", gold=1), (1,), (given("a", p), given("b", 0.5)), "base", Sampling())
        for p in (0.1, 0.9)
    ]
    assert_judge(SPECS[name], groups=groups)
    assert_judge(SPECS[name], context=RunContext())
