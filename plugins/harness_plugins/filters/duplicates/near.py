"""`near_duplicates`: records whose words are nearly those of another.

MinHash signatures (Broder 1997) in bands say which records to compare; what is called near is what the sets themselves
say, so the choice of library decides about recall and speed only. rensa makes the signatures: from arrays to an array 9
microseconds a short record, where datasketch takes 18, and its estimates of short texts vary less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness.data.record import Flaw, Record
from harness.protocols import RunContext
from harness_plugins.filters.duplicates.banding import candidates, identities
from harness_plugins.filters.duplicates.clusters import firsts
from harness_plugins.filters.duplicates.form import without_form
from harness_plugins.filters.duplicates.parts import guard, parts
from harness_plugins.filters.duplicates.settings import NearConfig
from harness_plugins.filters.duplicates.shingles import EVERY, Ints, Sets, packed, shingles, units, unpacked

_CHUNK = 1 << 15


class NearDuplicates:
    """Records are near if the Jaccard index of the shingles of their prompts is at least the threshold, and that of
    their answers too: with a long passage before each question, or one word for an answer, one of the two says little.
    Tools, worth and (`same_numbers`) numbers must be the same, and what most prompts share does not count.

    Near ones of near ones are in one cluster, of which the first stays.
    """

    def __init__(self, config: NearConfig, context: RunContext) -> None:
        self.config = config

    def sketch(self, record: Record) -> bytes:
        """The guard and up to 128 hashed shingles of 4 bytes a part; empty where there is nothing to compare."""
        texts = parts(record, self.config.by)
        if not texts:
            return b""
        found = [units(text, self.config.shingle) for text in texts]
        same = guard(record, self.config.by, texts, same_numbers=self.config.same_numbers)
        return packed(same, found[0][1], [shingles(codes, self.config.size) for codes, _ in found])

    def survey(self, sketches: Sequence[bytes]) -> Mapping[int, Flaw]:
        index_N = np.array([index for index, sketch in enumerate(sketches) if sketch], dtype=np.int64)
        if not len(index_N):
            return {}
        sets = unpacked([sketch for sketch in sketches if sketch])
        if self.config.by != "answer":
            sets = without_form(sets)
        _, rows_M, copy_N = np.unique(identities(sets), return_index=True, return_inverse=True)
        rows_M, copy_N = _in_order(rows_M, copy_N)
        first_N = firsts(len(sets), *self._near(sets, rows_M))[rows_M[copy_N]]
        later = np.flatnonzero(first_N != np.arange(len(sets)))
        similarity = np.concatenate([np.empty(0), *(sets.jaccard(first_N[c], c) for c in _chunks(later))])
        return {
            int(index_N[at]): Flaw("near_duplicate", self._detail(value), other=int(index_N[first_N[at]]))
            for at, value in zip(later, similarity, strict=True)
        }

    def _near(self, sets: Sets, rows_M: Ints) -> tuple[Ints, Ints]:
        """All pairs found to be near, among records of which no two are the same."""
        found = [np.empty(0, dtype=np.int64)]
        for one, other in candidates(sets, rows_M, self.config.threshold):
            possible = _possible(sets, one, other, self.config.threshold)
            found.append(np.unique(one[possible] << 32 | other[possible]))
        codes = np.unique(np.concatenate(found))
        near = [np.empty(0, dtype=np.int64)]
        for chunk in _chunks(codes):
            near.append(chunk[sets.jaccard(chunk >> 32, chunk & 0xFFFFFFFF) >= self.config.threshold])
        codes = np.concatenate(near)
        return codes >> 32, codes & 0xFFFFFFFF

    def _detail(self, similarity: float) -> str:
        if similarity >= self.config.threshold:
            return f"Jaccard index {similarity:.2f}"
        return f"Jaccard index {similarity:.2f}; others lie between"


def _possible(sets: Sets, one_M: Ints, other_M: Ints, threshold: float) -> np.ndarray:
    """Pairs with one guard whose whole sets are not of too different sizes."""
    small_M_P = np.minimum(sets.sizes_N_P[one_M], sets.sizes_N_P[other_M])
    large_M_P = np.maximum(sets.sizes_N_P[one_M], sets.sizes_N_P[other_M])
    sampled_M_P = np.minimum(sets.ends_N_P[one_M], sets.ends_N_P[other_M]) < EVERY
    alike_M = ((small_M_P >= threshold * large_M_P) | sampled_M_P).all(axis=1)
    return np.asarray(alike_M & (sets.guards_N[one_M] == sets.guards_N[other_M]))


def _in_order(rows_M: Ints, copy_N: Ints) -> tuple[Ints, Ints]:
    """The same with rows ascending, so that of each bucket the earliest is the first."""
    order = np.argsort(rows_M)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return rows_M[order], place[copy_N]


def _chunks(values: Ints) -> list[Ints]:
    return [values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK)]
