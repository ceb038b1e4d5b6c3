"""Clusters of vectors of unit length: k-means++ (Arthur and Vassilvitskii 2007) on the sphere, by cosine."""

from __future__ import annotations

import numpy as np

from harness_plugins.filters.duplicates.embedding import Halves, Vectors
from harness_plugins.filters.duplicates.shingles import Ints

_ROUNDS = 10
_BLOCK = 1 << 13


def centres(vectors_N_D: Vectors, number: int, seed: int) -> Vectors:
    """At most `number` centres [K, D] of unit length; fewer where fewer vectors differ."""
    random = np.random.default_rng(seed)
    chosen = [int(random.integers(len(vectors_N_D)))]
    far_N = 1 - vectors_N_D @ vectors_N_D[chosen[0]]
    while len(chosen) < number:
        # Half the squared distance of unit vectors is 1 - cosine. Half precision leaves copies a little apart.
        weight_N = np.where(far_N > 1e-3, far_N, 0).astype(np.float64)
        if not weight_N.any():
            break
        chosen.append(int(random.choice(len(vectors_N_D), p=weight_N / weight_N.sum())))
        far_N = np.minimum(far_N, 1 - vectors_N_D @ vectors_N_D[chosen[-1]])
    centres_K_D = vectors_N_D[chosen]
    for _ in range(_ROUNDS):
        label_N = nearest(vectors_N_D, centres_K_D, 1)[:, 0]
        sums_K_D = np.zeros_like(centres_K_D)
        np.add.at(sums_K_D, label_N, vectors_N_D)
        length_K = np.linalg.norm(sums_K_D, axis=1, keepdims=True)
        centres_K_D = np.where(length_K > 0, sums_K_D / np.maximum(length_K, 1e-12), centres_K_D)
    return centres_K_D


def nearest(vectors_N_D: Vectors | Halves, centres_K_D: Vectors, number: int) -> Ints:
    """For each vector the `number` nearest centres, [N, number], in no order."""
    number = min(number, len(centres_K_D))
    found = [np.empty((0, number), dtype=np.int64)]
    for start in range(0, len(vectors_N_D), _BLOCK):
        cosine_B_K = vectors_N_D[start : start + _BLOCK].astype(np.float32) @ centres_K_D.T
        found.append(np.argpartition(-cosine_B_K, number - 1, axis=1)[:, :number])
    return np.concatenate(found)
