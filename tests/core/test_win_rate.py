"""Win rates in both orders, and at equal length: against a GLM of statsmodels, and judges of known habits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import t

from harness.errors import ConfigError
from harness.judging import Bench
from harness.types import Completion, Group, Prompt, Sampling, Score
from harness.win_rate import Verdict, judge_both_orders, length_controlled, win_rate


class Habit:
    """Values an answer by its text and the place it is shown in."""

    def __init__(self, value: Callable[[str, int], float | None]) -> None:
        self.value = value

    def score(self, groups: Sequence[Group]) -> list[tuple[Score, ...]]:
        return [tuple(self._one(c.text, place) for place, c in enumerate(group.completions)) for group in groups]

    def _one(self, text: str, place: int) -> Score:
        value = self.value(text, place)
        return Score.abstained("habit") if value is None else Score("habit", value)


def pair(number: int, first: str, second: str) -> Group:
    completions = (Completion(first, ()), Completion(second, ()))
    return Group(Prompt(str(number), ({"role": "user", "content": "?"},)), (), completions, "v", Sampling())


def asked(value: Callable[[str, int], float | None], *pairs: tuple[str, str]) -> list[Verdict | None]:
    bench = Bench({"habit": Habit(value)}, {"habit": 1.0})
    return judge_both_orders(bench, [pair(number, *texts) for number, texts in enumerate(pairs)])


def test_a_judge_of_places_alone_prefers_nobody() -> None:
    verdicts = asked(lambda text, place: 1.0 - place, ("a", "bb"), ("ccc", "d"))
    assert [(v.won, v.flipped) for v in verdicts if v] == [(0.5, True)] * 2
    found = win_rate("habit", verdicts, alpha=0.025)
    assert (found.rate.estimate, found.order_flips, found.ties) == (0.5, 1.0, 0.0)


def test_a_judge_of_texts_says_the_same_in_both_orders() -> None:
    verdicts = asked(lambda text, place: float(text == "good"), ("bad", "good"), ("good", "bad"), ("bad", "bad"))
    assert [(v.won, v.flipped, v.lengths) for v in verdicts if v] == [
        (1.0, False, (3, 4)),
        (0.0, False, (4, 3)),
        (0.5, False, (3, 3)),
    ]
    found = win_rate("habit", verdicts, alpha=0.025)
    assert (found.rate.estimate, found.ties, found.order_flips, found.longer) == (0.5, 1 / 3, 0.0, 0.5)


def test_a_place_that_breaks_ties_is_a_flip_and_one_that_does_not_is_none() -> None:
    [verdict] = asked(lambda text, place: {"good": 1.0, "bad": 0.2}[text] - 0.1 * place, ("bad", "good"))
    assert verdict is not None
    assert (verdict.won, verdict.flipped) == (1.0, False)


def test_what_is_unscored_is_left_out_and_is_no_loss() -> None:
    verdicts = asked(lambda text, place: None if text == "?" else float(len(text)) / 10, ("?", "aa"), ("a", "aa"))
    found = win_rate("habit", verdicts, alpha=0.025)
    assert (found.pairs, found.unscored, found.rate.n, found.rate.estimate) == (2, 1, 1, 1.0)
    with pytest.raises(ConfigError, match="scores none of 1 pairs"):
        win_rate("habit", verdicts[:1], alpha=0.025)


# ---------------------------------------------------------------- length


def drawn(seed: int, *, theta: float, phi: float, n: int = 4000) -> list[Verdict]:
    """Outcomes with these coefficients; the second's answers are longer by 40 characters on average."""
    rng = np.random.default_rng(seed)
    first = rng.integers(50, 250, size=n)
    second = first + rng.normal(40, 80, size=n).astype(int)
    differences = second - first
    terms = np.tanh(differences / differences.std())
    won = rng.random(n) < 1 / (1 + np.exp(-(theta + phi * terms)))
    return [
        Verdict(float(w), False, (int(a), int(b)), str(i // 2))
        for i, (w, a, b) in enumerate(zip(won, first, second, strict=True))
    ]


def test_it_is_the_glm_with_the_prior_in_its_data() -> None:
    verdicts = drawn(0, theta=0.3, phi=0.8, n=300)
    differences = np.array([v.lengths[1] - v.lengths[0] for v in verdicts])
    terms = np.append(np.tanh(differences / differences.std()), [-1, -1, 1, 1])
    y = np.append([v.won for v in verdicts], [0, 1, 0, 1])
    groups = np.append([int(v.cluster) for v in verdicts], [1000, 1001, 1002, 1003])
    count = len(np.unique(groups))
    oracle = sm.GLM(y, sm.add_constant(terms), family=sm.families.Binomial()).fit(
        cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False}, tol=1e-12
    )
    fitted = length_controlled(verdicts, alpha=0.025)
    assert fitted is not None
    (rate, low, high), (phi, least, most) = fitted
    reach = t.ppf(0.975, count - 1) * oracle.bse * math.sqrt(count / (count - 1))
    theta = oracle.params[0]
    assert [rate, low, high] == pytest.approx(
        [1 / (1 + math.exp(-x)) for x in (theta, theta - reach[0], theta + reach[0])]
    )
    assert [phi, least, most] == pytest.approx([oracle.params[1] + sign * reach[1] for sign in (0, -1, 1)], abs=1e-7)


def test_a_judge_of_length_alone_has_no_winner_at_equal_length() -> None:
    """All that the second wins, it wins by being longer."""
    verdicts = drawn(1, theta=0.0, phi=2.0)
    found = win_rate("j", verdicts, alpha=0.025)
    assert found.rate.lower > 0.55
    assert found.at_equal_length is not None
    assert found.length_effect is not None
    assert found.at_equal_length[1] < 0.5 < found.at_equal_length[2]
    assert found.length_effect[1] > 1.5
    assert found.longer > 0.6


def test_a_judge_that_cares_nothing_for_length_has_the_plain_rate() -> None:
    found = win_rate("j", drawn(2, theta=0.7, phi=0.0), alpha=0.025)
    assert found.at_equal_length is not None
    assert found.length_effect is not None
    assert found.at_equal_length[0] == pytest.approx(found.rate.estimate, abs=0.02)
    assert found.at_equal_length[1] < 1 / (1 + math.exp(-0.7)) < found.at_equal_length[2]
    assert found.length_effect[1] < 0 < found.length_effect[2]


@pytest.mark.parametrize("lengths", [(10, 10), (10, 30)])
def test_wins_without_exception_are_finite(lengths: tuple[int, int]) -> None:
    """Equal lengths everywhere, and outcomes that go with length in every pair."""
    verdicts = [Verdict(1.0, False, lengths, f"w{i}") for i in range(30)]
    verdicts += [Verdict(0.0, False, lengths[::-1], f"l{i}") for i in range(20)]
    found = win_rate("j", verdicts, alpha=0.025)
    assert found.at_equal_length is not None
    assert 0.0 < found.at_equal_length[1] < found.at_equal_length[0] < found.at_equal_length[2] < 1.0
    if lengths[0] == lengths[1]:
        assert found.at_equal_length[0] == pytest.approx(32 / 54)


def test_what_a_policy_is_worth_at_equal_length_is_not_made_up_where_no_pair_shows_it() -> None:
    always = [Verdict(1.0, False, (10, 24), str(i)) for i in range(50)]
    found = win_rate("j", always, alpha=0.025)
    assert (found.at_equal_length, found.length_effect) == (None, None)
    assert (found.rate.estimate, found.longer) == (1.0, 1.0)
    assert win_rate("j", [*always, Verdict(0.5, False, (9, 9), "equal")], alpha=0.025).at_equal_length is not None
