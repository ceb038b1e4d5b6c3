"""Which side of a split each cluster of prompts falls on: by a hash of its own, so that what is added moves nothing.

record -> key of its cluster -> clusters that share a prompt are one -> hash against the shares of the sides
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import Field, field_validator

from harness.data.record import Record
from harness.errors import ConfigError
from harness.overlap import overlaps, text_of
from harness.specs import Config
from harness.types import Prompt, canonical_json

OWN_KEYS = ("cluster", "prompt", "near")
"""What `by` may say beside a column."""
SIDES = {"train": 0.8, "valid": 0.1, "test": 0.1}


class SplitConfig(Config):
    """How data are split."""

    ratios: dict[str, float] = Field(default=SIDES, description="share of the clusters that each side gets, in order")
    by: str = Field(default="cluster", min_length=1, description=f"{', '.join(OWN_KEYS)}, or a column")
    seed: int = 0

    @field_validator("ratios")
    @classmethod
    def _are_shares(cls, ratios: dict[str, float]) -> dict[str, float]:
        if len(ratios) < 2 or not all(re.fullmatch(r"[a-z][a-z0-9_-]*", side) for side in ratios):
            raise ValueError("name two sides or more, with small letters, as the files will be called")
        if not all(0 < share < 1 for share in ratios.values()) or abs(sum(ratios.values()) - 1) > 1e-9:
            raise ValueError("shares lie between 0 and 1, and add up to 1")
        return ratios


# ---------------------------------------------------------------- keys


def compared(record: Record) -> Prompt:
    """The prompt as it is compared with others: raw text has none, and is all that there is to compare."""
    if record.prompt.messages:
        return record.prompt
    return replace(record.prompt, reference="\n".join(answer.text for answer in record.answers))


def wording(prompt: Prompt) -> str:
    """The words that are asked, up to case and punctuation; where there are none, all messages as they are."""
    return " ".join(re.findall(r"\w+", text_of(prompt).casefold())) or canonical_json(list(map(dict, prompt.messages)))


def cluster_key(record: Record, prompt: Prompt, by: str) -> str:
    """What a record has in common with the rest of its cluster. `prompt` is the one that is compared.

    By `cluster`: the cluster that its prompt or its column `cluster` names, else the names of its tools, else the
    words that are asked. By `prompt` and `near`: these words. Raises ConfigError where it lacks the column.
    """
    if by == "cluster":
        named = prompt.cluster or record.extra.get("cluster")
        if named:
            return f"cluster {named if isinstance(named, str) else canonical_json(named)}"
        if prompt.tools:
            return f"tools {canonical_json(sorted(str(tool.get('name')) for tool in json.loads(prompt.tools)))}"
    elif by not in OWN_KEYS:
        if record.extra.get(by) is None:
            known = ", ".join(sorted(record.extra)) or "none"
            raise ConfigError(f"it has no column {by!r}", where=record.where, remedy=f"Its other columns: {known}.")
        return f"column {canonical_json(record.extra[by])}"
    return f"words {wording(prompt)}"


def hashed(*parts: object) -> int:
    """The first 64 bits of a sha256, the same in every process and version."""
    return int.from_bytes(hashlib.sha256("\0".join(map(str, parts)).encode()).digest()[:8], "big")


def side_of(name: int, config: SplitConfig) -> str:
    """Where a cluster falls by itself: its hash with the seed, in [0, 1), against the cumulated shares."""
    place = hashed(config.seed, name) / 2**64
    bounds = itertools.accumulate(config.ratios.values())
    return next(
        (side for side, bound in zip(config.ratios, bounds, strict=True) if place < bound), [*config.ratios][-1]
    )


# ---------------------------------------------------------------- clusters


class Clusters:
    """Rows by prompt and cluster, as they are read: those that share either, and what these share, are one cluster.

    A cluster is named by the smallest hash among its keys. So it keeps its name whatever is added with the same keys,
    and can only get another where an addition joins it with other keys.
    """

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self._parents: list[int] = []
        self._names: list[int] = []
        self.questions: dict[str, int] = {}
        """A node of the cluster of each prompt, by `Prompt.question`."""

    def add(self, question: str, key: str) -> None:
        node = self._node(key)
        self.join(self.questions.setdefault(question, node), node)

    def join_keys(self, one: str, other: str) -> None:
        self.join(self._node(one), self._node(other))

    def join(self, one: int, other: int) -> None:
        first, second = self.root(one), self.root(other)
        self._parents[second] = first
        self._names[first] = min(self._names[first], self._names[second])

    def root(self, node: int) -> int:
        while self._parents[node] != node:
            self._parents[node] = self._parents[self._parents[node]]
            node = self._parents[node]
        return node

    def name(self, question: str) -> int:
        return self._names[self.root(self.questions[question])]

    def _node(self, key: str) -> int:
        name = hashed(key)
        node = self._numbers.setdefault(name, len(self._parents))
        if node == len(self._parents):
            self._parents.append(node)
            self._names.append(name)
        return node


def near_pairs(prompts: Mapping[str, Prompt]) -> list[tuple[str, str]]:
    """Of prompts by key, the keys of those that ask nearly the same (`harness.overlap`)."""
    numbered = [replace(prompt, id=key) for key, prompt in prompts.items()]
    return [(pair.one.id, pair.other.id) for pair in overlaps(numbered)]


# ---------------------------------------------------------------- sides


@dataclass(frozen=True)
class Assignment:
    """The side of each prompt, by `Prompt.question`, and what became of those of an earlier split."""

    sides: Mapping[str, str]
    kept: int = 0
    """Prompts that an earlier split had, all of which are where they were."""
    would_have_moved: int = 0
    """Those of them that would be elsewhere now, had it not been given."""
    bridged: int = 0
    """Clusters with prompts of an earlier split on two sides, so that a cluster is on two sides."""


def assign(clusters: Clusters, config: SplitConfig, earlier: Mapping[str, str] | None = None) -> Assignment:
    """Every prompt's side. Those that are in `earlier` (side by question) stay there, and what is new in their
    clusters follows most of them."""
    known = earlier or {}
    held: dict[int, Counter[str]] = {}
    for question, side in known.items():
        if question in clusters.questions:
            held.setdefault(clusters.name(question), Counter())[side] += 1
    sides: dict[str, str] = {}
    kept = moved = 0
    by_name: dict[int, tuple[str, str]] = {}
    for question in clusters.questions:
        name = clusters.name(question)
        if name not in by_name:
            own = side_of(name, config)
            by_name[name] = own, _most(held[name], own) if name in held else own
        own, new = by_name[name]
        sides[question] = known.get(question, new)
        if question in known:
            kept += 1
            moved += known[question] != own
    return Assignment(sides, kept, moved, sum(len(count) > 1 for count in held.values()))


def _most(count: Counter[str], own: str) -> str:
    """The side that holds most; of equals the cluster's own, else the first by name."""
    most = max(count.values())
    first = sorted(side for side, number in count.items() if number == most)
    return own if own in first else first[0]


def require_same(config: SplitConfig, stored: Any, *, where: str) -> None:
    """Raises ConfigError where an earlier split was made otherwise: new clusters would not go where they went then."""
    given = config.model_dump(mode="json")
    stored = stored if isinstance(stored, dict) else {}
    differing = [key for key, value in given.items() if json.dumps(stored.get(key)) != json.dumps(value)]
    if differing:
        raise ConfigError(
            f"that split was made with another {differing[0]}", where=where, remedy="Split as it was, or anew."
        )


def crossing(pairs: Iterable[tuple[str, str]], sides: Mapping[str, Sequence[str]]) -> int:
    """How many of these pairs of keys are on two sides; a key's prompts may be on several."""
    return sum(len({*sides[one], *sides[other]}) > 1 for one, other in pairs)
