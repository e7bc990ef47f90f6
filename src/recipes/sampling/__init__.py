"""Which train rows are seen, in what order, and which of them count."""

from __future__ import annotations

from recipes.sampling.balanced import BalancedBatch
from recipes.sampling.base import Plan, Sampler
from recipes.sampling.counts import sampled_counts
from recipes.sampling.ohem import OHEM
from recipes.sampling.shuffle import NoMining, Shuffle
from recipes.sampling.smote import SMOTE

__all__ = ["OHEM", "SMOTE", "BalancedBatch", "NoMining", "Plan", "Sampler", "Shuffle", "sampled_counts"]
