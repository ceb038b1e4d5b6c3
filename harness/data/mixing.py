"""A mixture of sources: how many rows of each, which ones, and in which order.

counts, weights -> how many rows of each -> the first of each by a hash -> one order by a hash, or from easy to hard
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Annotated

from pydantic import Field

from harness.data.record import Record
from harness.data.splitting import hashed
from harness.errors import ConfigError
from harness.specs import Config


class MixConfig(Config):
    """How sources are mixed."""

    weights: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...] | None = None
    """Of each source. Default: by its number of rows n and the temperature, n^(1/T)."""
    temperature: float = Field(default=1.0, ge=1)
    """1 takes sources as large as they are, more makes them more equal (Conneau et al. 2019, arXiv:1911.02116, whose
    alpha is 1/T)."""
    size: int | None = Field(default=None, ge=1)
    """Rows of the mixture. Default: as many as the weights allow."""
    max_repeats: int = Field(default=1, ge=1)
    """How often a row can be in it."""
    curriculum: str = ""
    """From easy to hard by `length` (words), `difficulty` (that column, or 1 - the column `pass_rate`) or a column."""
    buckets: int = Field(default=10, ge=1)
    """Steps of the curriculum, within which rows are shuffled."""
    seed: int = 0


def shares(counts: Sequence[int], config: MixConfig) -> list[Fraction]:
    """What share of the mixture each source is, summing to 1."""
    given = config.weights or [count ** (1 / config.temperature) for count in counts]
    weights = [Fraction(weight) for weight in given]
    return [weight / sum(weights) for weight in weights]


def largest(counts: Sequence[int], parts: Sequence[Fraction], max_repeats: int) -> int:
    """How many rows a mixture can have at most, if it has these parts and no row more often than that."""
    return min(
        count * max_repeats * part.denominator // part.numerator for count, part in zip(counts, parts, strict=True)
    )


def apportion(size: int, parts: Sequence[Fraction]) -> list[int]:
    """`size` rows by these parts: rounded down, and the rest to the largest remainders (Hamilton's method)."""
    quotas = [size * part for part in parts]
    taken = [math.floor(quota) for quota in quotas]
    by_remainder = sorted(range(len(parts)), key=lambda index: (taken[index] - quotas[index], index))
    for index in by_remainder[: size - sum(taken)]:
        taken[index] += 1
    return taken


def drawn(keys: Sequence[str], number: int, seed: int) -> list[tuple[int, int]]:
    """Which rows of a source are in the mixture, as (row, how often it was before): all of them as often as that goes,
    then the first by a hash of their keys. So a row that is added replaces one other at most."""
    times, rest = divmod(number, len(keys))
    first = sorted(range(len(keys)), key=lambda row: hashed(seed, "draw", keys[row]))[:rest]
    return [(row, turn) for turn in range(times) for row in range(len(keys))] + [(row, times) for row in first]


def in_order(keys: Sequence[str], seed: int) -> list[int]:
    """The order of a mixture: by a hash of the rows' keys, so that those of any subset keep theirs."""
    return sorted(range(len(keys)), key=lambda row: hashed(seed, "order", keys[row]))


def from_easy(order: Sequence[int], measures: Sequence[float], buckets: int) -> list[int]:
    """That order within buckets of equal size, which go from small measures to large ones."""
    ranked = sorted(order, key=lambda row: measures[row])
    place = {row: rank * buckets // len(ranked) for rank, row in enumerate(ranked)}
    return sorted(order, key=lambda row: place[row])


def measure(record: Record, by: str) -> float:
    """How hard a record is. Raises ConfigError where it does not say."""
    if by == "length":
        return float(len(record.text.split()))
    if by == "difficulty" and by not in record.extra:
        return 1.0 - _number(record, "pass_rate", "Write a column difficulty or pass_rate.")
    return _number(record, by, f"Its other columns: {', '.join(sorted(record.extra)) or 'none'}.")


def _number(record: Record, name: str, remedy: str) -> float:
    value = record.extra.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"column {name!r} holds no number", where=record.where, remedy=remedy)
    return float(value)
