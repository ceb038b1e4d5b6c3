"""Prompts that the policy always or never answers well: groups without signal."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from harness.api import RUNS
from harness.data.record import Flaw, Record
from harness.protocols import RunContext
from harness.records import read_groups
from harness.store import RunStore
from harness_plugins.filters.learning.configs import DifficultyConfig

RIGHT = 1e-9
"""Rewards are weighted means: those of right answers may be off 1 in the last bits."""


class DifficultyFilter:
    """Says nothing of a record whose pass rate is not known: a group needs two answers with rewards."""

    def __init__(self, config: DifficultyConfig, context: RunContext) -> None:
        """Raises StoreError if the run that is named is none."""
        self._config = config
        self._store = None if config.run is None else open_run(config.run)

    @cached_property
    def _rates(self) -> Mapping[str, float]:
        """By question and by id, of every prompt that the run has sampled; over all its rounds."""
        worths: defaultdict[str, list[float]] = defaultdict(list)
        if self._store is not None:
            for index, step in sorted(self._store.entries):
                if step == "judge":
                    for scored in self._store.load(index, step, read_groups):
                        known = [reward for reward in scored.rewards if reward is not None]
                        for key in (scored.group.prompt.question, f"id {scored.group.prompt.id}"):
                            worths[key] += known
        return {key: self._rate(known) for key, known in worths.items() if len(known) > 1}

    def check(self, record: Record) -> list[Flaw]:
        rate = self._pass_rate(record)
        if rate is None:
            return []
        if rate <= self._config.low + RIGHT:
            return [Flaw("always_wrong", f"pass rate {rate:.2f}")]
        if rate >= self._config.high - RIGHT and share_of(record.prompt.id) >= self._config.keep_easy:
            return [Flaw("always_right", f"pass rate {rate:.2f}")]
        return []

    def _pass_rate(self, record: Record) -> float | None:
        if self._store is not None:
            by_id = self._rates.get(f"id {record.prompt.id}")
            return by_id if by_id is not None else self._rates.get(_question(record))
        if record.kind == "group":
            known = [answer.worth for answer in record.answers if answer.worth is not None]
            return self._rate(known) if len(known) > 1 else None
        column = record.extra.get("pass_rate")
        number = isinstance(column, int | float) and not isinstance(column, bool) and math.isfinite(column)
        return float(column) if number else None

    def _rate(self, worths: Sequence[float]) -> float:
        if self._config.rate == "passed":
            return sum(worth >= 1 - RIGHT for worth in worths) / len(worths)
        return math.fsum(worths) / len(worths)


def _question(record: Record) -> str:
    """Of a prompt whose tools are none there is no question: no run has sampled it."""
    try:
        return record.prompt.question
    except (TypeError, ValueError):
        return ""


def share_of(name: str) -> float:
    """A number in [0, 1) that a name always has, evenly spread over names."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:7]) / 2**56


def open_run(name: str) -> RunStore:
    """By folder, or by name among runs. Raises StoreError if it is neither."""
    folder = Path(name)
    return RunStore.open(folder if RunStore.exists(folder) or "/" in name else RUNS / name)


def run_content(config: DifficultyConfig) -> str:
    """Digest of the run that is named, "" for none."""
    return "" if config.run is None else open_run(config.run).digest()
