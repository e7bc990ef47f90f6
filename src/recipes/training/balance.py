"""What sampling, mining and augmentation make of the classes, as a run knows it. M samples of a plan, N train rows, C classes or labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from recipes.data.facts import Task
from recipes.data.split import TrainSplit
from recipes.losses.base import Loss
from recipes.priors import Ledger
from recipes.randomness import generator
from recipes.sampling import Moment, Plan, Sampler, times_dealt

_SHIFTED = math.log(1.02)  # below that a class is dealt as it occurs, but for the rounding of its quota


@dataclass(frozen=True)
class Balance:
    """Class shares of the train rows, pi, and of what an epoch deals, q; rows count by their weight where the data has weights.

    dealt_C: samples of each class in an epoch; dealt_rows: samples in all. approximate: what keeps the correction from being exact, one
    reason each.
    """

    EPOCHS: ClassVar[int] = 16  # that are counted where a class is dealt so rarely that a single epoch tells its share badly
    FEW: ClassVar[int] = 1000

    task: Task
    natural_C: np.ndarray
    sampled_C: np.ndarray
    dealt_C: np.ndarray
    dealt_rows: int
    approximate: tuple[str, ...] = ()

    @property
    def counts_C(self) -> np.ndarray:
        """(C,) what losses balance: the dealt samples of each class, by weight where the data has weights; float64."""
        return self.sampled_C * self.dealt_rows

    @property
    def moved(self) -> float:
        """The largest |log(q / pi)| over the classes that have rows: a rare class is moved by ratios, and hardly by differences."""
        known_C = self.natural_C > 0
        with np.errstate(divide="ignore"):
            return float(np.abs(np.log(self.sampled_C[known_C] / self.natural_C[known_C])).max(initial=0.0))

    @property
    def shifted(self) -> bool:
        """Whether training sees other rows than evaluation does."""
        return bool(self.approximate) or self.moved > _SHIFTED

    def ledger(self, loss: Loss) -> Ledger:
        """The prior that weights fit under the loss as it is now; before a deferred start, rows are dealt as they are."""
        declared = loss.declares()
        reasons = (*self.approximate, declared.approximate) if declared.approximate else self.approximate
        return Ledger(self.task, self.natural_C, self.sampled_C if loss.active else self.natural_C, declared, reasons)


def weigh(
    sampler: Sampler, plan: Plan, labels: np.ndarray, train: TrainSplit, size: int, seed: int, moment: Moment, reasons: tuple[str, ...]
) -> Balance:
    """Count an epoch of windows of `size` as the sampler deals it at `moment`: the mean of several where a class is rare.

    labels: targets of the plan's samples.
    """

    def epoch(number: int) -> np.ndarray:
        return times_dealt(sampler, plan, labels, size, generator(seed, "batches", number), moment).astype(np.float64)

    times_M = epoch(0)
    rarest = _by_class(labels, times_M, train.num_classes)
    if type(sampler).batches is not Sampler.batches and rarest[rarest > 0].min(initial=np.inf) < Balance.FEW:
        times_M = sum((epoch(number) for number in range(1, Balance.EPOCHS)), start=times_M) / Balance.EPOCHS
    weights_N = train.weights.cpu().numpy().astype(np.float64)
    natural_C = _by_class(train.labels(), weights_N, train.num_classes) / weights_N.sum()
    dealt_C = _by_class(labels, times_M, train.num_classes)
    if sampler.consumes_weights:
        sampled_C = natural_C  # rows that are dealt by weight are the weighted rows
    else:
        heavy_M = times_M * weights_N[plan.rows] if train.weighted else times_M
        sampled_C = _by_class(labels, heavy_M, train.num_classes) / heavy_M.sum()
    task: Task = "multilabel" if labels.ndim == 2 else "binary" if train.num_classes == 2 else "multiclass"
    return Balance(task, natural_C, sampled_C, np.rint(dealt_C).astype(np.int64), round(times_M.sum()), reasons)


def _by_class(labels: np.ndarray, weights: np.ndarray, num_classes: int) -> np.ndarray:
    """(C,) sum of the weights of the rows that have each class or label."""
    return np.asarray(weights @ (labels > 0)) if labels.ndim == 2 else np.bincount(labels, weights=weights, minlength=num_classes)
