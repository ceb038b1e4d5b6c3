"""Locality-sensitive hashing (Indyk and Motwani 1998) of MinHash signatures: which of very many sets to compare."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from rensa import RMinHash

from harness_plugins.filters.duplicates.shingles import PARTS, Ints, Long, Sets, mixed, ragged

HASHES = 128
"""In a signature."""
RECALL = 0.98
"""Least probability that two sets whose Jaccard index is the threshold are compared."""
_SEED = 20_000
_CHUNK = 1 << 13
_NEIGHBOURS = 4
"""In a bucket a set is compared with the first and so many before it, so that time stays linear."""


def banding(threshold: float) -> tuple[int, int]:
    """Bands and rows: the most rows, hence the fewest needless comparisons, with a recall of RECALL. Two sets of
    Jaccard index s share a bucket with probability 1 - (1 - s^rows)^bands."""
    shapes = [(HASHES // rows, rows) for rows in range(1, HASHES + 1)]
    return [(bands, rows) for bands, rows in shapes if 1 - (1 - threshold**rows) ** bands >= RECALL][-1]


def tagged(sets: Sets, rows_M: Ints) -> tuple[Long, Ints]:
    """Members of all parts of M records as one set each, and where each begins. A member of a prompt is not the same as
    one of an answer."""
    owner, at = ragged(sets.starts_N_P[rows_M].ravel(), sets.sizes_N_P[rows_M].ravel())
    begins_M = np.cumsum(sets.sizes_N_P[rows_M].sum(axis=1)) - sets.sizes_N_P[rows_M].sum(axis=1)
    members = sets.hashes[at].astype(np.uint64) << np.uint64(8) | (owner % PARTS).astype(np.uint64)
    return mixed(members), begins_M


def identities(sets: Sets) -> Long:
    """64 bits a record, the same for the same guard and sets."""
    found = [np.empty(0, dtype=np.uint64)]
    for start in range(0, len(sets), _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, len(sets)))
        members, begins = tagged(sets, rows)
        found.append(mixed(np.add.reduceat(mixed(members), begins) ^ sets.guards_N[rows]))
    return np.concatenate(found)


def candidates(sets: Sets, rows_M: Ints, threshold: float) -> Iterator[tuple[Ints, Ints]]:
    """Pairs of records among `rows_M` that share a bucket, band by band: the earlier and the later."""
    buckets_B_M = _buckets(sets, rows_M, *banding(threshold))
    for bucket_M in buckets_B_M:
        order_M = np.argsort(bucket_M, kind="stable")
        ordered_M = bucket_M[order_M]
        new_M = np.append(True, ordered_M[1:] != ordered_M[:-1])
        first_M = np.flatnonzero(new_M)[np.cumsum(new_M) - 1]
        places = np.arange(len(order_M))
        for back in range(_NEIGHBOURS + 1):
            before = np.maximum(places - back, first_M) if back else first_M
            real = (before < places) & ((places - before == back) if back else (places - before > _NEIGHBOURS))
            yield rows_M[order_M[before[real]]], rows_M[order_M[real]]


def _buckets(sets: Sets, rows_M: Ints, bands: int, rows: int) -> npt.NDArray[np.uint64]:
    buckets_B_M = np.empty((bands, len(rows_M)), dtype=np.uint64)
    for start in range(0, len(rows_M), _CHUNK):
        some = rows_M[start : start + _CHUNK]
        members, begins = tagged(sets, some)
        offsets = np.append(begins, len(members)).astype(np.uint64)
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(members, offsets, bands * rows, _SEED)
        signatures_C_B_R = np.array(matrix.to_rows(), dtype=np.uint64).reshape(len(some), bands, rows)
        keys_C_B = np.repeat(sets.guards_N[some][:, None], bands, axis=1)
        for row in range(rows):
            keys_C_B = mixed(keys_C_B + signatures_C_B_R[:, :, row] + np.uint64(1))
        buckets_B_M[:, start : start + _CHUNK] = keys_C_B.T
    return buckets_B_M
