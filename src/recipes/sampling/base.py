"""The three moments at which a sampler may act, each the identity by default."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from recipes.data.split import TrainSplit


@dataclass(frozen=True)
class Plan:
    """The samples that an epoch draws from: rows of the train split, and mixtures of two of them.

    A mixture stands as coefficients, not as new features, so nothing is copied and each model mixes where mixing makes sense: dense
    features as they are, token models after the embedding. Its label is that of its first row.
    """

    rows: np.ndarray  # (M,) int64
    partners: np.ndarray | None = None  # (M,) int64; equals `rows` where the sample is a row as it is
    mix: np.ndarray | None = None  # (M, 2) float32; (1, 0) where the sample is a row as it is

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def synthetic(self) -> np.ndarray:
        """(M,) bool: which samples no row of the data stands for."""
        if self.mix is None:
            return np.zeros(len(self), dtype=bool)
        return self.mix[:, 1] != 0


class Sampler:
    """Decides which train rows are seen, in what order, and which of them count.

    The methods get the train split only, by type; validation and test never pass through a sampler. Every draw comes from the generator
    that is passed in, which depends on (seed, purpose, epoch) alone, so a resumed run sees the same stream.
    """

    def resample(self, train: TrainSplit, rng: np.random.Generator) -> Plan:
        """Before training: the samples that epochs draw from. Identity: every train row once."""
        return Plan(np.arange(len(train)))

    def steps_per_epoch(self, plan: Plan, labels: np.ndarray, size: int) -> int:
        """How many batches `batches` yields."""
        return math.ceil(len(plan) / size)

    def batches(self, plan: Plan, labels: np.ndarray, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """One epoch: positions in the plan, (size,) int64 each, the last one shorter if rows are left. Identity: a permutation in pieces.

        `labels` are the targets of the plan's samples, (M,) int64 or (M, C) for multi-label.
        """
        order = rng.permutation(len(plan))
        for start in range(0, len(order), size):
            yield order[start : start + size]

    def select(self, difficulty_B: Tensor, epoch: int) -> Tensor | None:
        """After the forward pass: a (B,) bool mask of the samples that count, or None for all of them.

        `difficulty_B` is the loss of each sample without class or sample weights, detached; `epoch` counts from 0.
        """
        return None

    @property
    def mines(self) -> bool:
        """Whether `select` is overridden: the loop pays for the difficulties only then."""
        return type(self).select is not Sampler.select
