"""The identities: every row once in a random order, and every row of a batch counts."""

from __future__ import annotations

from recipes.sampling.base import Sampler


class Shuffle(Sampler):
    """Every train row once an epoch, in a new random order each time."""


class NoMining(Sampler):
    """Every sample of a batch counts."""
