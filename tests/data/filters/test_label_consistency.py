"""Contradictions and cycles among preferences, against networkx where it is installed, and the noise that they show."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.filtering import FilterUse, Sifted, make_sieve, sift
from harness.data.record import Answer, Record
from harness.plugins import load_registry
from harness.protocols import RunContext
from harness.types import Prompt

REGISTRY = load_registry(third_party=False)


def asked(text: str) -> Prompt:
    return Prompt("p", ({"role": "user", "content": text},))


def pair(chosen: str, rejected: str, prompt: str = "Which?", **extra: object) -> Record:
    return Record(asked(prompt), (Answer(chosen), Answer(rejected, 0.0)), "pair", "f", 1, extra)


def label(text: str, good: bool, prompt: str = "Which?") -> Record:
    return Record(asked(prompt), (Answer(text, float(good)),), "label")


def sifted(records: list[Record], **config: object) -> Sifted:
    placed = [replace(record, place=at) for at, record in enumerate(records)]
    uses = [FilterUse(name="label_consistency", config=config)]
    return sift(placed, make_sieve(uses, REGISTRY, RunContext(components=REGISTRY)))


def reasons(records: list[Record], **config: object) -> dict[int, str]:
    return {at: remarks[0].reason for at, remarks in sifted(records, **config).remarks.items()}


def test_both_ways_is_a_contradiction_and_twice_the_same_is_not() -> None:
    records = [pair("a", "b"), pair("b ", " a"), pair("a", "b"), pair("c", "d"), pair("c", "d"), pair("b", "a", "Who?")]
    found = sifted(records).remarks
    assert {at: (remarks[0].reason, remarks[0].other) for at, remarks in found.items()} == {
        0: ("contradiction", "f:1"),
        1: ("contradiction", "f:0"),
        2: ("contradiction", "f:1"),
    }


def test_a_cycle_goes_and_what_hangs_on_it_stays() -> None:
    records = [pair("a", "b"), pair("b", "c"), pair("c", "a"), pair("c", "d"), pair("e", "a"), pair("d", "a", "Who?")]
    assert reasons(records) == {0: "cycle", 1: "cycle", 2: "cycle"}
    both = [pair("a", "b"), pair("b", "a"), pair("b", "c"), pair("c", "a")]
    assert reasons(both) == {0: "contradiction", 1: "contradiction"}, "without the two there is no circle"


def test_labels_ties_and_groups() -> None:
    records = [label("x", True), label("x ", False), label("x", True, "Who?"), label("y", False)]
    assert reasons(records) == {0: "contradiction", 1: "contradiction"}
    ties = [pair("a b", "a  b"), pair("a", "b", margin=0.1), pair("c", "d", score_chosen=8, score_rejected=7.95)]
    assert reasons(ties) == {0: "tie"}
    assert reasons(ties, min_margin=0.5) == {0: "tie", 1: "tie", 2: "tie"}
    answers = (Answer("a", 0.4), Answer("b", 0.5), Answer("c", None))
    groups = [Record(asked("?"), answers, "group"), Record(asked("?"), (Answer("a", 0.4),), "group")]
    assert reasons(groups, min_margin=0.2) == {0: "tie"}
    assert reasons(groups) == {}
    assert reasons([Record(asked("?"), (Answer("a"),), "demonstration")]) == {}


EDGES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)).filter(lambda e: e[0] != e[1]), max_size=14)


@given(EDGES)
def test_what_is_said_is_what_a_search_of_all_paths_says(edges: list[tuple[int, int]]) -> None:
    two_way = {edge for edge in edges if edge[::-1] in edges}
    left = set(edges) - two_way
    reach = {(a, b) for a, b in left}
    for middle, a, b in itertools.product(range(6), repeat=3):
        if (a, middle) in reach and (middle, b) in reach:
            reach.add((a, b))
    wanted = {
        at: "contradiction" if edge in two_way else "cycle"
        for at, edge in enumerate(edges)
        if edge in two_way or edge[::-1] in reach
    }
    found = sifted([pair(f"answer {a}", f"answer {b}") for a, b in edges])
    assert {at: remarks[0].reason for at, remarks in found.remarks.items()} == wanted
    networkx = pytest.importorskip("networkx")
    components = list(networkx.strongly_connected_components(networkx.DiGraph(list(left))))
    cyclic = {edge for edge in left for part in components if set(edge) <= part}
    assert {edges[at] for at, reason in wanted.items() if reason == "cycle"} == cyclic


@pytest.mark.parametrize("rate", [0.1, 0.2, 0.3])
def test_repeated_pairs_show_the_noise(rate: float) -> None:
    rng = np.random.default_rng(0)
    records = []
    for number, flips in enumerate(rng.random((800, 2)) < rate):
        sides = ("good one", "bad one")
        records += [pair(*(sides[::-1] if flip else sides), f"Number {number}?") for flip in flips]
    figures = sifted(records).figures
    assert figures["label_consistency/noise_lower"] <= rate <= figures["label_consistency/noise_upper"]
    assert figures["label_consistency/noise_pairs"] == 800


def test_where_nothing_identifies_the_noise_there_is_no_figure() -> None:
    single = [pair("yes", "not", f"Number {number}?") for number in range(100)]
    assert sifted(single).figures == {}
    assert sifted(single * 2).figures == {}, "copies agree"


def test_a_reference_judges_scores_show_the_noise_only_if_they_are_said_to_be_one() -> None:
    """10 of 100 labels contradict the scores; the judge is known to be wrong in 2%: (0.1 - 0.02) / 0.96."""
    sides = [(0.2, 0.9) if number < 10 else (0.9, 0.2) for number in range(100)]
    records = [pair("yes", "not", f"{n}?", score_chosen=c, score_rejected=r) for n, (c, r) in enumerate(sides)]
    assert sifted(records).figures == {}
    figures = sifted(records, reference_error=0.02).figures
    assert figures["label_consistency/noise"] == pytest.approx(0.08 / 0.96)


@pytest.mark.parametrize("rate", [0.0, 0.2])
def test_what_tools_tell_apart_bounds_the_noise(rate: float) -> None:
    rng = np.random.default_rng(1)
    tools = '[{"name": "f", "parameters": {}}]'
    records = []
    for number, flip in enumerate(rng.random(600) < rate):
        sides = ('[{"name": "f", "arguments": {}}]', "I will call it."[: 3 + number % 9])
        made = pair(*(sides[::-1] if flip else sides), f"Number {number}?")
        records.append(replace(made, prompt=replace(made.prompt, tools=tools)))
    bound = sifted(records).figures["label_consistency/noise_at_most"]
    assert rate <= bound < rate + 0.08
