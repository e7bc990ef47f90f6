"""Classes that grow by repeated rows, or shrink by rows left out.

C classes, P pools: the classes that have rows.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal

import numpy as np

from recipes.data.facts import Task
from recipes.sampling.base import Plan
from recipes.sampling.quotas import Quotas, require_single_label
from recipes.sampling.ratio import Ratio, growth, named, shrink

if TYPE_CHECKING:
    from recipes.data.split import TrainSplit

logger = logging.getLogger(__name__)


class _Resized(Quotas):
    """Classes at the sizes that `ratio` asks for, anew each epoch or once and for all."""

    option: str

    def __init__(
        self, task: Task, class_names: tuple[str, ...], *, ratio: Ratio = "auto", resample_every: Literal["epoch", "once"] = "epoch"
    ) -> None:
        require_single_label(task, self.option, "`ratio` says how many rows each class shall have")
        super().__init__()
        self.class_names = class_names
        self.ratio = named(ratio, class_names)
        self.resample_every = resample_every

    def sizes(self, counts_C: np.ndarray) -> np.ndarray:
        """(C,) int64 rows that each class shall have, from those that it has; of these sizes again themselves."""
        raise NotImplementedError

    def resample(self, train: TrainSplit, rng: np.random.Generator) -> Plan:
        labels = train.labels()
        counts_C = np.bincount(labels, minlength=len(self.class_names))
        if (self.sizes(counts_C) == counts_C).all():
            logger.warning("%s: every class has the rows that sampler.ratio=%s asks for, so nothing changes", self.option, self.ratio)
        if self.resample_every == "epoch":
            return Plan(np.arange(len(train)))
        # The plan's classes have the wanted sizes, so each epoch deals every sample of it once.
        return Plan(np.sort(self._deal(labels, 0.0, rng)))

    def quotas(self, labels: np.ndarray, classes: list[np.ndarray], progress: float) -> np.ndarray:
        counts_C = np.zeros(len(self.class_names), dtype=np.int64)
        which_P = [int(labels[pool[0]]) for pool in classes]
        counts_C[which_P] = [len(pool) for pool in classes]
        return self.sizes(counts_C)[which_P].astype(np.float64)


class RandomOver(_Resized):
    """Rows of the smaller classes are dealt again until each class has the size that `ratio` asks for; every row is dealt at least once.

    The rows of a class are repeated equally often, give or take one: imbalanced-learn's `RandomOverSampler` has the same counts, and draws
    with replacement. Nothing is copied.

    ratio: `auto`, all classes grow to the largest; a number, to that share of it (in binary tasks imbalanced-learn's
    `sampling_strategy`); a mapping, from a class to the number of rows that it grows to.
    resample_every: `epoch`, which rows are dealt once more is drawn for each epoch; `once`, before training.

    Raises ConfigError for multi-label tasks, and for a ratio that names no class or asks for fewer rows than there are.
    """

    option = "random_over"

    def sizes(self, counts_C: np.ndarray) -> np.ndarray:
        return counts_C + growth(self.ratio, counts_C, self.class_names)


class RandomUnder(_Resized):
    """Rows of the larger classes are left out at random until each class has the size that `ratio` asks for.

    With `resample_every: epoch` other rows are left out each time, so all are seen in the long run. With `once` most of the large classes
    is never seen, as after imbalanced-learn's `RandomUnderSampler`.

    ratio: `auto`, all classes shrink to the smallest; a number, until the smallest has that share of each (in binary tasks
    imbalanced-learn's `sampling_strategy`); a mapping, from a class to the number of rows that it keeps.
    resample_every: `epoch`, what is left out is drawn for each epoch; `once`, before training.

    Raises ConfigError for multi-label tasks, and for a ratio that names no class or asks for more rows than there are.
    """

    option = "random_under"

    def sizes(self, counts_C: np.ndarray) -> np.ndarray:
        return shrink(self.ratio, counts_C, self.class_names)
