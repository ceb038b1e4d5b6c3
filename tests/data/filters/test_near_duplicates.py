"""The filter of near duplicates, held against the definition of the Jaccard index by brute force."""

from __future__ import annotations

import hashlib
import os
import random
import re
import subprocess
import sys
from functools import cache
from itertools import combinations

import numpy as np
import pytest
from datasketch import MinHash
from duplicate_records import questions, record, sifted
from hypothesis import given, settings
from hypothesis import strategies as st
from rensa import RMinHash

from harness.data.record import Record
from harness.protocols import RunContext
from harness_plugins.filters.duplicates.banding import RECALL, banding
from harness_plugins.filters.duplicates.near import NearDuplicates
from harness_plugins.filters.duplicates.settings import NearConfig
from harness_plugins.filters.duplicates.shingles import EVERY, packed, shingles, units, unpacked

WORDS = [f"w{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(600)]


@cache
def grams(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.casefold())
    return {tuple(words[at : at + 5]) for at in range(max(1, len(words) - 4))}


def index(one: str, other: str) -> float:
    return len(grams(one) & grams(other)) / len(grams(one) | grams(other))


def edited(text: str, rng: random.Random) -> str:
    words = text.split()
    for _ in range(rng.randint(1, 2)):
        at = rng.choice([rng.randrange(len(words)), len(words) - 1])
        words[at : at + 1] = rng.choice(([], [rng.choice(WORDS)], [words[at], rng.choice(WORDS)]))
    return " ".join(words)


def clusters(records: list[Record], **config: object) -> dict[int, int]:
    """By index of a record that is not the first of its cluster, which is."""
    made = NearDuplicates(NearConfig(**config), RunContext())
    found = made.survey([made.sketch(r) for r in records])
    return {at: flaw.other for at, flaw in found.items() if flaw.other is not None}


def connected(texts: list[str], threshold: float) -> dict[int, int]:
    """The same by comparing all pairs and joining what is near."""
    first = list(range(len(texts)))
    for one, other in combinations(range(len(texts)), 2):
        if index(texts[one], texts[other]) >= threshold and first[one] != first[other]:
            low, high = sorted((first[one], first[other]))
            first = [low if f == high else f for f in first]
    return {at: f for at, f in enumerate(first) if f != at}


def test_it_finds_what_comparing_all_pairs_finds() -> None:
    rng = random.Random(1)
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(1, 60))) for _ in range(150)]
    texts += [edited(rng.choice(texts), rng) or "x" for _ in range(250)]
    rng.shuffle(texts)
    expected = connected(texts, 0.7)
    found = clusters([record(t) for t in texts], by="prompt", threshold=0.7)
    assert len(expected) > 80
    assert found.items() <= expected.items()
    assert len(found) >= RECALL * len(expected)


@settings(max_examples=40)
@given(st.lists(st.text("ab c.", max_size=12), min_size=2, max_size=12), st.sampled_from([0.4, 0.6, 0.9]))
def test_no_pair_is_called_near_that_is_not(texts: list[str], threshold: float) -> None:
    texts = [text for text in texts if re.search(r"\w", text)]
    expected = connected(texts, threshold)
    found = clusters([record(t) for t in texts], by="prompt", threshold=threshold)
    assert found.items() <= expected.items()
    same = {at for at, text in enumerate(texts) if grams(text) in [grams(t) for t in texts[:at]]}
    assert same <= found.keys()


def test_planted_copies_of_real_questions_are_found_and_the_rest_stays() -> None:
    real = [q for q in questions() if len(q.split()) >= 25]
    real = [q for at, q in enumerate(real) if all(index(q, other) < 0.5 for other in real[:at])][:150]
    copies = []
    for q in real[:100]:
        words = q.split()
        copies.append(" ".join([*words[:-1], words[-1].upper() + "!!", "please"]))
    found = clusters([record(t) for t in [*real, *copies]], by="prompt")
    assert found == {len(real) + at: at for at in range(100)}


def test_clusters_are_the_same_whatever_the_order() -> None:
    rng = random.Random(3)
    texts = [" ".join(rng.choices(WORDS, k=40)) for _ in range(40)]
    texts += [edited(rng.choice(texts), rng) for _ in range(80)]

    def groups(order: list[int]) -> set[frozenset[int]]:
        first = {at: at for at in order} | {
            order[at]: order[f] for at, f in clusters([record(texts[at]) for at in order], by="prompt").items()
        }
        return {frozenset(at for at in first if first[at] == f) for f in set(first.values())}

    order = list(range(len(texts)))
    before = groups(order)
    rng.shuffle(order)
    assert groups(order) == before
    assert len(before) < 0.8 * len(texts)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (record("What is 3 factorial?", "6"), record("What is 5 factorial?", "120")),
        (record("x " * 30 + "add 5 + 3 " + "y " * 30, "a"), record("x " * 30 + "add 5 - 3 " + "y " * 30, "a")),
        (record("q " * 50, "yes"), record("q " * 50, "no")),
        (record("q " * 50, "a b", worths=[1.0]), record("q " * 50, "a b", worths=[0.0])),
        (record(" ".join(WORDS), "one way", "or another"), record(" ".join(WORDS), "or another", "one way")),
        (record("call it", "f"), record("call it", "f", tools='[{"name": "f"}]')),
    ],
    ids=["number", "sign", "answer", "worth", "swapped pair", "tools"],
)
def test_what_may_not_be_taken_for_a_copy(one: Record, other: Record) -> None:
    assert clusters([one, other]) == {}


def test_numbers_may_be_let_go() -> None:
    long = " ".join(WORDS[:60])
    rows = [record(f"{long} 3"), record(f"{long} 5")]
    assert clusters(rows) == {}
    assert clusters(rows, same_numbers=False) == {1: 0}


@pytest.mark.parametrize("length", [60, 400])
def test_an_instruction_before_each_question_makes_nothing_near(length: int) -> None:
    rng = random.Random(4)
    form = " ".join(rng.choices(WORDS, k=length))
    asked = [" ".join(rng.sample(WORDS, k=8)) for _ in range(50)]
    rows = [record(f"{form} {a}", "ok") for a in asked]
    assert clusters(rows) == {}
    assert clusters([*rows, rows[7]]) == {50: 7}


def test_long_texts_are_sampled_to_the_same_end() -> None:
    rng = random.Random(7)
    found = []
    for _ in range(60):
        text = rng.choices(WORDS, k=1000)
        pair = [" ".join(text), " ".join([*text[: rng.randrange(850, 950)], *rng.choices(WORDS, k=30)])]
        sets = unpacked([packed(bytes(8), 0, [shingles(units(t, "word")[0], 5)]) for t in pair])
        found.append(sets.jaccard(np.array([0]), np.array([1]))[0] - index(*pair))
    assert np.mean(found) == pytest.approx(0, abs=0.015)
    assert np.std(found) < 0.045


def test_the_index_of_sampled_sets_is_estimated_without_bias() -> None:
    rng = np.random.default_rng(5)
    found = []
    for _ in range(300):
        both = rng.choice(EVERY, 2000, replace=False).tolist()
        # 1600 of 2000, all in the other: the case in which samples differ most.
        sets = unpacked([packed(bytes(8), 0, [sorted(s)]) for s in (both, both[:1600])])
        found.append(sets.jaccard(np.array([0]), np.array([1]))[0])
    assert np.mean(found) == pytest.approx(0.8, abs=0.01)
    assert np.std(found) == pytest.approx(0.037, abs=0.008)


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.9])
def test_bands_find_what_theory_says(threshold: float) -> None:
    """On rensa's signatures and, as a second opinion of the library, on datasketch's."""
    bands, rows = banding(threshold)
    theory = 1 - (1 - threshold**rows) ** bands
    assert theory >= RECALL
    rng = np.random.default_rng(6)
    shared = round(200 * threshold)
    members = rng.integers(0, 2**32, (400, 200), dtype=np.uint64)
    ones, others = members[:, : (200 + shared) // 2], members[:, (200 - shared) // 2 :]
    # The middle is shared: of 200 members in all.
    signatures = []
    for some in (ones, others):
        offsets = np.arange(len(some) + 1, dtype=np.uint64) * np.uint64(some.shape[1])
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(some.ravel(), offsets, bands * rows, 1)
        signatures.append(np.array(matrix.to_rows()).reshape(-1, bands, rows))
    hit = (signatures[0] == signatures[1]).all(axis=2).any(axis=1).mean()
    assert hit >= theory - 0.03
    pairs = []
    for one, other in zip(ones[:60], others[:60], strict=True):
        both = [MinHash(bands * rows, hashfunc=int, scheme="affine32") for _ in range(2)]
        for sketch, some in zip(both, (one, other), strict=True):
            sketch.update_batch(some.tolist())
        pairs.append(both[0].jaccard(both[1]))
    rensa_mean = (signatures[0] == signatures[1]).mean()
    assert rensa_mean == pytest.approx(threshold, abs=0.02)
    assert np.mean(pairs) == pytest.approx(rensa_mean, abs=0.03)


def test_sketches_are_the_same_in_every_process_and_small() -> None:
    code = (
        "import sys, hashlib; sys.path.insert(0, sys.argv[1])\n"
        "from test_near_duplicates import digest_of_sketches\nprint(digest_of_sketches())"
    )
    folder = __file__.rsplit("/", 1)[0]
    results = [
        subprocess.run(
            [sys.executable, "-c", code, folder],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONHASHSEED": s},
        ).stdout.strip()
        for s in ("1", "2")
    ]
    assert results == [digest_of_sketches()] * 2
    made = NearDuplicates(NearConfig(), RunContext())
    assert len(made.sketch(record(" ".join(WORDS), " ".join(WORDS)))) <= 20 + 2 * 4 * 128


def digest_of_sketches() -> str:
    made = NearDuplicates(NearConfig(), RunContext())
    texts = [" ".join(WORDS[at : at + 30]) + f" é {at}" for at in range(20)]
    return hashlib.sha256(b"".join(made.sketch(record(t, "so")) for t in texts)).hexdigest()


def test_characters_serve_languages_without_spaces() -> None:
    one = "我们今天下午要去图书馆借几本关于历史和地理的书然后回家吃晚饭"
    assert clusters([record(one), record(one + "吧")], by="prompt") == {}
    assert clusters([record(one), record(one + "吧")], by="prompt", shingle="character") == {1: 0}
    codes, _ = units("abcdefg", "character")
    assert len(shingles(codes, 5)) == 3


def test_the_report_says_how_near_and_to_what() -> None:
    base = WORDS[:40]
    chain = [record(" ".join([*base, *WORDS[100 : 100 + extra]])) for extra in (0, 5, 10, 15)]
    found = sifted(chain, "near_duplicates", by="prompt")
    assert found.indices == [0]
    assert [found.remarks[at][0].detail for at in (1, 3)] == [
        f"Jaccard index {36 / 41:.2f}",
        f"Jaccard index {36 / 51:.2f}; others lie between",
    ]
    assert found.remarks[3][0].reason == "near_duplicate"
    assert sifted([], "near_duplicates").kept == []
    assert sifted([record(""), record("")], "near_duplicates").indices == [0, 1]
