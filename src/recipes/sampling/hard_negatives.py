"""Fine-tuning on what a trained model still takes for positive (Sung & Poggio 1994; Felzenszwalb et al. 2010).

N train rows, C classes or labels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from recipes.config.types import Fraction, NonNegativeFloat, PositiveFloat
from recipes.data.facts import Task
from recipes.errors import ConfigError
from recipes.sampling.base import START, Moment, Plan, Sampler
from recipes.sampling.pools import cycle

if TYPE_CHECKING:
    from recipes.data.split import TrainSplit


class HardNegatives(Sampler):
    """An epoch of all positives, and for each of them `hard` negatives that score highest and `easy` ones of the rest, drawn at random.

    Negatives are the rows of the largest class; in multi-label tasks those without any label. All train rows are scored before each epoch,
    in evaluation mode. Of the negatives, the share `noise` that scores highest is left out: wrong labels are found there. Hard ones are
    drawn from the `pool` highest-scoring ones a positive that follow. Meant for a run that starts from trained weights (`init.run`): the
    first scores of an untrained network are noise. Without easy negatives a model forgets them, and its precision falls.

    Raises ConfigError for data in which nothing, or everything, is positive.
    """

    approximate = "which negatives are dealt depends on the model"

    def __init__(
        self,
        task: Task,
        class_counts: np.ndarray,
        *,
        hard: PositiveFloat = 1.0,
        easy: NonNegativeFloat = 1.0,
        pool: PositiveFloat = 3.0,
        noise: Fraction = 0.01,
    ) -> None:
        if pool < hard:
            raise ConfigError(
                f"sampler.pool: {pool:g} negatives a positive cannot give the {hard:g} of sampler.hard; use at least {hard:g}"
            )
        self.hard, self.easy, self.pool, self.noise = hard, easy, pool, noise
        self.majority = None if task == "multilabel" else int(np.argmax(class_counts))
        self._ranked: np.ndarray | None = None  # negatives by falling score, those that are left out first

    def resample(self, train: TrainSplit, rng: np.random.Generator) -> Plan:
        labels = train.labels()
        positive_N = labels.any(axis=1) if self.majority is None else labels != self.majority
        self._positives, self._negatives = np.flatnonzero(positive_N), np.flatnonzero(~positive_N)
        if not len(self._positives) or not len(self._negatives):
            raise ConfigError(
                f"sampler=hard_negatives: {len(self._positives)} of {len(labels)} train rows are positive, and both kinds are needed; "
                "negatives are the rows of the largest class, or those without a label; use mining=ohem"
            )
        return Plan(np.arange(len(train)))

    def rescore(self, logits_NC: np.ndarray) -> None:
        self._ranked = self._negatives[np.argsort(-self.scores(logits_NC)[self._negatives], kind="stable")]

    def scores(self, logits_NC: np.ndarray) -> np.ndarray:
        """(N,) how positive each row looks: the log-odds of any class against the majority, or the largest logit of a label."""
        if self.majority is None:
            return np.asarray(logits_NC.max(axis=1))
        others_NC = np.delete(logits_NC, self.majority, axis=1)
        return np.asarray(np.logaddexp.reduce(others_NC, axis=1) - logits_NC[:, self.majority])

    @property
    def suspects(self) -> np.ndarray:
        """(S,) int64 rows of negatives that score so high that their label is doubtful, the most doubtful first; empty before `rescore`."""
        return np.empty(0, np.int64) if self._ranked is None else self._ranked[: self._doubted]

    def steps_per_epoch(self, plan: Plan, labels: np.ndarray, size: int) -> int:
        hard, easy = self._numbers()
        return math.ceil((len(self._positives) + hard + easy) / size)

    def batches(self, plan: Plan, labels: np.ndarray, size: int, rng: np.random.Generator, moment: Moment = START) -> Iterator[np.ndarray]:
        hard, easy = self._numbers()
        ranked = self._negatives if self._ranked is None else self._ranked
        kept = ranked[len(self.suspects) :]
        split = min(len(kept), max(hard, round(self.pool * len(self._positives))))
        rest = kept[split:] if len(kept) > split else kept
        parts = [self._positives, cycle(kept[:split], hard, rng), cycle(rest, easy, rng)]
        epoch = rng.permutation(np.concatenate(parts))
        for start in range(0, len(epoch), size):
            yield epoch[start : start + size]

    def state_dict(self) -> dict[str, Any]:
        return {} if self._ranked is None else {"ranked": torch.from_numpy(self._ranked.copy())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._ranked = state["ranked"].cpu().numpy() if state else None

    @property
    def _doubted(self) -> int:
        """How many negatives are left out; one stays always."""
        negatives = len(self._negatives)
        return min(math.ceil(self.noise * negatives), negatives - 1)

    def _numbers(self) -> tuple[int, int]:
        """Hard and easy negatives of an epoch; of either there are never more than negatives that are not left out."""
        left, positives = len(self._negatives) - self._doubted, len(self._positives)
        return min(left, max(1, round(self.hard * positives))), min(left, round(self.easy * positives))
