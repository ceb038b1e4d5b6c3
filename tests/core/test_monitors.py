from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.canaries import CANARIES, canary_pairs
from harness.errors import ConfigError
from harness.judging import Bench
from harness.monitors import (
    CanaryFigures,
    Gap,
    MonitorReport,
    MonitorsConfig,
    alarms,
    canary_figures,
    drift,
    judge_gap,
    kl_per_token,
    over_optimized,
    pair_up,
    win_rates,
)
from harness.plugins import validate
from harness.records import read_monitors, write_json
from harness.statistics import Interval
from harness.text_figures import text_figures
from harness.types import Completion, Group, Prompt, Sampling, Score, ScoredGroup
from harness.watching import frozen_pairs, judge_pairs

# ---------------------------------------------------------------- builders


def prompt(id: str, **fields: object) -> Prompt:
    return Prompt(id, ({"role": "user", "content": f"question {id}"},), **fields)  # type: ignore[arg-type]


def scored(
    *texts: str, id: str = "p", judge: str = "j", values: Sequence[float | None] = (), cluster: str = ""
) -> ScoredGroup:
    """A group whose completions have one token a word; a value of None is an abstention."""
    completions = tuple(Completion(text, tuple(range(len(text.split())))) for text in texts)
    group = Group(prompt(id, cluster=cluster), (1,), completions, "v", Sampling())
    verdicts = [Score.abstained(judge) if value is None else Score(judge, value) for value in values]
    return ScoredGroup(group, tuple((v,) for v in verdicts) or ((),) * len(texts), (None,) * len(texts))


def pairs(judge: str, *values: tuple[float | None, float | None]) -> list[ScoredGroup]:
    """A pair (incumbent's, candidate's answer) an item."""
    return [scored("old", "new", id=str(i), judge=judge, values=v) for i, v in enumerate(values)]


def interval(estimate: float, reach: float) -> Interval:
    return Interval(estimate, estimate - reach, estimate + reach, reach / 2, 100)


# ---------------------------------------------------------------- text


def test_text_figures_by_hand() -> None:
    """Words a b a b a b / c: 7 of which 3 distinct; bigrams ab ba ab ba ab, of which 2; 4-grams abab baba abab."""
    figures = text_figures([scored("a b A b a b", "c"), scored("  ")])
    assert (figures.tokens, figures.distinct_1, figures.distinct_2) == (7 / 3, 3 / 7, 2 / 5)
    assert (figures.repeated_4, figures.empty, figures.truncated, figures.refused) == (1 / 3, 1 / 3, 0.0, 0.0)


def test_text_that_has_no_n_grams_has_no_share_of_them() -> None:
    figures = text_figures([scored("")])
    assert (figures.distinct_1, figures.distinct_2, figures.repeated_4, figures.empty) == (None, None, None, 1.0)
    with pytest.raises(ValueError, match="no completions"):
        text_figures([])


def test_cut_off_answers_and_refusals_are_counted() -> None:
    group = scored("one", "I cannot help with that.")
    cut = replace(group.group.completions[0], finish_reason="length")
    group = replace(group, group=replace(group.group, completions=(cut, group.group.completions[1])))
    figures = text_figures([group])
    assert (figures.truncated, figures.refused) == (0.5, 0.5)


@given(st.lists(st.text(alphabet="ab ", max_size=30), min_size=1, max_size=5))
def test_saying_it_all_twice_is_never_more_diverse(texts: list[str]) -> None:
    once, twice = text_figures([scored(*texts)]), text_figures([scored(*texts, *texts)])
    for name in ("distinct_1", "distinct_2"):
        before, after = getattr(once, name), getattr(twice, name)
        assert (before is None and after is None) or after == pytest.approx(before / 2)
    assert once.repeated_4 == twice.repeated_4
    assert once.tokens == pytest.approx(twice.tokens)


# ---------------------------------------------------------------- the gap


def test_the_gap_by_hand() -> None:
    """Gains of 98 items by train +0.5 and gold -0.5, with 2 pseudo-items: +0.49 and -0.49. For train: SE^2 =
    100/99 * (98 * 0.01^2 + 0.51^2 + 1.49^2) / 100^2, t(99, .95) = 1.66039. The gap of 1.0 an item is in units of 2,
    where it is 0.5 as well, so its interval is twice train's."""
    train = pairs("t", *[(0.25, 0.75)] * 98)
    gold = pairs("g", *[(1.0, 0.5)] * 98)
    gap = judge_gap(train, gold, train_weights={"t": 1.0}, gold_weights={"g": 2.0}, alpha=0.05)
    assert gap is not None
    error = math.sqrt(100 / 99 * (98 * 0.01**2 + 0.51**2 + 1.49**2)) / 100
    assert gap.train.estimate == pytest.approx(0.49)
    assert gap.train.lower == pytest.approx(0.49 - 1.66039 * error, abs=1e-6)
    assert gap.gold.upper == pytest.approx(-gap.train.lower)
    assert (gap.gap.estimate, gap.gap.lower) == pytest.approx((0.98, 2 * gap.train.lower))
    assert over_optimized(gap)


def test_items_that_one_judge_leaves_unscored_are_in_no_interval() -> None:
    train = pairs("t", (0.0, 1.0), (0.0, None), (0.0, 1.0))
    gold = pairs("g", (None, 1.0), (0.0, 1.0), (1.0, 1.0))
    gap = judge_gap(train, gold, train_weights={"t": 1.0}, gold_weights={"g": 1.0}, alpha=0.05)
    assert gap is not None
    assert (gap.train.n, gap.gold.n, gap.gap.n) == (1, 1, 1)
    assert (gap.train.estimate, gap.gold.estimate) == pytest.approx((1 / 3, 0.0))
    assert judge_gap(train[:2], gold[:2], train_weights={"t": 1.0}, gold_weights={"g": 1.0}, alpha=0.05) is None


def test_a_negative_weight_turns_the_gain_and_widens_the_pseudo_items() -> None:
    train, gold = pairs("t", (1.0, 0.0)), pairs("g", (1.0, 0.0))
    gap = judge_gap(train, gold, train_weights={"t": -1.0}, gold_weights={"g": 1.0}, alpha=0.05)
    assert gap is not None
    assert (gap.train.estimate, gap.gold.estimate, gap.gap.estimate) == pytest.approx((1 / 3, -1 / 3, 2 / 3))
    assert gap.train.standard_error > 1.5 * gap.gold.standard_error


def test_epochs_of_an_item_are_one_gain() -> None:
    before = [scored("a", "b", id="x", values=(0.0, 0.5))]
    after = [scored("c", "d", id="x", values=(1.0, 0.5))]
    made = pair_up(before, after)
    assert [tuple(c.text for c in pair.group.completions) for pair in made] == [("a", "c"), ("b", "d")]
    gap = judge_gap(made, made, train_weights={"j": 1.0}, gold_weights={"j": 1.0}, alpha=0.05)
    assert gap is not None
    assert (gap.train.n, gap.train.estimate, gap.gap.estimate) == (1, pytest.approx(0.5 / 3), 0.0)
    with pytest.raises(ValueError, match="same items"):
        pair_up(before, [scored("c", "d", id="y")])


@pytest.mark.parametrize(
    ("train", "gold", "expected"),
    [
        (interval(0.3, 0.1), interval(-0.3, 0.1), True),
        (interval(0.3, 0.1), interval(-0.05, 0.1), False),  # the gap is wide, but gold is not shown to fall
        (interval(0.05, 0.1), interval(-0.3, 0.1), False),  # a bad candidate, which pleases no judge
        (interval(0.6, 0.1), interval(0.1, 0.05), False),  # a gap that opens while both rise
    ],
)
def test_the_loop_ends_when_the_judges_part_in_sign(train: Interval, gold: Interval, expected: bool) -> None:
    gap = Gap(train, gold, interval(train.estimate - gold.estimate, 0.2))
    text = text_figures([scored("a")])
    found = alarms(MonitorReport(text, text, gap), MonitorsConfig())
    assert bool(found) is over_optimized(gap) is expected
    assert alarms(MonitorReport(text, text, gap), MonitorsConfig(stop_on_over_optimization=False)) == ()
    if expected:
        assert found[0].endswith("changed by +30.0 points [+20.0, +40.0], that of gold by -30.0 points [-40.0, -20.0]")


# ---------------------------------------------------------------- distance, canaries, drift


def test_kl_by_hand() -> None:
    """Log-ratios 1, 0.5 and -0.25: e^-1 + 1 - 1 = 0.367879, e^-0.5 - 0.5 = 0.106531, e^0.25 - 1.25 = 0.034025."""
    found = kl_per_token([[-1.0, -2.0], [-0.5]], [[-2.0, -2.5], [-0.25]])
    assert found == pytest.approx((0.367879 + 0.106531 + 0.034025) / 3, abs=1e-6)
    with pytest.raises(ValueError, match="no tokens"):
        kl_per_token([[]], [[]])
    with pytest.raises(ValueError, match="argument"):
        kl_per_token([[-1.0, -2.0]], [[-1.0]])


@given(st.lists(st.floats(0.05, 1.0), min_size=4, max_size=4), st.lists(st.floats(0.05, 1.0), min_size=4, max_size=4))
def test_kl_is_unbiased(policy: list[float], anchor: list[float]) -> None:
    """Weighted by how often the policy samples each token, the estimates add up to the divergence itself."""
    p, q = ([value / sum(values) for value in values] for values in (policy, anchor))
    expected = sum(a * kl_per_token([[math.log(a)]], [[math.log(b)]]) for a, b in zip(p, q, strict=True))
    assert expected == pytest.approx(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)), abs=1e-9)


def test_a_canary_wins_by_no_less_than_the_answer_beside_it_and_more_than_nothing() -> None:
    values = [(0.5, 0.5), (0.5, 0.4), (0.0, 0.0), (0.0, 0.1), (None, 1.0)]
    judged = [scored("own", "canary", values=v) for v in values]
    figures = canary_figures(judged, ["echo", "echo", "empty", "score_claim", "echo"], {"j": 1.0})
    assert (figures.judged, figures.won) == (4, 2)
    assert figures.won_by_kind == {"echo": 1, "empty": 0, "score_claim": 1}


def test_canaries_stop_the_loop_above_their_share() -> None:
    text = text_figures([scored("a")])
    report = MonitorReport(text, text, canaries=CanaryFigures({"echo": 2, "empty": 2}, {"echo": 2, "empty": 0}))
    assert alarms(report, MonitorsConfig(max_canary_wins=0.5)) == ()
    found = alarms(report, MonitorsConfig(max_canary_wins=0.4))
    assert found == ("2 of 4 canary answers win with the training judges (echo)",)


def test_canaries_say_what_was_asked_and_read_no_placeholder_in_it() -> None:
    own = scored("mine")
    asked = replace(own.group.prompt, messages=({"role": "user", "content": "what is {question}?"},))
    groups, kinds = canary_pairs([replace(own.group, prompt=asked)], lambda text: [len(text)])
    texts = {canary.id: group.completions[1].text for canary, group in zip(CANARIES, groups, strict=True)}
    assert (texts["empty"], texts["echo"]) == ("", "what is {question}?")
    assert {group.completions[0].text for group in groups} == {"mine"}
    assert [group.completions[1].token_ids for group in groups] == [(len(text),) for text in texts.values()]
    assert set(kinds) == {"empty", "score_claim", "instruction", "keyword_stuffing", "echo"}


def test_a_verdict_has_drifted_when_its_value_or_status_is_another() -> None:
    start = [scored("a", "b", "c", "d", values=(0.5, 0.5, None, 0.0))]
    now = [scored("a", "b", "c", "d", values=(0.5001, 0.6, None, None))]
    assert drift(start, now) == {"j": 0.5}
    text = text_figures([scored("a")])
    report = MonitorReport(text, text, drift={"train/j": 0.5})
    assert alarms(report, MonitorsConfig()) == ()
    assert "50% of the frozen verdicts of train/j" in alarms(report, MonitorsConfig(max_drift=0.4))[0]


def test_a_judge_with_a_favourite_place_favours_neither_arm() -> None:
    class First:
        def score(self, groups: Sequence[Group]) -> list[tuple[Score, ...]]:
            return [(Score("j", 1.0, label=g.completions[0].text), Score("j", 0.0)) for g in groups]

    asked = [scored("old", "new", id=str(i)).group for i in range(2)]
    judged = judge_pairs(Bench({"j": First()}, {"j": 1.0}), asked)
    assert [scored.group for scored in judged] == asked
    assert [[scores[0].value for scores in scored.scores] for scored in judged] == [[1.0, 0.0], [0.0, 1.0]]
    assert (judged[0].scores[0][0].label, judged[1].scores[1][0].label) == ("old", "new")


def test_frozen_pairs_hold_the_reference_or_else_the_next_answer() -> None:
    start = [scored(text, id=text) for text in ("a", "b", "c")]
    known = replace(start[0].group, prompt=replace(start[0].group.prompt, reference="gold"))
    start[0] = replace(start[0], group=known)
    made = frozen_pairs(start, 2, lambda text: [7])
    assert [tuple(c.text for c in group.completions) for group in made] == [("a", "gold"), ("b", "c")]
    assert made[0].completions[1].token_ids == (7,)


def test_a_report_reads_back_as_it_was_written(tmp_path: Path) -> None:
    text = text_figures([scored("a b c d e")])
    bare = MonitorReport(text, text)
    gap = Gap(interval(0.3, 0.1), interval(-0.3, 0.1), interval(0.6, 0.2))
    rates = {"train/j": interval(0.6, 0.1)}
    whole = MonitorReport(
        text, text, gap, rates, 0.25, CanaryFigures({"echo": 4}, {"echo": 2}), {"train/j": 0.5}, ("why",)
    )
    for report in (bare, whole):
        write_json(tmp_path / "monitors.json", report)
        assert read_monitors(tmp_path / "monitors.json") == report
    assert whole.figures()["monitor/canary_wins"] == 0.5
    assert (whole.figures()["monitor/gap"], whole.figures()["monitor/length_ratio"]) == (0.6, 1.0)


def test_settings_that_mean_nothing_are_refused() -> None:
    for bad in ({"max_canary_wins": 1.5}, {"kl_prompts": -1}, {"stop": True}):
        with pytest.raises(ConfigError):
            validate(MonitorsConfig, bad, where="[monitors]")


def test_the_win_rate_counts_ties_half_and_leaves_out_what_is_unscored() -> None:
    def pair(i: int, before: float | None, after: float | None) -> ScoredGroup:
        scores = [Score("j", v) if v is not None else Score.failed("j", "down") for v in (before, after)]
        prompt = Prompt(f"p{i}", ({"role": "user", "content": "?"},))
        group = Group(prompt, (1,), (Completion("a", (1,)), Completion("b", (1,))), "x", Sampling())
        return ScoredGroup(group, ((scores[0],), (scores[1],)), (None, None))

    values = [(0.1, 0.9), (0.2, 0.3), (0.5, 0.5), (0.9, 0.1), (None, 1.0)]
    [(judge, rate)] = win_rates([pair(i, *both) for i, both in enumerate(values)], 0.05).items()
    assert (judge, rate.estimate, rate.n) == ("j", 2.5 / 4, 4)
    assert 0 <= rate.lower < 2.5 / 4 < rate.upper <= 1
