"""Work on rows a part at a time, and on several parts at once.

N rows.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

import numpy as np

A = TypeVar("A")
R = TypeVar("R")


def neighbours(sizes_N: np.ndarray, most: int) -> list[tuple[int, int]]:
    """(first, after the last) of neighbouring rows whose sizes add up to some `most`; a row that is larger stands with others or alone."""
    ends = np.cumsum(sizes_N)
    total = int(ends[-1]) if len(ends) else 0
    cuts = np.unique([0, *np.searchsorted(ends, np.arange(most, total, most), side="right").tolist(), len(sizes_N)])
    return list(pairwise(cuts.tolist()))


def in_threads(function: Callable[[A], R], items: Iterable[A]) -> list[R]:
    """The results, in order, of a function that leaves the interpreter's lock alone, as NumPy's do, for several items at once."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(function, items))
