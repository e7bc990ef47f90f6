"""Generators that depend on nothing but (seed, purpose, epoch): no stream is shared, so none has to be saved or replayed."""

from __future__ import annotations

import zlib

import numpy as np


def generator(seed: int, purpose: str, epoch: int = 0) -> np.random.Generator:
    """A NumPy generator for one purpose in one epoch; two purposes never share draws."""
    return np.random.default_rng([seed, epoch, zlib.crc32(purpose.encode())])
