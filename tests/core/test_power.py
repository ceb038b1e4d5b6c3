"""What the gate's estimator can show: against the estimator itself, simulation, and statsmodels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from statsmodels.stats.power import TTestPower
from stored_evaluations import suite_report

from harness.power import (
    Design,
    _noncentral_t,
    gain_found,
    margin_shown,
    power,
    seen_between,
    seen_within,
    smallest_margin,
)
from harness.statistics import paired_interval

TRIALS = 1000


@pytest.mark.parametrize(("n", "size"), [(1, 1), (2, 1), (30, 1), (30, 5), (400, 8)])
@pytest.mark.parametrize("alpha", [0.05, 0.0304, 0.025])
def test_the_smallest_margin_is_the_reach_of_an_interval_without_differences(n: int, size: int, alpha: float) -> None:
    clusters = [str(i // size) for i in range(n)]
    interval = paired_interval([0.0] * n, clusters, alpha=alpha)
    assert smallest_margin(n, len(set(clusters)), alpha) == pytest.approx(-interval.lower, rel=1e-12)


def test_the_smallest_margin_needs_clusters_of_items() -> None:
    with pytest.raises(ValueError, match="9 clusters of 8 items"):
        smallest_margin(8, 9, 0.05)


# ---------------------------------------------------------------- against simulation


def draw(design: Design, gain: float, rng: np.random.Generator) -> list[float]:
    """Differences of verdicts, right or wrong. What lasts of an item's is drawn once for all its epochs, for a share of
    the items that is `icc` over the squared share of what lasts with all of its cluster; the rest each time anew."""
    n, size = design.n, design.n // design.clusters
    up = (design.discordant + gain) / 2

    def flips(shape: tuple[int, ...]) -> np.ndarray:
        return rng.choice([1.0, -1.0, 0.0], size=shape, p=[up, design.discordant - up, 1 - design.discordant])

    together = design.icc / (1 - design.noise) ** 2 if design.icc else 0.0
    own, shared = flips((n,)), flips((design.clusters,)).repeat(size)
    lasting = np.where(rng.random(design.clusters).repeat(size) < together, shared, own)
    anew = flips((n, design.epochs))
    kept = rng.random((n, 1)) < 1 - design.noise
    return list(np.where(kept, lasting[:, None], anew).mean(axis=1))


@pytest.mark.parametrize(
    "design",
    [
        Design(100, 100, discordant=0.1),
        Design(400, 400, discordant=0.05),
        Design(400, 400, discordant=0.1, alpha=0.0304),
        Design(200, 200, discordant=0.3),
        Design(300, 60, discordant=0.2, icc=0.4, noise=0.0),
        Design(300, 100, epochs=4, discordant=0.2, icc=0.15),
    ],
    ids=str,
)
@pytest.mark.parametrize("chance", [0.8, 0.9])
def test_margins_are_shown_as_often_as_is_said(design: Design, chance: float) -> None:
    margin = margin_shown(design, chance)
    assert shown(design, 0.0, -margin) == pytest.approx(chance, abs=0.03 + 2 * (0.25 / TRIALS) ** 0.5)


@pytest.mark.parametrize(
    "design",
    [Design(200, 200, discordant=0.2), Design(400, 400, discordant=0.1), Design(800, 800, discordant=0.3)],
    ids=str,
)
def test_gains_are_found_as_often_as_is_said(design: Design) -> None:
    gain = gain_found(design, 0.8)
    assert gain is not None
    assert shown(design, gain, 0.0) == pytest.approx(0.8, abs=0.03 + 2 * (0.25 / TRIALS) ** 0.5)


def test_where_all_flips_go_one_way_the_chance_is_understated() -> None:
    design = Design(100, 100, discordant=0.01)
    gain = gain_found(design, 0.8)
    assert gain is not None
    assert gain > design.discordant
    assert 0.8 <= shown(replace(design, discordant=gain), gain, 0.0) <= 0.87


def test_epochs_average_out_the_luck_of_the_draw_and_nothing_else() -> None:
    """Where nothing but luck flips verdicts, four epochs are worth four times the items; where none is, nothing."""
    one = Design(400, 400, discordant=0.2, noise=1.0)
    four = replace(one, epochs=4)
    assert shown(four, 0.0, -margin_shown(four, 0.8)) == pytest.approx(0.8, abs=0.03 + 2 * (0.25 / TRIALS) ** 0.5)
    assert margin_shown(four, 0.8) == pytest.approx(margin_shown(one, 0.8) / 2, rel=0.05)
    lasting = replace(one, noise=0.0)
    assert margin_shown(replace(lasting, epochs=4), 0.8) == margin_shown(lasting, 0.8)


def shown(design: Design, gain: float, above: float) -> float:
    """How often the bound exceeds `above`, of simulated evaluations."""
    rng = np.random.default_rng(7)
    size = design.n // design.clusters
    clusters = [str(i // size) for i in range(design.n)]
    hits = sum(
        paired_interval(draw(design, gain, rng), clusters, alpha=design.alpha).lower > above for _ in range(TRIALS)
    )
    return hits / TRIALS


# ---------------------------------------------------------------- against the textbook


@pytest.mark.parametrize("effect", [0.05, 0.1, 0.15])
def test_many_items_have_the_power_of_the_paired_t_test(effect: float) -> None:
    """Of 2000 items the two pseudo-items are one in a thousand."""
    variance = 0.5
    design = Design(2000, 2000, discordant=variance + (effect * variance**0.5) ** 2, noise=0.0)
    oracle = TTestPower().power(effect, nobs=2002, alpha=0.05, alternative="larger")
    assert power(design, gain=effect * variance**0.5) == pytest.approx(oracle, abs=0.01)


def test_the_noncentral_t_is_that_of_statsmodels_and_goes_on_where_scipy_stops() -> None:
    """Without pseudo-items the power is P(T > t), T with n - 1 degrees and effect * sqrt(n)."""
    from scipy.special import stdtrit

    for n, effect in ((10, 0.5), (50, 0.2), (400, 0.1)):
        oracle = TTestPower().power(effect, nobs=n, alpha=0.05, alternative="larger")
        ours = 1 - _noncentral_t(n - 1, effect * n**0.5, float(stdtrit(n - 1, 0.95)))
        assert ours == pytest.approx(oracle, abs=1e-9)
    assert _noncentral_t(3, 50.0, 1.6) == pytest.approx(0.0, abs=1e-9)
    assert _noncentral_t(400, -100.0, 100.0) == pytest.approx(1.0, abs=1e-9)


def test_power_grows_with_items_margin_and_gain_and_falls_with_flips_and_clusters() -> None:
    base = Design(400, 400)
    for better in (base.resized(800, 1), base.resized(400, 2), replace(base, discordant=0.05)):
        assert margin_shown(better, 0.8) < margin_shown(base, 0.8)
        assert (gain_found(better, 0.8) or 1) < (gain_found(base, 0.8) or 1)
    clustered = replace(base, clusters=80, icc=0.5)
    assert clustered.companions == 4
    assert margin_shown(clustered, 0.8) > 1.5 * margin_shown(base, 0.8)
    assert power(base, above=-0.05) > power(base, above=-0.03) > power(base, above=-0.01)
    assert power(base, gain=0.08) > power(base, gain=0.04) > power(base, gain=0.0)


def test_unequal_clusters_count_by_their_items() -> None:
    """The margin that is said to be shown in 80% of cases is, by simulation."""
    sizes = [6] * 40 + [2] * 60
    clusters = [str(c) for c, size in enumerate(sizes) for _ in range(size)]
    design = Design.of(clusters, discordant=0.3, noise=0.0, icc=0.5)
    assert (design.n, design.clusters) == (360, 100)
    assert design.companions == pytest.approx((40 * 36 + 60 * 4) / 360 - 1)
    rng, margin = np.random.default_rng(5), margin_shown(design, 0.8)
    odds = [0.15, 0.15, 0.7]
    hits = 0
    for _ in range(TRIALS):
        own = rng.choice([1.0, -1.0, 0.0], size=360, p=odds)
        shared = rng.choice([1.0, -1.0, 0.0], size=100, p=odds).repeat(sizes)
        together = (rng.random(100) < 0.5).repeat(sizes)
        hits += paired_interval(np.where(together, shared, own).tolist(), clusters, alpha=0.05).lower > -margin
    assert hits / TRIALS == pytest.approx(0.8, abs=0.03 + 2 * (0.25 / TRIALS) ** 0.5)


def test_a_least_gain_binds_where_anything_would_be_significant() -> None:
    huge = Design(200_000, 200_000)
    assert (gain_found(huge, 0.8) or 1) < 0.003
    assert (gain_found(huge, 0.8, least=0.01) or 1) == pytest.approx(0.01, abs=0.002)


def test_a_handful_of_items_finds_no_gain() -> None:
    assert gain_found(Design(3, 3), 0.8) is None


def test_without_flips_the_margin_is_the_smallest_there_is() -> None:
    design = Design(300, 100, discordant=0.0)
    least = smallest_margin(300, 100, 0.05)
    assert margin_shown(design, 0.8) == pytest.approx(least, abs=2e-5)
    assert (power(design, above=-least * 1.01), power(design, above=-least * 0.99)) == (1.0, 0.0)


# ---------------------------------------------------------------- what evaluations say


def test_flips_are_counted_between_two_evaluations() -> None:
    before, after = suite_report("s", [1, 1, 0, 0, 1, 0, 0, 1]), suite_report("s", [1, 0, 0, 1, 1, 0, 1, 1])
    seen = seen_between(before, after)
    assert (seen.discordant, seen.noise, seen.icc) == (3 / 8, None, None)


def test_the_luck_of_the_draw_is_what_differs_between_epochs() -> None:
    """By hand. Differences a - b by epoch: (1, 0), (0, 0), (1, 1), (0, 0): their mean square is 3/8, the mean 3/8;
    within items the variances are 1/2, 0, 0, 0."""
    before = suite_report("s", [0, 0.5, 0, 1], epochs=[(0, 0), (1, 0), (0, 0), (1, 1)])
    after = suite_report("s", [0.5, 0.5, 1, 1], epochs=[(1, 0), (1, 0), (1, 1), (1, 1)])
    seen = seen_between(before, after)
    assert seen.discordant == pytest.approx(3 / 8)
    assert seen.noise == pytest.approx((1 / 8) / (3 / 8 - 9 / 64))
    assert seen_within(before) is not None
    assert seen_within(before).discordant == pytest.approx(2 * (1 / 2) / 4)  # type: ignore[union-attr]
    assert seen_within(suite_report("s", [1, 0])) is None


def test_an_unscored_item_is_no_flip() -> None:
    assert seen_between(suite_report("s", [1, None, 0, 1]), suite_report("s", [1, 1, None, 0])).discordant == 0.5
    with pytest.raises(ValueError, match="no item"):
        seen_between(suite_report("s", [None]), suite_report("s", [1]))


def test_the_correlation_is_the_one_that_the_clustered_error_implies() -> None:
    """Kish's design effect from it, 1 + (size - 1) icc, times the plain variance is the clustered variance, but for the
    pseudo-items."""
    rng = np.random.default_rng(1)
    leans = rng.choice([-1, 0, 1], size=400, p=[0.1, 0.8, 0.1]).repeat(3)
    after = np.where(rng.random(1200) < 0.6, leans, rng.choice([-1, 0, 1], size=1200, p=[0.1, 0.8, 0.1]))
    before = suite_report("s", [0.5] * 1200, size=3)
    seen = seen_between(before, suite_report("s", (0.5 + after / 2).tolist(), size=3))
    assert seen.icc is not None
    differences = [float(d) / 2 for d in after]
    together, apart = (
        paired_interval(differences, names, alpha=0.05).standard_error
        for names in ([str(i // 3) for i in range(1200)], [str(i) for i in range(1200)])
    )
    assert together / apart == pytest.approx((1 + 2 * seen.icc) ** 0.5, rel=0.02)
    assert seen.icc > 0.2


def test_what_no_design_can_be_is_refused() -> None:
    with pytest.raises(ValueError, match="5 clusters of 4 items"):
        Design(4, 5)
