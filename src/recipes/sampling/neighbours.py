"""Exact nearest neighbours among the rows of one class.

n rows, q queries, k neighbours, F features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import scipy.sparse


def neighbours(points: np.ndarray | scipy.sparse.csr_matrix, queries: np.ndarray, k: int) -> np.ndarray:
    """(q, k) int64: the k nearest rows of `points`, (n, F) dense or CSR, to each of its rows `queries`, which is itself left out.

    Euclidean distance; between rows of unit length (TF-IDF) that is the order of the cosine. k is at most n - 1. For sparse rows and for
    more than 15 features all pairs are compared, in chunks and on all cores.
    """
    from sklearn.neighbors import NearestNeighbors

    # Starting threads takes 10 ms, which few queries do not.
    search = NearestNeighbors(n_neighbors=k + 1, n_jobs=-1 if len(queries) > 1000 else None).fit(points)
    found = search.kneighbors(points[queries], return_distance=False)
    itself = found == queries[:, None]
    # Among more than k copies of a row it may not find itself; any of them may go instead, since all k + 1 are the same point.
    itself[~itself.any(axis=1), -1] = True
    return found[~itself].reshape(len(queries), k)
