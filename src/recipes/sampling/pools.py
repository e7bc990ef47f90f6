"""Rows by class, and endless draws from them without replacement.

N samples, C classes or labels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np

T = TypeVar("T")
_LEVELS = 1 << 16  # that random 16-bit numbers take


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


class Remembered(Generic[T]):
    """A function of the labels, computed once for as long as the same array is asked about: no epoch pays for what never changes."""

    def __init__(self, function: Callable[[np.ndarray], T]) -> None:
        self._function = function
        self._known: tuple[np.ndarray, T] | None = None

    def __call__(self, labels: np.ndarray) -> T:
        if self._known is None or self._known[0] is not labels:
            self._known = labels, self._function(labels)
        return self._known[1]


def cycle(pool: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """(count,) draws: permutations of the pool one after another, a new one at each wrap, so none repeats before all were drawn."""
    rounds, rest = divmod(count, len(pool))
    whole = rng.permuted(np.broadcast_to(pool, (rounds, len(pool))), axis=1).ravel()
    if rounds and not rest:
        return whole
    # A part of a permutation costs its own length, not the pool's.
    part = rng.choice(pool, rest, replace=False)
    return np.concatenate([whole, part]) if rounds else part


def spread(pool: np.ndarray, out: np.ndarray, rng: np.random.Generator) -> None:
    """Fill `out` with draws from the pool in no random order: each sample len(out) / len(pool) times, rounded up for a random subset.

    For streams that are shuffled as a whole afterwards, which costs less than `cycle`.
    """
    rounds, rest = divmod(len(out), len(pool))
    whole = rounds * len(pool)
    out[:whole].reshape(rounds, len(pool))[:] = pool
    if rest:
        pool.take(np.flatnonzero(_subset(len(pool), rest, rng)), out=out[whole:], mode="clip")


def _subset(size: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """(size,) bool with `count` true ones, each such mask equally likely.

    A coin for every place, then as many random changes as the coins fell short or went too far: exact, since all masks with the same
    number of ones are equally likely before and after. A third of the time of `Generator.choice`.
    """
    chosen = rng.integers(0, _LEVELS, size, dtype=np.uint16) < round(count / size * _LEVELS)
    surplus = int(np.count_nonzero(chosen)) - count
    if surplus:
        among = np.flatnonzero(chosen if surplus > 0 else ~chosen)
        chosen[among[rng.choice(len(among), abs(surplus), replace=False, shuffle=False)]] = surplus < 0
    return chosen
