"""What a single pass over very many rows can count in little memory."""

from __future__ import annotations

import random
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True)
class Spread:
    """Of n numbers their mean, quantiles at LEVELS (linear between neighbours) and largest."""

    n: int
    mean: float
    quantiles: tuple[float, ...]
    largest: int


class Lengths:
    """Whole numbers of which every one is kept, in four bytes."""

    def __init__(self) -> None:
        self.values = array("i")

    def add(self, value: int) -> None:
        self.values.append(value)

    def spread(self) -> Spread | None:
        """None where there is nothing."""
        import numpy as np

        if not self.values:
            return None
        values = np.frombuffer(self.values, dtype=np.int32)
        quantiles = tuple(float(value) for value in np.quantile(values, LEVELS))
        return Spread(len(values), float(values.mean()), quantiles, int(values.max()))


class Distinct:
    """How many different things there were, by 64-bit digests: of a million things, two are mistaken for one with a
    chance of 3e-8."""

    def __init__(self) -> None:
        self.digests = array("Q")

    def add(self, digest: bytes) -> None:
        self.digests.frombytes(digest[:8])

    def count(self) -> int:
        import numpy as np

        return len(np.unique(np.frombuffer(self.digests, dtype=np.uint64)))

    def repeated(self) -> float | None:
        """The share of things that had been there before."""
        return 1.0 - self.count() / len(self.digests) if self.digests else None


@dataclass
class Top:
    """The most frequent names: counts are exact while there are at most `capacity` names. Beyond, each may be short by
    n / (capacity + 1) of n things, and all that are more frequent are kept (Misra and Gries 1982)."""

    capacity: int = 10_000
    counts: Counter[str] = field(default_factory=Counter)
    exact: bool = True

    def add(self, name: str) -> None:
        self.counts[name] += 1
        if len(self.counts) > self.capacity:
            self.exact = False
            self.counts = Counter({name: count - 1 for name, count in self.counts.items() if count > 1})

    def most(self, n: int) -> dict[str, int]:
        """Names in order of count, then alphabet."""
        return dict(sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))[:n])


class Sample(Generic[T]):
    """Things drawn with equal chances from a stream (Vitter 1985, algorithm R)."""

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seen = size, 0
        self.items: list[T] = []
        self._random = random.Random(seed)

    def add(self, item: T) -> None:
        self.seen += 1
        if len(self.items) < self.size:
            self.items.append(item)
        elif (place := self._random.randrange(self.seen)) < self.size:
            self.items[place] = item
