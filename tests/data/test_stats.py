"""What `harness data stats` counts, against numbers worked out by hand."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from harness.chat import load_tokenizer
from harness.cli.app import cli
from harness.data.reading import BadRow
from harness.data.record import Answer, Record, RecordKind
from harness.data.stats import Stats, Tally
from harness.data.tallies import Distinct, Lengths, Sample, Top
from harness.types import Prompt


def record(
    kind: RecordKind, asked: str, *answers: tuple[str, float | None], tools: str = "", cluster: str = ""
) -> Record:
    messages = ({"role": "system", "content": "left out"}, {"role": "user", "content": asked}) if asked else ()
    prompt = Prompt("p", messages, tools=tools, cluster=cluster)
    return Record(prompt, tuple(Answer(text, worth) for text, worth in answers), kind, "f")


def stats(*items: Record | BadRow) -> Stats:
    tally = Tally()
    for item in items:
        tally.add(item)
    return tally.stats()


def test_kinds_roles_and_bad_rows() -> None:
    bad = [BadRow("f", 1, "not_json", ""), BadRow("f", 2, "not_json", ""), BadRow("f", 3, "too_long", "")]
    found = stats(*bad, record("demonstration", "q", ("a", 1.0)), record("text", "", ("raw", 1.0)))
    assert (found.rows, found.bad) == (5, {"not_json": 2, "too_long": 1})
    assert found.kinds == {"demonstration": 1, "text": 1}
    assert found.roles == {"system": 1, "user": 1}
    assert found.turns is not None
    assert (found.turns.n, found.turns.mean) == (1, 2.0)


def test_lengths() -> None:
    answers = ["a", "b b", "c c c", "d d d d", "e e e e e"]
    found = stats(*(record("demonstration", "one two", (answer, 1.0)) for answer in answers))
    words, characters = found.lengths["answer/words"], found.lengths["answer/characters"]
    assert (words.n, words.mean, words.largest) == (5, 3.0, 5)
    assert words.quantiles == pytest.approx((1.2, 2.0, 3.0, 4.0, 4.8))
    assert (characters.mean, characters.largest) == (5.0, 9)
    assert found.lengths["prompt/characters"].mean == 7.0


def test_repeats() -> None:
    one, other = record("demonstration", "q", ("a", 1.0)), record("demonstration", "q", ("b", 1.0))
    found = stats(one, other, one, one)
    assert (found.duplicates, found.repeated_prompts) == (0.5, 0.75)
    with_tools = record("demonstration", "q", ("a", 1.0), tools=json.dumps([{"name": "f"}]))
    assert stats(one, with_tools).duplicates == 0.0


def test_pairs() -> None:
    found = stats(
        *(record("pair", f"q{n}", ("longer", 1.0), ("short", 0.0)) for n in range(3)),
        record("pair", "q3", ("as", 1.0), ("it", 0.0)),
        record("pair", "q4", ("me", 1.0), ("me", 0.0)),
    ).pairs
    assert found is not None
    assert (found.chosen_longer.estimate, found.chosen_longer.n, found.equal) == (0.8, 5, 1)
    assert found.chosen_longer.lower < 0.8 < found.chosen_longer.upper


def test_groups_and_labels() -> None:
    found = stats(
        record("group", "q", ("a", 0.0), ("b", 1.0)),
        record("group", "q", ("a", 1.0), ("b", 1.0), ("c", None)),
        record("group", "q", ("a", None), ("b", 0.5)),
        record("label", "q", ("a", 1.0)),
        record("label", "q", ("a", 0.0)),
        record("label", "r", ("a", 0.0)),
    )
    assert found.groups is not None
    assert found.groups.reward == pytest.approx(3.5 / 5)
    assert (found.groups.groups, found.groups.signal, found.groups.unscored) == (3, pytest.approx(1 / 3), 2)
    assert found.groups.answers.mean == pytest.approx(7 / 3)
    assert found.labels == {"bad": 2, "good": 1}


def test_tools_clusters_and_sources() -> None:
    tools = json.dumps([{"name": "f"}, {"name": "g"}])
    cleaned = Record(Prompt("p", ()), (Answer("x"),), "text", "f", extra={"origin": {"source": "first.jsonl"}})
    found = stats(
        record("prompt", "q", tools=tools, cluster="b"),
        record("prompt", "r", tools=tools, cluster="b"),
        record("prompt", "s", cluster="a"),
        cleaned,
    )
    assert (found.tools, found.distinct_tools) == (2, 2)
    assert list(found.clusters.items()) == [("b", 2), ("a", 1)]
    assert found.sources == {"f": 3, "first.jsonl": 1}


def test_languages() -> None:
    english = "The weather has been rather cold for the time of the year."
    german = "Das Wetter ist für die Jahreszeit ziemlich kalt gewesen."
    found = stats(*(record("demonstration", english, (text, 1.0)) for text in (english, german, '[{"a": 1}]', "ok")))
    assert found.languages == {"prompt": {"en": 4}, "answer": {"en": 1, "de": 1, "json": 1, "short": 1}}


def test_nothing_has_no_shares() -> None:
    found = stats()
    assert (found.rows, found.duplicates, found.pairs, found.groups, found.lengths) == (0, None, None, None, {})


def test_tokens_are_those_of_the_template(tiny_model: Path) -> None:
    tally = Tally(tokenizer=load_tokenizer(tiny_model))
    tally.add(record("demonstration", "ab", ("xyz", 1.0)))
    found = tally.stats()
    chat = "<|im_start|>system\nleft out<|im_end|>\n<|im_start|>user\nab<|im_end|>\n<|im_start|>assistant\n"
    marks = chat.count("<|im_start|>") + chat.count("<|im_end|>")
    letters = len(chat.replace("<|im_start|>", "").replace("<|im_end|>", ""))  # a token is a byte
    assert found.lengths["prompt/tokens"].mean == marks + letters
    assert found.lengths["answer/tokens"].mean == 4


def test_the_command_prints_text_and_json(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "q", "completion": "a"}\n{"prompt": "q"\n')
    run = CliRunner().invoke(cli, ["-q", "data", "stats", str(rows)])
    assert run.exit_code == 0
    assert "2 rows: demonstration 1" in run.output
    assert "1 cannot be read: not_json 1" in run.output
    as_json = CliRunner().invoke(cli, ["-q", "data", "stats", str(rows), "--json"])
    assert json.loads(as_json.output)["kinds"] == {"demonstration": 1}


# ---------------------------------------------------------------- tallies


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=200))
def test_spread_is_numpys(values: list[int]) -> None:
    lengths = Lengths()
    for value in values:
        lengths.add(value)
    spread = lengths.spread()
    assert spread is not None
    assert spread.mean == pytest.approx(np.mean(values))
    assert spread.quantiles == pytest.approx(np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95]))


@given(st.lists(st.integers(0, 30), max_size=100))
def test_repeated_counts_all_but_the_first(values: list[int]) -> None:
    distinct = Distinct()
    for value in values:
        distinct.add(hashlib.blake2b(str(value).encode()).digest())
    assert distinct.count() == len(set(values))
    if values:
        assert distinct.repeated() == pytest.approx(1 - len(set(values)) / len(values))


@given(st.lists(st.sampled_from("abcdefghij"), max_size=200), st.integers(1, 12))
def test_top_undercounts_by_no_more_than_it_says(names: list[str], capacity: int) -> None:
    top = Top(capacity)
    for name in names:
        top.add(name)
    truth = Counter(names)
    short = len(names) / (capacity + 1)
    assert len(top.counts) <= capacity
    assert all(truth[name] - short <= top.counts[name] <= truth[name] for name in truth)
    assert top.counts == truth or not top.exact


def test_a_sample_is_drawn_with_equal_chances() -> None:
    drawn: Counter[int] = Counter()
    for seed in range(2_000):
        sample = Sample[int](3, seed)
        for item in range(10):
            sample.add(item)
        assert len(set(sample.items)) == 3
        drawn.update(sample.items)
    assert all(abs(count - 600) < 5 * (2_000 * 0.3 * 0.7) ** 0.5 for count in drawn.values())
