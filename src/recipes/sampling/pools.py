"""Rows by class, and endless draws from them without replacement.

N samples, C classes or labels.
"""

from __future__ import annotations

import numpy as np


def pools(labels: np.ndarray) -> list[np.ndarray]:
    """The positions of each class that has any, in the order of the classes; each (n_c,) int64, ascending.

    labels: (N,) int64, or (N, C) of zeros and ones for multi-label. There a sample stands in the pool of each of its labels, and those
    without a label form one more pool, the last.
    """
    if labels.ndim == 1:
        counts = np.bincount(labels)
        # NumPy sorts integers of one or two bytes in linear time.
        order = np.argsort(labels.astype(np.min_scalar_type(len(counts))), kind="stable")
    else:
        present = labels != 0
        counts = np.append(present.sum(axis=0), (~present.any(axis=1)).sum())
        order = np.concatenate([np.nonzero(present.T)[1], np.flatnonzero(~present.any(axis=1))])
    return [pool for pool in np.split(order, np.cumsum(counts)[:-1]) if len(pool)]


def cycle(pool: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """(count,) draws: permutations of the pool one after another, a new one at each wrap, so none repeats before all were drawn."""
    rounds, rest = divmod(count, len(pool))
    whole = rng.permuted(np.broadcast_to(pool, (rounds, len(pool))), axis=1).ravel()
    # A part of a permutation costs its own length, not the pool's.
    part = rng.choice(pool, rest, replace=False)
    return np.concatenate([whole, part]) if rounds else part
