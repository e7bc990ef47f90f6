"""Epochs that deal each class a number of samples.

P pools: the classes that have rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np

from recipes.config.types import PositiveInt
from recipes.data.facts import Task
from recipes.errors import ConfigError
from recipes.sampling.base import START, Moment, Plan, Sampler
from recipes.sampling.pools import Remembered, pools, spread
from recipes.sampling.systematic import rounded

EpochSize = Literal["natural", "majority", "minority"] | PositiveInt
SEVERAL_LABELS = "a row with several labels is drawn for each of them, so drawing for one label moves the others"


class Quotas(Sampler):
    """Deals each class its quota of samples an epoch, all in one shuffled stream; subclasses say how large the quotas are.

    Within a class no row is dealt twice before all were dealt once: the counts of two rows of a class differ by one at most. Quotas that
    are not whole are rounded at random, so that they hold on average, and the length of an epoch never changes.
    """

    def __init__(self) -> None:
        self._pools = Remembered(pools)

    def quotas(self, labels: np.ndarray, classes: list[np.ndarray], progress: float) -> np.ndarray:
        """(P,) float64 samples that an epoch deals of each pool in `classes`; their sum is whole, and the same for every progress."""
        raise NotImplementedError

    def steps_per_epoch(self, plan: Plan, labels: np.ndarray, size: int) -> int:
        return math.ceil(round(float(self.quotas(labels, self._pools(labels), 0.0).sum())) / size)

    def batches(self, plan: Plan, labels: np.ndarray, size: int, rng: np.random.Generator, moment: Moment = START) -> Iterator[np.ndarray]:
        epoch = self._deal(labels, moment.progress, rng)
        rng.shuffle(epoch)
        for start in range(0, len(epoch), size):
            yield epoch[start : start + size]

    def _deal(self, labels: np.ndarray, progress: float, rng: np.random.Generator) -> np.ndarray:
        """The samples of one epoch, (M,) int64, class by class."""
        classes = self._pools(labels)
        counts = rounded(self.quotas(labels, classes, progress), rng)
        epoch = np.empty(counts.sum(), dtype=np.int64)
        for pool, out in zip(classes, np.split(epoch, np.cumsum(counts)[:-1]), strict=True):
            spread(pool, out, rng)
        return epoch


def require_single_label(task: Task, option: str, reason: str) -> None:
    """Raise ConfigError for a multi-label task, with the options that take one."""
    if task == "multilabel":
        raise ConfigError(
            f"sampler={option}: {reason}, so it needs a single-label task, and this one is multi-label; use sampler=repeat_factor, which "
            "repeats a row for the rarest of its labels, or sampler=balanced_batch, which deals each label equally often"
        )
