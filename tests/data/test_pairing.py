"""Preference pairs from groups and labels: by hand, and as the updater `preference` selects them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.pairing import (
    Candidates,
    Pair,
    PairingConfig,
    balanced,
    length_bias,
    make_pairs,
    of_group,
    of_labels,
)
from harness.data.record import Answer, Record
from harness.errors import ConfigError
from harness.types import Completion, Group, Preference, Prompt, Sampling, Score, ScoredGroup
from harness_plugins.updaters.configs import PreferenceConfig
from harness_plugins.updaters.preference import build_pairs

PROMPT = Prompt("p", ({"role": "user", "content": "Say."},))


def group(
    texts: str,
    rewards: list[float | None],
    *,
    cut: str = "",
    preferences: tuple[Preference, ...] = (),
    judges: dict[str, list[float | None]] | None = None,
) -> ScoredGroup:
    """One completion a letter, of which the letter is the token; a dot is an empty one. `cut`: by their letters."""
    completions = tuple(
        Completion("" if letter == "." else letter, () if letter == "." else (ord(letter),), None, "length")
        if letter in cut
        else Completion("" if letter == "." else letter, () if letter == "." else (ord(letter),))
        for letter in texts
    )
    scores = tuple(
        tuple(
            Score(name, values[i]) if values[i] is not None else Score.abstained(name)
            for name, values in (judges or {}).items()
        )
        for i in range(len(texts))
    )
    made = Group(PROMPT, (1, 2), completions, "base", Sampling())
    return ScoredGroup(made, scores, tuple(rewards), preferences)


def texts_of(scored: ScoredGroup, **settings: object) -> list[tuple[str, str, float]]:
    config = PairingConfig.model_validate(settings)
    found = make_pairs([of_group(scored, config, {"source": "s"})], config)
    return [(pair.chosen, pair.rejected, round(pair.margin, 6)) for pair in found]


def test_pairs_by_hand() -> None:
    scored = group("abcd", [0.5, 1.0, None, 0.0])
    assert texts_of(scored) == [("b", "d", 1.0), ("a", "d", 0.5), ("b", "a", 0.5)]
    assert texts_of(scored, best_only=True) == [("b", "d", 1.0)]
    assert texts_of(scored, min_margin=0.6) == [("b", "d", 1.0)]
    assert texts_of(scored, per_prompt=2) == [("b", "d", 1.0), ("a", "d", 0.5)]
    assert texts_of(group("aab", [1.0, 0.0, 0.5])) == [("a", "b", 0.5), ("b", "a", 0.5)]


def test_what_was_cut_off_is_never_chosen() -> None:
    assert texts_of(group("abc", [1.0, 0.5, 0.0], cut="a")) == [("b", "c", 0.5)]
    assert texts_of(group("abc", [1.0, 0.5, 0.0], cut="c")) == [("a", "c", 1.0), ("a", "b", 0.5), ("b", "c", 0.5)]


def test_one_judges_scores_or_comparisons() -> None:
    said = (Preference("x", 2, 0, 0.8), Preference("y", 0, 2, 0.4), Preference("y", 1, 0, 0.5))
    scored = group("abc", [1.0, 0.0, None], preferences=said, judges={"x": [0.1, 0.3, None], "y": [0.0, 0.0, 1.0]})
    assert texts_of(scored, judge="x") == [("b", "a", 0.2)]
    assert texts_of(scored, judge="y") == [("c", "a", 1.0), ("c", "b", 1.0)]
    assert texts_of(scored, margins="comparisons") == [("b", "a", 0.5), ("c", "a", 0.2)]
    assert texts_of(scored, margins="comparisons", judge="y") == [("b", "a", 0.5), ("a", "c", 0.4)]
    with pytest.raises(ConfigError, match=r"judge 'z' did not judge prompt p.*: x, y"):
        texts_of(scored, judge="z")
    config = PairingConfig(judge="x")
    assert of_group(scored, config, {"source": "s", "place": 3}).origin == {"source": "s", "place": 3, "judge": "x"}


rewards = st.one_of(st.none(), st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(0, 1))
scored_groups = st.lists(
    st.lists(st.tuples(st.sampled_from("abcdef."), rewards), min_size=1, max_size=6), min_size=1, max_size=4
)


@given(
    scored_groups,
    st.sets(st.sampled_from("abcdef")),
    st.sampled_from(["best_worst", "all", "judged"]),
    st.floats(0, 1),
    st.data(),
)
def test_the_updater_selects_the_same_pairs(
    drawn: list[list[tuple[str, float | None]]], cut: set[str], pairs: str, margin: float, data: st.DataObject
) -> None:
    groups = []
    for rows in drawn:
        size = len(rows)
        ends = st.lists(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1), st.floats(0.1, 1)), max_size=5)
        said = tuple(Preference("j", a, b, s) for a, b, s in data.draw(ends) if a != b)
        letters = "".join(letter for letter, _ in rows)
        groups.append(group(letters, [reward for _, reward in rows], cut="".join(sorted(cut)), preferences=said))
    config = PairingConfig(
        margins="comparisons" if pairs == "judged" else "rewards", best_only=pairs == "best_worst", min_margin=margin
    )
    ours = [
        [(ord(pair.chosen), ord(pair.rejected)) for pair in found]
        for scored in groups
        if (found := make_pairs([of_group(scored, config, {})], config))
    ]
    selected = build_pairs(groups, PreferenceConfig(pairs=pairs, min_margin=margin))  # type: ignore[arg-type]
    theirs = [
        [(one.completions[a].token_ids[0], one.completions[b].token_ids[0]) for a, b in one.pairs]
        for one in selected.groups
    ]
    assert ours == theirs


def test_so_many_pairs_of_a_prompt_over_all_its_groups() -> None:
    config = PairingConfig(per_prompt=2)
    other = replace(group("xy", [0.3, 0.1]).group, prompt=Prompt("q", ({"role": "user", "content": "Other."},)))
    scored = [group("ab", [0.5, 0.0]), ScoredGroup(other, ((), ()), (0.3, 0.1)), group("cde", [1.0, 0.6, 0.2])]
    found = make_pairs([of_group(one, config, {}) for one in scored], config)
    assert [(pair.chosen, pair.rejected) for pair in found] == [("a", "b"), ("x", "y"), ("c", "e")]


def label(prompt: Prompt, text: str, good: bool, place: int = 1) -> Record:
    return Record(prompt, (Answer(text, float(good)),), "label", "f.jsonl", place)


def test_pairs_from_labels() -> None:
    other = Prompt("q", ({"role": "user", "content": "Other."},))
    rows = [
        label(PROMPT, "good", True, 1),
        label(other, "alone", True, 2),
        label(PROMPT, "bad", False, 3),
        label(replace(PROMPT, id="same question"), "better", True, 4),
        label(PROMPT, "good", False, 5),
    ]
    found = make_pairs(of_labels(rows), PairingConfig())
    assert [(pair.chosen, pair.rejected, pair.margin) for pair in found] == [
        ("good", "bad", 1.0),
        ("better", "bad", 1.0),
        ("better", "good", 1.0),
    ]
    assert found[0].record.extra == {"margin": 1.0, "origin": {"source": "f.jsonl", "place": 1}}
    with pytest.raises(ConfigError, match=r"f\.jsonl:9: it is a demonstration"):
        of_labels([replace(label(PROMPT, "x", True, 9), kind="demonstration")])


def pair(chosen: int, rejected: int, margin: float) -> Pair:
    return Pair(PROMPT, "c" * chosen, "r" * rejected, margin, {})


def test_length_is_balanced_by_dropping_narrow_margins() -> None:
    pairs = [pair(5, 1, 0.9), pair(6, 1, 0.2), pair(7, 1, 0.5), pair(1, 4, 0.1), pair(3, 3, 0.05)]
    before = length_bias(pairs)
    assert (before.longer, before.shorter, before.chosen_longer) == (3, 1, 0.75)
    kept = balanced(pairs)
    assert [one.margin for one in kept] == [0.9, 0.1, 0.05]
    assert length_bias(kept).chosen_longer == 0.5
    assert length_bias([pair(3, 3, 0.1)]).chosen_longer is None


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5), st.sampled_from([0.1, 0.5])), max_size=30), st.randoms()
)
def test_balancing_leaves_no_bias_whatever_the_order(rows: list[tuple[int, int, float]], rng: object) -> None:
    pairs = [pair(*row) for row in rows]
    kept = balanced(pairs)
    after = length_bias(kept)
    before = length_bias(pairs)
    assert after.longer == after.shorter == min(before.longer, before.shorter)
    assert len(pairs) - len(kept) == abs(before.longer - before.shorter)
    rng.shuffle(pairs)  # type: ignore[attr-defined]
    key = [(len(one.chosen), len(one.rejected), one.margin) for one in kept]
    assert sorted(key) == sorted((len(one.chosen), len(one.rejected), one.margin) for one in balanced(pairs))


def test_candidates_that_read_the_same_are_no_pair() -> None:
    same = Candidates(PROMPT, ["a", "a"], {(0, 1): 1.0}, frozenset(), {})
    assert make_pairs([same], PairingConfig()) == []
