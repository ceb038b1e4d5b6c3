"""What most prompts have in common, such as an instruction before each question, says nothing of who is alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness_plugins.filters.duplicates.shingles import EVERY, Hashes, Sets, ragged

MANY = 20
"""Of so many prompts, shingles that more than half of them hold are form."""
_COUNTED = 20_000
"""Prompts, spread evenly over all, that are looked at for it."""
_FEW = 16
"""Of a prompt that is sampled, so few members besides the form say too little."""
_CHUNK = 1 << 16


def without_form(sets: Sets) -> Sets:
    """Sets of first parts without the form. A prompt that is nothing but form stays whole. One of which a sample has
    hardly anything else is compared as a whole from then on: its set is its digest."""
    form = _form(sets)
    if not len(form):
        return sets
    hashes, sizes, whole = [sets.hashes], [], []
    for start in range(0, len(sets), _CHUNK):
        rows = slice(start, start + _CHUNK)
        owner, at = ragged(sets.starts_N_P[rows, 0], sets.sizes_N_P[rows, 0])
        members = sets.hashes[at]
        kept = form[np.minimum(np.searchsorted(form, members), len(form) - 1)] != members
        left_N = np.bincount(owner[kept], minlength=len(sets.starts_N_P[rows]))
        sampled_N = sets.ends_N_P[rows, 0] < EVERY
        unsure_N = sampled_N & (left_N < _FEW) & (left_N < sets.sizes_N_P[rows, 0])
        kept = (kept | (left_N == 0)[owner]) & ~unsure_N[owner]
        owner, members = (
            np.append(owner[kept], np.flatnonzero(unsure_N)),
            np.append(members[kept], sets.digests_N[rows][unsure_N]),
        )
        order = np.argsort(owner, kind="stable")
        hashes.append(members[order])
        sizes.append(np.bincount(owner, minlength=len(left_N)))
        whole.append(unsure_N)
    starts_N_P, sizes_N_P, ends_N_P = sets.starts_N_P.copy(), sets.sizes_N_P.copy(), sets.ends_N_P.copy()
    sizes_N_P[:, 0] = np.concatenate(sizes)
    starts_N_P[:, 0] = len(sets.hashes) + np.cumsum(sizes_N_P[:, 0]) - sizes_N_P[:, 0]
    ends_N_P[np.concatenate(whole), 0] = EVERY
    return replace(sets, hashes=np.concatenate(hashes), starts_N_P=starts_N_P, sizes_N_P=sizes_N_P, ends_N_P=ends_N_P)


def _form(sets: Sets) -> Hashes:
    """Sorted. Prompts without messages have none."""
    asked = np.flatnonzero(sets.sizes_N_P[:, 0])
    counted = asked[:: max(1, -(-len(asked) // _COUNTED))]
    if len(counted) < MANY:
        return np.empty(0, dtype=np.uint32)
    _, at = ragged(sets.starts_N_P[counted, 0], sets.sizes_N_P[counted, 0])
    members, count = np.unique(sets.hashes[at], return_counts=True)
    return members[count > len(counted) / 2]
