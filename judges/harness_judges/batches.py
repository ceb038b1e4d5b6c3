"""Sequences in batches without padding: what a sequence gets does not depend on which others are there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby


def equal_lengths(sequences: Sequence[Sequence[int]], size: int) -> Iterator[list[int]]:
    """Places of up to `size` sequences of the same length, each place once, the short ones first."""
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    for _, alike in groupby(order, key=lambda i: len(sequences[i])):
        places = list(alike)
        for start in range(0, len(places), size):
            yield places[start : start + size]
