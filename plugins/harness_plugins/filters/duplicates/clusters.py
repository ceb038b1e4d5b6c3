"""Clusters of records from pairs that are alike, and the one of each that stays: the first."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from harness_plugins.filters.duplicates.shingles import Ints


def firsts(number: int, one_M: Ints, other_M: Ints) -> Ints:
    """For each of `number` records the first of those that it is connected to, itself where it is the first."""
    edges = coo_array((np.ones(len(one_M), dtype=np.int8), (one_M, other_M)), shape=(number, number))
    labels_N = connected_components(edges, directed=False)[1]
    _, first_of_label, label_N = np.unique(labels_N, return_index=True, return_inverse=True)
    return np.asarray(first_of_label[label_N], dtype=np.int64)
