"""Rows dealt as often as the data weighs them, or as the rarest of their labels asks for.

N rows, C classes or labels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import numpy as np

from recipes.config.types import Range
from recipes.data.facts import Task
from recipes.errors import ConfigError
from recipes.sampling.base import START, Moment, Plan, Sampler
from recipes.sampling.pools import Remembered
from recipes.sampling.systematic import drawn, edges

if TYPE_CHECKING:
    from recipes.data.split import TrainSplit


class Weighted(Sampler):
    """Draws rows in proportion to the data's weight column, in the place of weighing their losses.

    An epoch has as many samples as there are rows. Each row is dealt its expected number of times, rounded up or down at random, so that
    its mean is exact; a row of weight 0 is never dealt. Raises ConfigError where the data has no weights, or none above 0.
    """

    consumes_weights = True

    def __init__(self) -> None:
        self._edges = np.empty(0)

    def resample(self, train: TrainSplit, rng: np.random.Generator) -> Plan:
        if not train.weighted:
            raise ConfigError(
                "sampler=weighted: rows are drawn in proportion to a column of weights, and the data names none; "
                "set data.weight=<column>, or use sampler=shuffle"
            )
        weights = train.weights.cpu().numpy()
        if not weights.any():
            raise ConfigError("sampler=weighted: all train rows have weight 0, so none can be drawn; check data.weight")
        self._edges = edges(weights, len(train))
        return Plan(np.arange(len(train)))

    def batches(self, plan: Plan, labels: np.ndarray, size: int, rng: np.random.Generator, moment: Moment = START) -> Iterator[np.ndarray]:
        yield from _shuffled(drawn(self._edges, rng), size, rng)


class RepeatFactor(Sampler):
    """Repeats a row r_i = max over its labels c of max(1, sqrt(threshold / f_c)) times, f_c the share of rows with label c (LVIS 2019).

    Every row is dealt at least once an epoch. The fractions of r_i are drawn anew for each epoch, at a fixed length of the epoch, the sum
    of all r_i rounded. A row without labels is dealt once. In single-label tasks every row has one label.

    threshold: the share of rows below which a label is repeated; LVIS, of 1,203 labels, has 0.001. null: the median share of the labels,
    so that the rarer half is repeated, in binary tasks the positive class.
    """

    def __init__(self, task: Task = "multilabel", *, threshold: Annotated[float, Range(gt=0, le=1)] | None = None) -> None:
        self.threshold = threshold
        if task == "multilabel":
            self.approximate = "a row is repeated with all its labels, so repeating for one label moves the others"
        self._factors = Remembered(self._repeats)

    def steps_per_epoch(self, plan: Plan, labels: np.ndarray, size: int) -> int:
        always, _, ends = self._factors(labels)
        return math.ceil((len(always) + (int(ends[-1]) if len(ends) else 0)) / size)

    def batches(self, plan: Plan, labels: np.ndarray, size: int, rng: np.random.Generator, moment: Moment = START) -> Iterator[np.ndarray]:
        always, sometimes, ends = self._factors(labels)
        more = sometimes[drawn(ends, rng)] if len(ends) else sometimes[:0]
        yield from _shuffled(np.concatenate([always, more]), size, rng)

    def _repeats(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Every row as often as the whole part of r_i says, int64; the rows whose r_i has a fraction, (K,) int64; and the stretches that
        these are drawn from, (K,) float64, or (0,) where nothing is drawn.
        """
        counts_C = np.bincount(labels) if labels.ndim == 1 else (labels != 0).sum(axis=0)
        share_C = counts_C / len(labels)
        known_C = counts_C > 0
        factor_C = np.ones(len(share_C))
        if known_C.any():
            threshold = float(np.median(share_C[known_C])) if self.threshold is None else self.threshold
            factor_C[known_C] = np.maximum(1.0, np.sqrt(threshold / share_C[known_C]))
        factor = factor_C[labels] if labels.ndim == 1 else np.where(labels != 0, factor_C, 1.0).max(axis=1)
        whole = np.floor(factor)
        sometimes = np.flatnonzero(factor > whole)
        fractions = (factor - whole)[sometimes]
        extra = round(float(fractions.sum()))
        always = np.repeat(np.arange(len(labels)), whole.astype(np.int64))
        return always, sometimes, edges(fractions, extra) if extra else np.empty(0)


def _shuffled(epoch: np.ndarray, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Batches of the samples in random order; the array is the caller's to give away."""
    rng.shuffle(epoch)
    for start in range(0, len(epoch), size):
        yield epoch[start : start + size]
