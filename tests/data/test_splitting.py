"""Which side of a split a prompt falls on, and that it stays there."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import binom

from harness.data.record import Answer, Record
from harness.data.splitting import (
    Clusters,
    SplitConfig,
    assign,
    cluster_key,
    compared,
    crossing,
    near_pairs,
    require_same,
    side_of,
    wording,
)
from harness.errors import ConfigError
from harness.overlap import NEAR, ngrams
from harness.types import Prompt

PASSAGE = " ".join(f"word{i}" for i in range(40))


def record(text: str, *, cluster: str = "", tools: str = "", **extra: Any) -> Record:
    prompt = Prompt("p", ({"role": "user", "content": text},), tools=tools, cluster=cluster)
    return Record(prompt, (Answer("yes"),), "demonstration", "f.jsonl", 1, extra)


def sides(records: list[Record], config: SplitConfig, earlier: dict[str, str] | None = None) -> list[str]:
    clusters = Clusters()
    for one in records:
        clusters.add(one.prompt.question, cluster_key(one, one.prompt, config.by))
    if config.by == "near":
        for a, b in near_pairs({wording(one.prompt): one.prompt for one in records}):
            clusters.join_keys(f"words {a}", f"words {b}")
    made = assign(clusters, config, earlier)
    return [made.sides[one.prompt.question] for one in records]


questions = st.lists(st.integers(0, 200), min_size=1, max_size=40)


@given(questions, questions, st.integers(0, 3), st.sampled_from(["cluster", "prompt", "topic"]))
def test_rows_that_are_added_move_none_that_were_there(old: list[int], new: list[int], seed: int, by: str) -> None:
    config = SplitConfig(by=by, seed=seed)

    def made(numbers: list[int]) -> list[Record]:
        return [record(f"Question {n}?", cluster=f"c{n % 17}", topic=n % 5) for n in numbers]

    assert sides(made(old + new), config)[: len(old)] == sides(made(old), config)
    assert sides(made(new + old), config)[len(new) :] == sides(made(old), config)


def test_sides_get_their_shares_within_binomial_bounds() -> None:
    config = SplitConfig(ratios={"train": 0.7, "test": 0.2, "rest": 0.1})
    n = 5000
    count = Counter(side_of(f"cluster {i}", config) for i in range(n))
    for side, share in config.ratios.items():
        low, high = binom.interval(1 - 1e-6, n, share)
        assert low <= count[side] <= high
    other = [side_of(f"cluster {i}", config.model_copy(update={"seed": 1})) for i in range(n)]
    agreeing = sum(side_of(f"cluster {i}", config) == side for i, side in enumerate(other)) / n
    assert agreeing == pytest.approx(0.7**2 + 0.2**2 + 0.1**2, abs=0.04)


def test_what_a_cluster_goes_by() -> None:
    tools = '[{"name":"b"},{"name":"a"}]'
    swapped = '[{"name":"a","description":"d"},{"name":"b"}]'

    def key(one: Record, by: str = "cluster") -> str:
        return cluster_key(one, one.prompt, by)

    assert key(record("x", cluster="c", tools=tools)) == key(record("y", cluster="c"))
    assert key(record("x")) != key(record("y"))
    assert key(record("y", cluster="c")) == key(replace(record("z"), extra={"cluster": "c"}))
    assert key(record("x", tools=tools)) == key(record("y", tools=swapped))
    assert key(record("Who, me?")) == key(record("who me"))
    assert key(record("x", tools=tools), "prompt") == key(record("X!"), "prompt")
    assert key(record("?!")) != key(record("!!"))
    assert (
        key(record("x", topic=1), "topic") == key(record("y", topic=1), "topic") != key(record("y", topic="1"), "topic")
    )
    with pytest.raises(ConfigError, match=r"f\.jsonl:1: it has no column 'topic'.*: area"):
        key(record("x", area=1), "topic")


def test_raw_text_is_compared_by_what_it_says() -> None:
    one, other = (Record(Prompt("p", ()), (Answer(text),), "text") for text in ("Some text.", "Other text."))
    assert compared(one).question != compared(other).question
    assert compared(one).question == compared(replace(one, prompt=Prompt("q", ()))).question
    assert wording(compared(one)) == "some text"


def test_one_prompt_under_two_clusters_makes_them_one() -> None:
    """Chains of shared prompts too: c0 to c9 by p0 to p9 are one cluster, whatever their names hash to."""
    chain = [record(f"p{i}", cluster=f"c{i + step}") for i in range(10) for step in (0, 1)]
    assert len({sides(chain, SplitConfig(seed=seed))[0] for seed in range(40)}) == 3
    for seed in range(40):
        assert len(set(sides(chain, SplitConfig(seed=seed)))) == 1


def test_near_copies_are_one_cluster() -> None:
    copies = [
        record(PASSAGE),
        record(f"{PASSAGE} indeed"),
        record(f"So {PASSAGE} indeed"),
        record(PASSAGE.upper() + "!"),
    ]
    similar = ngrams(f"So {PASSAGE} indeed") & ngrams(PASSAGE)
    assert len(similar) / len(ngrams(f"So {PASSAGE} indeed")) >= NEAR
    apart = 0
    for seed in range(40):
        assert len(set(sides(copies, SplitConfig(by="near", seed=seed)))) == 1
        apart += len(set(sides(copies, SplitConfig(by="prompt", seed=seed)))) > 1
    assert apart > 5


def test_an_earlier_split_stays_and_what_it_broke_is_said() -> None:
    """Two clusters on different sides, which a new row bridges: both stay, and the new row follows the larger one."""
    config = SplitConfig(ratios={"train": 0.5, "test": 0.5})
    names = [f"c{i}" for i in range(50)]
    train, test = (next(n for n in names if side_of_named(n, config) == side) for side in ("train", "test"))
    old = [record("a", cluster=train), record("b", cluster=test), record("c", cluster=test)]
    before = dict(zip([one.prompt.question for one in old], sides(old, config), strict=True))
    assert list(before.values()) == ["train", "test", "test"]
    bridge = [record("a", cluster=test), record("new", cluster=train)]
    assert sides(old + bridge, config, before) == ["train", "test", "test", "train", "test"]
    clusters = Clusters()
    for one in old + bridge:
        clusters.add(one.prompt.question, cluster_key(one, one.prompt, "cluster"))
    made = assign(clusters, config, before)
    assert (made.kept, made.bridged) == (3, 1)
    assert made.would_have_moved == (1 if assign(clusters, config).sides[old[0].prompt.question] == "test" else 2)


def side_of_named(cluster: str, config: SplitConfig) -> str:
    return sides([record("x", cluster=cluster)], config)[0]


def test_near_pairs_across_sides_are_counted() -> None:
    pairs = [("a", "b"), ("b", "c")]
    assert crossing(pairs, {"a": ["train"], "b": ["train"], "c": ["test"]}) == 1
    assert crossing(pairs, {"a": ["train"], "b": ["train", "test"], "c": ["test"]}) == 2


@pytest.mark.parametrize(
    "ratios", [{"train": 1.0}, {"a": 0.5, "b": 0.4}, {"a": 1.2, "b": -0.2}, {"a/b": 0.5, "c": 0.5}]
)
def test_ratios_are_shares(ratios: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        SplitConfig(ratios=ratios)


def test_an_earlier_split_was_made_alike() -> None:
    stored = SplitConfig().model_dump(mode="json")
    require_same(SplitConfig(), stored, where="x")
    swapped = SplitConfig(ratios={"test": 0.1, "valid": 0.1, "train": 0.8})
    for other, what in ((SplitConfig(seed=1), "seed"), (SplitConfig(by="near"), "by"), (swapped, "ratios")):
        with pytest.raises(ConfigError, match=f"another {what}"):
            require_same(other, stored, where="x")
    with pytest.raises(ConfigError, match="another ratios"):
        require_same(SplitConfig(), None, where="x")
