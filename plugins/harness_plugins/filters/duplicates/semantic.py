"""`semantic_duplicates`: records that say in other words what another says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isqrt

import numpy as np

from harness.data.record import Flaw, Record
from harness.protocols import RunContext
from harness_plugins.filters.duplicates.clusters import firsts
from harness_plugins.filters.duplicates.embedding import Embedder, Halves
from harness_plugins.filters.duplicates.kmeans import centres, nearest
from harness_plugins.filters.duplicates.parts import guard, parts
from harness_plugins.filters.duplicates.settings import SemanticConfig
from harness_plugins.filters.duplicates.shingles import Ints

EXACT = 50_000
"""Up to so many records all pairs are compared; of more only those within a cluster (SemDeDup, Abbas et al. 2023)."""
_CLUSTERS_EACH = 2
"""Clusters that a record is compared in: the nearest ones, so that a border between two parts few pairs."""
_FITTED = 20_000
_BLOCK = 1024


class SemanticDuplicates:
    """Records mean the same if the cosine of the embeddings of their prompts is at least the threshold, and that of
    their answers too. Embeddings hardly see numbers, so (`same_numbers`) these must be the same, as must tools, worth
    and what of a text the model does not read.

    Near ones of near ones are in one cluster, of which the first stays. Time is that of n^2 dot products up to EXACT
    records with one guard, and of n^1.5 beyond.
    """

    def __init__(self, config: SemanticConfig, context: RunContext) -> None:
        self.config = config
        self.embedder = Embedder(config, context)

    def sketch(self, record: Record) -> bytes:
        return self.sketches([record])[0]

    def sketches(self, records: Sequence[Record]) -> list[bytes]:
        """The guard, and for each part a vector in half precision; empty where there is nothing to compare."""
        texts = [parts(record, self.config.by) for record in records]
        vectors, unread = self.embedder.embed([text for some in texts for text in some])
        found, at = [], 0
        for record, some in zip(records, texts, strict=True):
            here, at = slice(at, at + len(some)), at + len(some)
            also = ([not text for text in some], unread[here])
            same = guard(record, self.config.by, some, *also, same_numbers=self.config.same_numbers)
            found.append(same + vectors[here].tobytes() if some else b"")
        return found

    def survey(self, sketches: Sequence[bytes]) -> Mapping[int, Flaw]:
        groups: dict[tuple[bytes, int], list[int]] = {}
        for index, sketch in enumerate(sketches):
            if sketch:
                groups.setdefault((sketch[:8], len(sketch)), []).append(index)
        flaws: dict[int, Flaw] = {}
        for (guarded, _), indices in groups.items():
            if len(indices) > 1:
                # All of one guard have as many parts: its digest counts them.
                flaws |= self._flaws([sketches[index][len(guarded) :] for index in indices], indices)
        return dict(sorted(flaws.items()))

    def _flaws(self, packed: Sequence[bytes], indices: Sequence[int]) -> dict[int, Flaw]:
        width = self.embedder.width
        vectors_N_P_D = np.frombuffer(b"".join(packed), dtype=np.float16).reshape(len(packed), -1, width)
        pairs = [np.empty((2, 0), dtype=np.int64)]
        for members in _neighbourhoods(vectors_N_P_D):
            pairs += list(_alike(vectors_N_P_D, members, self.config.threshold))
        one, other = np.concatenate(pairs, axis=1)
        first_N = firsts(len(packed), one, other)
        later = np.flatnonzero(first_N != np.arange(len(packed)))
        return {
            indices[at]: Flaw(
                "semantic_duplicate", self._detail(vectors_N_P_D[at], vectors_N_P_D[first]), other=indices[first]
            )
            for at, first in zip(later.tolist(), first_N[later].tolist(), strict=True)
        }

    def _detail(self, one_P_D: Halves, other_P_D: Halves) -> str:
        cosine = float((one_P_D.astype(np.float32) * other_P_D.astype(np.float32)).sum(axis=1).min())
        return f"cosine {cosine:.2f}" + ("" if cosine >= self.config.threshold - 1e-3 else "; others lie between")


def _neighbourhoods(vectors_N_P_D: Halves) -> Iterator[Ints]:
    """Sets of records within which all pairs are compared."""
    number = len(vectors_N_P_D)
    if number <= EXACT:
        yield np.arange(number)
        return
    joined_N_D = vectors_N_P_D.reshape(number, -1)
    sample = joined_N_D[:: -(-number // _FITTED)].astype(np.float32)
    parts_P = vectors_N_P_D.shape[1]
    centres_K_D = centres(sample / np.sqrt(parts_P, dtype=np.float32), isqrt(number), seed=0)
    labels_N_2 = nearest(joined_N_D, centres_K_D, _CLUSTERS_EACH)
    label, record = labels_N_2.ravel(), np.repeat(np.arange(number), labels_N_2.shape[1])
    order = np.lexsort((record, label))
    yield from np.split(record[order], np.flatnonzero(np.diff(label[order])) + 1)


def _alike(vectors_N_P_D: Halves, members: Ints, threshold: float) -> Iterator[Ints]:
    """Pairs [2, M] among members whose parts are all as near as the threshold says."""
    vectors_P_M_D = vectors_N_P_D[members].transpose(1, 0, 2).astype(np.float32)
    for start in range(0, len(members), _BLOCK):
        alike = np.ones((min(_BLOCK, len(members) - start), len(members) - start), dtype=bool)
        for vectors_M_D in vectors_P_M_D:
            alike &= vectors_M_D[start : start + _BLOCK] @ vectors_M_D[start:].T >= threshold
        one, other = np.nonzero(np.triu(alike, 1))
        yield np.stack([members[one + start], members[other + start]])
