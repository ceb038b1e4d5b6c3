"""Sets of shingles (Broder 1997) as numbers: made of a text, packed into bytes, compared pair by pair.

A sketch holds up to LARGEST members of the set of each text, those with the smallest hashes: a larger set is a sample.
Of two sets of which one is sampled, what is compared are the members below the smaller of their largest hashes, where
both are complete, so that the Jaccard index is estimated without bias, with a standard error of .035 at .8. Between
sets that are whole it is exact, but for two of 2^32 hashes that are the same.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from zlib import crc32

import numpy as np
import numpy.typing as npt

LARGEST = 128
PARTS = 3
"""The most parts that a record has: a prompt and two answers."""
EVERY = 2**32 - 1
_HEADER = 5
"""Words of 32 bits before the hashes: two of the guard, one of the first part's digest, two of the parts' sizes."""

Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint32]
Long = npt.NDArray[np.uint64]


def mixed(values: Long) -> Long:
    """64 bits of which each depends on all that went in (the finaliser of splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def units(text: str, kind: str) -> tuple[list[bytes], int]:
    """A text's words or characters, up to case and punctuation, and a digest of 32 bits of them all. Of a text without
    words it is all of the text."""
    words = re.findall(r"\w+", text.casefold()) or ([text.strip()] if text.strip() else [])
    found = [unit.encode("utf-8", "surrogatepass") for unit in (words if kind == "word" else " ".join(words))]
    return found, crc32(b"\0".join(found))


def shingles(units: Sequence[bytes], size: int) -> list[int]:
    """Hashes of every `size` neighbours, of all if there are fewer, sorted, each once; none of none."""
    size = min(size, len(units))
    joined = b"\0".join(units)
    ends = list(accumulate(len(unit) + 1 for unit in units))
    begins = [0, *ends]
    return sorted(
        {crc32(joined[begins[at] : ends[at + size - 1] - 1]) for at in range(len(units) - size + 1 if units else 0)}
    )


def packed(guard: bytes, digest: int, sets: Sequence[Sequence[int]]) -> bytes:
    kept = [members[:LARGEST] for members in sets]
    sizes = [*map(len, kept), *[0] * (PARTS + 1 - len(kept))]
    hashes = [member for members in kept for member in members]
    return guard + struct.pack(f"<I{PARTS + 1}H{len(hashes)}I", digest, *sizes, *hashes)


@dataclass
class Sets:
    """The sets of N records' parts: members of part p of record n are `hashes[starts[n, p]:][: sizes[n, p]]`."""

    hashes: Hashes
    starts_N_P: Ints
    sizes_N_P: Ints
    guards_N: Long
    digests_N: Hashes
    """Of the first part."""
    ends_N_P: Ints
    """The largest hash up to which a set is complete."""

    def __len__(self) -> int:
        return len(self.guards_N)

    def jaccard(self, one_M: Ints, other_M: Ints) -> npt.NDArray[np.float64]:
        """Jaccard index of each pair of records, that of the parts that are least alike. Two empty parts are alike."""
        least_M = np.ones(len(one_M))
        for part in range(PARTS):
            end_M = np.minimum(self.ends_N_P[one_M, part], self.ends_N_P[other_M, part])
            keys, pairs = [], np.zeros(len(one_M), dtype=np.int64)
            for side_M in (one_M, other_M):
                owner, at = ragged(self.starts_N_P[side_M, part], self.sizes_N_P[side_M, part])
                members = self.hashes[at].astype(np.int64)
                owner, members = owner[inside := members <= end_M[owner]], members[inside]
                pairs += np.bincount(owner, minlength=len(one_M))
                keys.append(owner << 32 | members)
            both = np.sort(np.concatenate(keys))
            shared = np.bincount(both[1:][both[1:] == both[:-1]] >> 32, minlength=len(one_M))
            least_M = np.minimum(least_M, np.where(pairs, shared / np.maximum(pairs - shared, 1), 1.0))
        return least_M


def unpacked(sketches: Sequence[bytes]) -> Sets:
    lengths = np.array([len(sketch) // 4 for sketch in sketches], dtype=np.int64)
    words = np.frombuffer(b"".join(sketches), dtype="<u4")
    heads = np.cumsum(lengths) - lengths
    sizes_N_2 = np.stack([words[heads + 3], words[heads + 4]], axis=1)
    sizes_N_P = np.ascontiguousarray(sizes_N_2).view("<u2").astype(np.int64)[:, :PARTS]
    starts_N_P = heads[:, None] + _HEADER + np.cumsum(sizes_N_P, axis=1) - sizes_N_P
    guards_N = words[heads].astype(np.uint64) | words[heads + 1].astype(np.uint64) << np.uint64(32)
    last_N_P = np.where(sizes_N_P == LARGEST, starts_N_P + LARGEST - 1, 0)
    ends_N_P = np.where(sizes_N_P == LARGEST, words[last_N_P], EVERY).astype(np.int64)
    return Sets(words, starts_N_P, sizes_N_P, guards_N, words[heads + 2], ends_N_P)


def ragged(starts_M: Ints, sizes_M: Ints) -> tuple[Ints, Ints]:
    """Owner and place of all members of M runs."""
    owner = np.repeat(np.arange(len(starts_M)), sizes_M)
    begins_M = np.cumsum(sizes_M) - sizes_M
    return owner, np.arange(len(owner)) - begins_M[owner] + starts_M[owner]
