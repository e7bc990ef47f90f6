"""Batches that hold each class equally often."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator

import numpy as np

from recipes.data.facts import Task
from recipes.sampling.base import START, Moment, Plan, Sampler
from recipes.sampling.pools import Remembered, cycle, pools
from recipes.sampling.quotas import SEVERAL_LABELS, EpochSize

logger = logging.getLogger(__name__)


class BalancedBatch(Sampler):
    """Every batch holds size / C samples of each of the C classes, rounded up or down in turn; so does a short last one.

    Each class is dealt in random order, and in a new one whenever all its samples were seen: none repeats before. Over an epoch no
    class is dealt more than one sample more than another. A batch smaller than C holds that many classes, and the following batch goes on
    with the next ones. Classes without a train row are left out.

    Multi-label: the labels are dealt equally often, and for each a sample that has it; samples without any label count as one more
    label. A sample with two labels is then seen for either, so batches are equal in draws, not in positives.

    epoch_size: samples of an epoch. `natural`: as many as the plan has. `majority`: until the largest class was seen once as a whole.
    `minority`: until the smallest was. Or a number.
    """

    def __init__(self, task: Task = "multiclass", *, epoch_size: EpochSize = "natural") -> None:
        self.epoch_size = epoch_size
        self._pools = Remembered(pools)
        if task == "multilabel":
            self.approximate = SEVERAL_LABELS

    def steps_per_epoch(self, plan: Plan, labels: np.ndarray, size: int) -> int:
        classes = self._pools(labels)
        if size < len(classes):
            logger.warning(
                "balanced_batch: a batch of %d samples cannot hold all %d classes, so each holds %d of them, in turn; "
                "trainer.batch_size=%d would hold all",
                *(size, len(classes), size, len(classes)),
            )
        return math.ceil(self._total(classes, len(plan)) / size)

    def batches(self, plan: Plan, labels: np.ndarray, size: int, rng: np.random.Generator, moment: Moment = START) -> Iterator[np.ndarray]:
        classes = self._pools(labels)
        epoch = np.empty(self._total(classes, len(plan)), dtype=np.int64)
        # Dealing the classes round and round, any window of the stream holds each of them equally often, whatever the batch size.
        for place, which in enumerate(rng.permutation(len(classes))):
            places = epoch[place :: len(classes)]
            places[:] = cycle(classes[which], len(places), rng)
        for start in range(0, len(epoch), size):
            yield epoch[start : start + size]

    def _total(self, classes: list[np.ndarray], natural: int) -> int:
        if isinstance(self.epoch_size, int):
            return self.epoch_size
        sizes = [len(pool) for pool in classes]
        return {"natural": natural, "majority": len(sizes) * max(sizes), "minority": len(sizes) * min(sizes)}[self.epoch_size]
