"""Kappa and prediction-powered means against published figures, closed forms, and simulation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from harness.agreement import cohen_kappa, prediction_powered_mean
from harness.statistics import mean_interval

ABC = ("a", "b", "t")


def alone(count: int) -> list[str]:
    return [str(i) for i in range(count)]


def items(table: Sequence[Sequence[int]]) -> list[tuple[str, str]]:
    return [(ABC[r], ABC[c]) for r in range(3) for c in range(3) for _ in range(table[r][c])]


def closed_form_error(table: Sequence[Sequence[int]]) -> float:
    """Fleiss, Cohen and Everitt (1969), cell by cell."""
    p = np.array(table) / np.sum(table)
    rows, columns = p.sum(1), p.sum(0)
    observed, expected = np.trace(p), rows @ columns
    a = sum(p[i, i] * ((1 - expected) - (rows[i] + columns[i]) * (1 - observed)) ** 2 for i in range(3))
    off = [(i, j) for i in range(3) for j in range(3) if i != j]
    b = (1 - observed) ** 2 * sum(p[i, j] * (columns[i] + rows[j]) ** 2 for i, j in off)
    c = (observed * expected - 2 * expected + observed) ** 2
    return math.sqrt((a + b - c) / np.sum(table)) / (1 - expected) ** 2


def test_kappa_of_two_diagnosticians() -> None:
    """Fleiss, Levin and Paik, Statistical Methods for Rates and Proportions, table 18.1: 0.676. By hand: 89 of 100
    agree, and .80 * .80 + .10 * .05 + .10 * .15 = .66 would by chance, so (.89 - .66) / .34."""
    kappa = cohen_kappa(items([[75, 1, 4], [5, 4, 1], [0, 0, 10]]), alone(100), ABC, alpha=0.025)
    assert kappa is not None
    assert kappa.estimate == pytest.approx(0.23 / 0.34)
    assert kappa.lower < kappa.estimate < kappa.upper


def test_the_standard_error_is_that_of_the_closed_form() -> None:
    """Of a sample that is large enough for the two items that are added not to matter."""
    table = [[75_000, 1_000, 4_000], [5_000, 4_000, 1_000], [0, 0, 10_000]]
    kappa = cohen_kappa(items(table), alone(100_000), ABC, alpha=0.025)
    assert kappa is not None
    assert kappa.standard_error == pytest.approx(closed_form_error(table), rel=1e-3)


def test_kappa_at_its_ends() -> None:
    perfect = cohen_kappa(items([[3, 0, 0], [0, 3, 0], [0, 0, 0]]), alone(6), ABC, alpha=0.025)
    assert perfect is not None
    assert (perfect.estimate, perfect.upper) == (1.0, 1.0)
    assert perfect.lower < 0.5  # six agreements are no proof
    chance = cohen_kappa(items([[25, 25, 0], [25, 25, 0], [0, 0, 0]]), alone(100), ABC, alpha=0.025)
    assert chance is not None
    assert chance.estimate == pytest.approx(0.0)
    assert chance.lower < 0 < chance.upper
    assert cohen_kappa(items([[9, 0, 0], [0, 0, 0], [0, 0, 0]]), alone(9), ABC, alpha=0.025) is None
    assert cohen_kappa([], [], ABC, alpha=0.025) is None


def test_copies_of_a_prompt_are_no_evidence() -> None:
    pairs = items([[6, 2, 1], [3, 7, 1], [1, 1, 1]])
    single = cohen_kappa(pairs, alone(len(pairs)), ABC, alpha=0.025)
    copied = cohen_kappa(pairs * 10, alone(len(pairs)) * 10, ABC, alpha=0.025)
    naive = cohen_kappa(pairs * 10, alone(10 * len(pairs)), ABC, alpha=0.025)
    assert single is not None
    assert copied is not None
    assert naive is not None
    assert copied.standard_error > 2.5 * naive.standard_error
    assert copied.standard_error == pytest.approx(single.standard_error, rel=0.2)


@pytest.mark.parametrize(("n", "noise", "size"), [(40, 0.3, 1), (40, 0.05, 1), (100, 0.6, 1), (120, 0.3, 4)])
def test_the_interval_of_kappa_covers(n: int, noise: float, size: int) -> None:
    """Two raters who see one truth and err at random; with `size` > 1, all items of a cluster are one pair of verdicts
    that each item keeps with probability a half. The 95% interval misses the true kappa in at most about 5%."""
    rng = np.random.default_rng(n + size)
    marginal = np.array([0.45, 0.4, 0.15])
    joint = (1 - noise) ** 2 * np.diag(marginal) + (1 - (1 - noise) ** 2) * np.outer(marginal, marginal)
    truth = (np.trace(joint) - marginal @ marginal) / (1 - marginal @ marginal)
    trials, misses = 1000, 0
    names = [str(i // size) for i in range(n)]
    for _ in range(trials):
        cells = rng.choice(9, size=n, p=joint.ravel())
        if size > 1:
            shared = np.repeat(rng.choice(9, size=n // size, p=joint.ravel()), size)
            cells = np.where(rng.random(n) < 0.5, shared, cells)
        kappa = cohen_kappa([(ABC[cell // 3], ABC[cell % 3]) for cell in cells], names, ABC, alpha=0.025)
        assert kappa is not None
        misses += not kappa.lower <= truth <= kappa.upper
    assert misses / trials <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)


def simulate(rng: np.random.Generator, n: int, total: int, rate: float, wrong: float, drift: float) -> np.ndarray:
    """[total, 2] of label and prediction; a prediction is wrong with probability `wrong`, and one more of the losses
    is called a win with probability `drift`."""
    labels = (rng.random(total) < rate).astype(float)
    flipped = np.where(rng.random(total) < wrong, 1 - labels, labels)
    return np.stack([labels, np.where(rng.random(total) < drift, 1.0, flipped)], axis=1)


@pytest.mark.parametrize(
    ("n", "total", "rate", "wrong", "drift"),
    [(40, 400, 0.6, 0.1, 0.2), (40, 400, 0.6, 0.5, 0.0), (100, 500, 0.9, 0.02, 0.0), (40, 200, 0.3, 0.9, 0.0)],
)
def test_the_corrected_rate_covers_and_is_narrow_if_the_judge_is_good(
    n: int, total: int, rate: float, wrong: float, drift: float
) -> None:
    """A judge that is partial, worthless, good, or mostly wrong: the 95% interval misses the true rate in at most
    about 5%, and it is as wide as that of the labels alone, or narrower."""
    rng = np.random.default_rng(total)
    trials, misses, widths = 600, 0, []
    for _ in range(trials):
        rows = simulate(rng, n, total, rate, wrong, drift)
        few, many = [tuple(row) for row in rows[:n]], list(rows[n:, 1])
        found = prediction_powered_mean(few, alone(n), many, [f"m{i}" for i in range(len(many))], alpha=0.025)
        classic = mean_interval([y for y, _ in few], alone(n), alpha=0.025)
        misses += not found.interval.lower <= rate <= found.interval.upper
        widths.append((found.interval.standard_error, classic.standard_error))
    assert misses / trials <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)
    ours, theirs = np.mean(widths, axis=0)
    assert ours < (0.85 if wrong <= 0.1 else 1.03) * theirs


def test_a_partial_judge_misleads_alone_and_is_put_right() -> None:
    rng = np.random.default_rng(7)
    rows = simulate(rng, 200, 5000, 0.5, 0.0, 0.5)
    assert rows[:, 1].mean() > 0.7
    few, many = [tuple(row) for row in rows[:200]], list(rows[200:, 1])
    found = prediction_powered_mean(few, alone(200), many, [f"m{i}" for i in range(4800)], alpha=0.025)
    assert found.interval.lower < 0.5 < found.interval.upper < 0.6


def test_without_predictions_it_is_the_mean_of_the_labels() -> None:
    labels = [1.0, 0.0, 0.5, 1.0, 1.0, 0.0]
    clusters = ["x", "x", "y", "z", "z", "w"]
    classic = mean_interval(labels, clusters, alpha=0.025)
    for few in ([(y, y) for y in labels], [(y, 0.5) for y in labels]):
        many = [] if few[0][1] == 1.0 else [0.5] * 9  # none, or all alike
        found = prediction_powered_mean(few, clusters, many, alone(len(many)), alpha=0.025)
        assert found.weight == 0.0
        assert found.interval.estimate == pytest.approx(3.5 / 6)
        assert found.interval.lower == pytest.approx(classic.lower)
        assert found.interval.standard_error == pytest.approx(classic.standard_error)


def test_without_labels_there_is_nothing_to_say() -> None:
    with pytest.raises(ValueError, match="no labels"):
        prediction_powered_mean([], [], [1.0], ["a"], alpha=0.025)


def test_lambda_and_the_standard_error_by_hand() -> None:
    """cov(y, f) = 1/3 over the four labelled; var(f) over all eight is 2/7; n/N = 1: lambda = (1/3) / (2 * 2/7)."""
    few = [(1.0, 1.0), (0.0, 0.0), (1.0, 1.0), (0.0, 0.0)]
    found = prediction_powered_mean(few, alone(4), [1.0, 0.0, 1.0, 0.0], list("wxyz"), alpha=0.025)
    weight = (1 / 3) / (2 * 2 / 7)
    assert found.weight == pytest.approx(weight)
    rests, ends, guesses = 4 * ((1 - weight) / 12) ** 2, 2 * ((1 + weight) / 12) ** 2, 4 * (weight / 8) ** 2
    assert found.interval.standard_error == pytest.approx(math.sqrt(6 / 5 * (rests + ends + guesses)))
    assert found.interval.estimate == pytest.approx(0.5)
