"""Passages of the data set HaluEval as documents: what is held out shares no eight words with any other passage.

The data are an asset pinned by sha256, so the result is a constant: a digest of it is pinned by a test.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator

from harness.assets import fetch
from harness.protocols import Progress
from harness.types import Prompt

BUCKETS, BUCKET = 10, 9
"""Only passages whose sha256 leaves this remainder are taken: the other nine tenths are free for suites that ask about
passages, and no suite trains on what another holds out."""

MIN_WORDS = 60
HELD_OUT = 100
SHARED_WORDS = 8


def build(progress: Progress) -> tuple[tuple[Prompt, ...], tuple[Prompt, ...]]:
    """Passages to train on and to hold out, in the order of their hashes."""
    path = fetch("halueval", progress) / "dataset_halueval_qa.jsonl"
    passages = dict.fromkeys(json.loads(line)["knowledge"] for line in path.read_text(encoding="utf-8").splitlines())
    seen_in = Counter(run for passage in passages for run in _runs(passage))
    ours = sorted((p for p in passages if is_ours(p) and len(p.split()) >= MIN_WORDS), key=passage_hash)
    apart = [passage for passage in ours if all(seen_in[run] == 1 for run in _runs(passage))]
    held_out = dict.fromkeys(apart[:HELD_OUT])
    train = [passage for passage in ours if passage not in held_out]
    return tuple(map(_document, train)), tuple(map(_document, held_out))


def is_ours(passage: str) -> bool:
    """Whether a passage, as it stands in the data, belongs to this suite."""
    return int(passage_hash(passage), 16) % BUCKETS == BUCKET


def passage_hash(passage: str) -> str:
    return hashlib.sha256(passage.encode()).hexdigest()


def _runs(passage: str) -> set[str]:
    """Every eight words of a passage that follow each other, in lower case."""
    return set(_windows(re.findall(r"\w+", passage.casefold())))


def _windows(words: list[str]) -> Iterator[str]:
    for start in range(len(words) - SHARED_WORDS + 1):
        yield " ".join(words[start : start + SHARED_WORDS])


def _document(passage: str) -> Prompt:
    name = f"halueval-{passage_hash(passage)[:12]}"
    return Prompt(id=name, messages=(), reference=passage.strip(), cluster=name)
