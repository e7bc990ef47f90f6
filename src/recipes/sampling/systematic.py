"""Systematic sampling: which of many samples are drawn, and how often, for weights of any kind.

N samples, M draws.
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
    return np.diff(_teeth(ends, rng), prepend=0)


def drawn(ends: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(M,) int64: the samples themselves, ascending, each as often as `draw` says; M is the last of `ends`.

    The k-th belongs to the first sample whose stretch ends after k. Counting the ends up to k costs a third of repeating each sample.
    """
    total = int(ends[-1])
    return np.cumsum(np.bincount(_teeth(ends, rng), minlength=total)[:total])


def _teeth(ends: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N,) int64: how many draws fall on each sample and those before it."""
    teeth = (ends + rng.random()).astype(np.int64)
    return np.minimum(teeth, int(ends[-1]), out=teeth)  # the sum may round up to the next whole number


def rounded(expected: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N,) int64: each number rounded up or down at random so that it is the mean; the sum is that of the numbers, which is whole."""
    whole = np.floor(expected + _ROUNDING)
    fractions = np.maximum(expected - whole, 0.0)
    extra = round(float(fractions.sum()))
    counts = whole.astype(np.int64)
    return counts + draw(edges(fractions, extra), rng) if extra else counts
