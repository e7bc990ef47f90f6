"""Batches that hold each class in its natural proportion, and each class at all.

P pools: the classes that have rows. W full windows of an epoch.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from typing import Annotated

import numpy as np

from recipes.config.types import NonNegativeInt, Range
from recipes.data.facts import Task
from recipes.errors import ConfigError
from recipes.sampling.base import START, Moment, Plan, Sampler
from recipes.sampling.pools import Remembered, cycle, pools
from recipes.sampling.quotas import require_single_label
from recipes.sampling.systematic import rounded

logger = logging.getLogger(__name__)
_GOLDEN = 0.618  # steps of this share of a circle leave no gap for long


class StratifiedBatch(Sampler):
    """Every batch holds each class in proportion to its rows, rounded up or down in turn, and at least `min_per_class` samples of it.

    For losses that compare the classes within a batch, of which a batch of one class teaches nothing. An epoch deals as many samples as
    there are rows: where `min_per_class` asks for nothing that the proportions do not give, every row once; else the rare classes come
    again, none of their rows before all were seen, and rows of the others are left out, other ones each time.

    min_per_class: a batch too small for so many of each holds as many of each as it can. 0: proportions alone.
    positive_rate: share of the positive class in every batch, in the place of its natural one (LibAUC's `DualSampler`); binary tasks only.

    Raises ConfigError for multi-label tasks, and for a positive_rate where no class is the positive one.
    """

    def __init__(
        self, task: Task, *, min_per_class: NonNegativeInt = 1, positive_rate: Annotated[float, Range(gt=0, lt=1)] | None = None
    ) -> None:
        require_single_label(task, "stratified_batch", "a batch in the proportions of the classes needs rows of one class each")
        if positive_rate is not None and task != "binary":
            raise ConfigError(
                f"sampler.positive_rate={positive_rate:g}: only a binary task has a positive class, and this one is {task}; "
                "leave it at null, or use sampler=balanced_batch"
            )
        self.min_per_class = min_per_class
        self.positive_rate = positive_rate
        self._pools = Remembered(pools)

    def steps_per_epoch(self, plan: Plan, labels: np.ndarray, size: int) -> int:
        classes = len(self._pools(labels))
        if size < classes * self.min_per_class:
            logger.warning(
                "stratified_batch: a batch of %d samples cannot hold %d of each of %d classes, only %d; trainer.batch_size=%d would",
                *(size, self.min_per_class, classes, size // classes, classes * self.min_per_class),
            )
        return math.ceil(len(plan) / size)

    def batches(self, plan: Plan, labels: np.ndarray, size: int, rng: np.random.Generator, moment: Moment = START) -> Iterator[np.ndarray]:
        classes = self._pools(labels)
        windows, rest = divmod(len(plan), size)
        full_P, last_P = self._quotas(np.array([len(pool) for pool in classes]), windows, size, rest, rng)
        # A class is drawn as one stream, so that the short last window goes on where the full ones ended.
        dealt = [cycle(pool, full + last, rng) for pool, full, last in zip(classes, full_P, last_P, strict=True)]
        if windows:
            yield from _interleaved([draws[:full] for draws, full in zip(dealt, full_P, strict=True)], windows, rng)
        if rest:
            yield rng.permutation(np.concatenate([draws[full:] for draws, full in zip(dealt, full_P, strict=True)]))

    def _quotas(self, sizes_P: np.ndarray, windows: int, size: int, rest: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """(P,) int64 samples of each class in all full windows together, and (P,) in the short last one."""
        natural = self.positive_rate is None or len(sizes_P) == 1
        shares_P = sizes_P / sizes_P.sum() if natural else np.array([1 - self.positive_rate, self.positive_rate])  # type: ignore[operator]
        least = min(self.min_per_class, size // len(sizes_P))
        full_P = rounded(_at_least(least * windows, shares_P, size * windows), rng)
        # What the full windows left over, so that natural proportions deal each row once.
        left_P = np.maximum(sizes_P - full_P, 0) if natural else shares_P
        return full_P, rounded(_at_least(min(self.min_per_class, rest // len(sizes_P)), left_P, rest), rng)


def _at_least(least: int, weights_P: np.ndarray, total: int) -> np.ndarray:
    """(P,) float64 that sum to `total`: in proportion to the weights, but none below `least`, which must fit."""
    raised_P = np.zeros(len(weights_P), dtype=bool)
    while True:
        free = total - least * int(raised_P.sum())
        found_P = np.where(raised_P, float(least), weights_P * (free / max(weights_P[~raised_P].sum(), np.finfo(float).tiny)))
        low_P = ~raised_P & (found_P < least - 1e-9)
        if not low_P.any():
            return found_P
        raised_P |= low_P


def _interleaved(streams: list[np.ndarray], windows: int, rng: np.random.Generator) -> np.ndarray:
    """(windows, size): each window holds its share of each stream, rounded up or down, and the streams keep their order.

    A class stands at even distances in a window, at places that are the same in all of them: the window's pieces, where memory asks for
    pieces, hold every class as well. Which rows stand there is random in the streams already.
    """
    each_P, extra_P = np.divmod([len(stream) for stream in streams], windows)
    # Extras are laid out one after another, going round the windows: all get equally many, and one class at most one of each.
    step = max(round(windows * _GOLDEN), 1)
    while math.gcd(step, windows) > 1:
        step += 1
    order = (np.arange(windows) * step + rng.integers(windows)) % windows
    extras = np.empty((windows, extra_P.sum() // windows), dtype=np.int64)
    blocks, ends_P = [], np.cumsum(extra_P)
    for stream, each, extra, end in zip(streams, each_P, extra_P, ends_P, strict=True):
        column, turn = np.divmod(np.arange(end - extra, end), windows)
        held = order[turn]
        # A window takes its extra after the others of the class, and before the next window takes any.
        rank = np.argsort(np.argsort(held))
        last = held * each + rank + each
        extras[held, column] = stream[last]
        rest = np.delete(stream, last) if extra else stream
        blocks.append(rest.reshape(windows, each))
    return np.concatenate([*blocks, extras], axis=1).take(_places([*each_P, extras.shape[1]]), axis=1)


def _places(held: list[int]) -> np.ndarray:
    """Columns of blocks of such widths in an order in which those of each block stand at even distances."""
    starts = np.arange(1, len(held) + 1) * _GOLDEN % 1  # so that blocks of one column do not all stand in the middle
    shares = [(np.arange(width) + start) / max(width, 1) for width, start in zip(held, starts, strict=True)]
    return np.argsort(np.concatenate(shares), kind="stable")
