"""Systematic sampling: how often each of many samples is drawn, for weights of any kind.

N samples.
"""

from __future__ import annotations

import numpy as np

_ROUNDING = 1e-9  # a sum of shares is not a whole number to the last bit


def edges(weights: np.ndarray, total: int) -> np.ndarray:
    """(N,) float64: where each sample's stretch of [0, total] ends, its length in proportion to its weight. The last entry is `total`."""
    ends = np.cumsum(weights, dtype=np.float64)
    ends /= ends[-1]  # a number divided by itself is 1 exactly, so the total is exact
    ends *= total
    return ends


def draw(ends: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N,) int64 that sum to the last of `ends`: each is its stretch rounded up or down, and has it for mean (Madow 1949).

    One random number sets a comb of unit spacing over all stretches, so nothing is limited by the number of samples, as
    `torch.multinomial` is by 2^24.
    """
    teeth = (ends + rng.random()).astype(np.int64)
    np.minimum(teeth, int(ends[-1]), out=teeth)  # the sum may round up to the next whole number
    times = teeth.copy()
    times[1:] -= teeth[:-1]
    return times


def rounded(expected: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N,) int64: each number rounded up or down at random so that it is the mean; the sum is that of the numbers, which is whole."""
    whole = np.floor(expected + _ROUNDING)
    fractions = np.maximum(expected - whole, 0.0)
    extra = round(float(fractions.sum()))
    counts = whole.astype(np.int64)
    return counts + draw(edges(fractions, extra), rng) if extra else counts
