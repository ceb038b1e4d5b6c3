"""Strengths, against choix (another implementation), a logistic GLM of statsmodels, and by hand."""

from __future__ import annotations

import math

import choix
import numpy as np
import pytest
import statsmodels.api as sm

from harness.bradley_terry import Outcome, connected, mm_strengths, ranking
from harness.logistic import fit_logistic


def played(*, seed: int = 0, logs: tuple[float, ...] = (0.6, 0.1, -0.2, -0.5), items: int = 120) -> list[Outcome]:
    """Every two meet on every item, items in clusters of three; a fifth of the meetings are ties."""
    rng = np.random.default_rng(seed)
    found = []
    for item in range(items):
        for i in range(len(logs)):
            for j in range(i + 1, len(logs)):
                won = float(rng.random() < 1 / (1 + math.exp(logs[j] - logs[i])))
                found.append(Outcome(i, j, 0.5 if rng.random() < 0.2 else won, f"c{item // 3}"))
    return found


def wins_of(outcomes: list[Outcome], count: int) -> list[list[float]]:
    wins = [[0.0] * count for _ in range(count)]
    for o in outcomes:
        wins[o.first][o.second] += o.result
        wins[o.second][o.first] += 1 - o.result
    return wins


def test_two_policies_by_hand() -> None:
    """Of two, the ratio of the strengths is that of the wins."""
    first, second = mm_strengths([[0, 30], [10, 0]])
    assert first / second == pytest.approx(3)
    assert first * second == pytest.approx(1)


def test_strengths_equal_those_of_choix() -> None:
    """choix knows no ties: every outcome counts twice, so that a tie is a win for each."""
    outcomes = played()
    wins = wins_of(outcomes, 4)
    doubled = [(i, j) for i in range(4) for j in range(4) for _ in range(round(2 * wins[i][j]))]
    oracle = choix.ilsr_pairwise(4, doubled, alpha=0.0)
    assert np.log(mm_strengths(wins)) == pytest.approx(oracle - oracle.mean(), abs=1e-7)
    oracle = choix.mm_pairwise(4, doubled, max_iter=10_000)
    assert np.log(mm_strengths(wins)) == pytest.approx(oracle - oracle.mean(), abs=1e-6)


def test_a_pair_that_never_met_is_placed_by_what_both_met() -> None:
    """a:b is 2 and b:c is 3, so a:c is 6."""
    a, _, c = mm_strengths([[0, 20, 0], [10, 0, 30], [0, 10, 0]])
    assert a / c == pytest.approx(6)


def test_coefficients_and_clustered_errors_equal_those_of_a_glm() -> None:
    outcomes = played()
    design = np.array([[(k == o.first) - (k == o.second) for k in range(1, 4)] for o in outcomes], dtype=float)
    y = np.array([o.result for o in outcomes])
    clusters = [o.cluster for o in outcomes]
    groups = np.unique(clusters, return_inverse=True)[1]
    oracle = sm.GLM(y, design, family=sm.families.Binomial()).fit(
        cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False}, tol=1e-12
    )
    ours = fit_logistic(design.tolist(), y.tolist(), clusters)
    assert ours.clusters == 40
    assert ours.coefficients_K == pytest.approx(oracle.params, abs=1e-8)
    assert ours.covariance_K_K * 39 / 40 == pytest.approx(oracle.cov_params(), rel=1e-6)
    logs = np.log(mm_strengths(wins_of(outcomes, 4)))
    assert ours.coefficients_K == pytest.approx(logs[1:] - logs[0], abs=1e-7)


@pytest.mark.parametrize(
    ("wins", "holds"),
    [
        ([[0, 1], [1, 0]], True),
        ([[0, 1], [0, 0]], False),  # undefeated
        ([[0, 1, 0], [1, 0, 0], [0, 0, 0]], False),  # the third never played
        ([[0, 1, 0], [0, 0, 1], [1, 0, 0]], True),  # round and round
        ([[0, 1, 1, 1], [1, 0, 1, 1], [0, 0, 0, 1], [0, 0, 1, 0]], False),  # two above, two below
    ],
)
def test_fords_condition(wins: list[list[float]], holds: bool) -> None:
    assert connected(wins) is holds
    if not holds:
        with pytest.raises(ValueError, match="never beaten"):
            mm_strengths(wins)


def test_an_undefeated_policy_has_a_finite_strength_and_the_ranking_says_so() -> None:
    outcomes = [Outcome(0, 1, 1.0, str(i)) for i in range(20)] + [
        Outcome(1, 2, float(i % 2), str(i)) for i in range(20)
    ]
    found = ranking(["a", "b", "c"], outcomes, alpha=0.025)
    assert found.regularized
    assert found.strengths[0].name == "a"
    assert all(math.isfinite(x) for s in found.strengths for x in (s.log_strength, s.lower, s.upper))
    assert sum(s.log_strength for s in found.strengths) == pytest.approx(0)
    # By hand: of two, one wins all 20, and each wins and loses once against a virtual opponent of log-strength 0.
    [first, second] = ranking(["a", "b"], outcomes[:20], alpha=0.025).strengths
    x = (first.log_strength - second.log_strength) / 2  # by symmetry they are x and -x
    p, q = 1 / (1 + math.exp(-2 * x)), 1 / (1 + math.exp(-x))
    assert 20 * (1 - p) + 1 - 2 * q == pytest.approx(0, abs=1e-7)  # the derivative of the likelihood


def test_policies_that_tie_on_everything_are_not_equal_for_certain() -> None:
    few, many = (
        ranking(
            ["a", "b", "c"],
            [Outcome(i, j, 0.5, str(n)) for n in range(count) for i, j in ((0, 1), (1, 2), (0, 2))],
            alpha=0.025,
        )
        for count in (10, 1000)
    )
    for found in (few, many):
        assert not found.regularized
        assert found.clear == (False, False)
        assert [s.log_strength for s in found.strengths] == pytest.approx([0, 0, 0], abs=1e-9)
    assert few.strengths[0].upper > 20 * many.strengths[0].upper > 0


def test_copies_of_an_item_are_no_evidence() -> None:
    outcomes = played(items=60)
    copies = [o for o in outcomes for _ in range(5)]
    one, five = (ranking("abcd", os, alpha=0.025) for os in (outcomes, copies))
    for s, t in zip(one.strengths, five.strengths, strict=True):
        assert t.log_strength == pytest.approx(s.log_strength, abs=1e-7)
        assert t.upper - t.lower == pytest.approx(s.upper - s.lower, rel=0.1)


def test_intervals_cover_the_truth() -> None:
    """Two-sided 95%, four strengths, 150 samples: from 92% to 98% of 600 are covered."""
    target, covered = np.log(mm_strengths(expected_wins((0.6, 0.1, -0.2, -0.5)))), 0
    for seed in range(150):
        found = ranking("abcd", played(seed=seed, items=100), alpha=0.025)
        for s in found.strengths:
            covered += s.lower <= target["abcd".index(s.name)] <= s.upper
    assert 0.92 <= covered / 600 <= 0.98


def expected_wins(logs: tuple[float, ...]) -> list[list[float]]:
    """Of `played`: a fifth of all are ties."""
    count = len(logs)
    return [
        [0.0 if i == j else 0.1 + 0.8 / (1 + math.exp(logs[j] - logs[i])) for j in range(count)] for i in range(count)
    ]


def test_who_is_shown_to_be_stronger() -> None:
    outcomes = [Outcome(0, 1, float(i % 10 < 7), str(i)) for i in range(400)]
    outcomes += [Outcome(1, 2, float(i % 2), str(i)) for i in range(400)]
    found = ranking(["a", "b", "c"], outcomes, alpha=0.025)
    assert found.strengths[0].name == "a"
    assert found.clear == (True, False)
    chance, lower, upper = found.chances["a"]["b"]
    assert chance == pytest.approx(0.7)
    assert 0.6 < lower < 0.7 < upper < 0.8
    assert found.chances["b"]["a"] == pytest.approx((1 - chance, 1 - upper, 1 - lower))


def test_outcomes_that_have_no_finite_fit_are_refused() -> None:
    """All wins; and two columns that are one."""
    with pytest.raises(ValueError, match=r"finite|determine"):
        fit_logistic([[1.0]] * 20, [1.0] * 20, [str(i) for i in range(20)])
    with pytest.raises(ValueError, match="determine"):
        fit_logistic([[1.0, 1.0]] * 4, [1.0, 0.0, 1.0, 0.0], list("abcd"))
