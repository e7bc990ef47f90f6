"""ROSE: rare classes grow by their own rows with noise.

N train rows, m rows to add to a class, R numbers, F features, K categories.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from recipes.config.types import NonNegativeFloat
from recipes.data.facts import Modality, Task
from recipes.errors import ConfigError
from recipes.sampling.base import Made, Plan, Sampler
from recipes.sampling.points import from_codes, one_hot_codes, random_state, refuse_multilabel, refuse_tokens, refuse_weights
from recipes.sampling.ratio import Ratio, growth, named

if TYPE_CHECKING:
    from recipes.data.split import TrainSplit

logger = logging.getLogger(__name__)
_AT_ONCE = 1 << 21  # draws of noise that exist at the same time, as float64


def bandwidth(rows: int, numbers: int) -> float:
    """h = (4 / ((d + 2) n))^(1 / (d + 4)): the best one where the density is normal (Bowman & Azzalini 1997)."""
    return float((4 / ((numbers + 2) * rows)) ** (1 / (numbers + 4)))


class ROSE(Sampler):
    """Random over-sampling examples (Menardi & Torelli 2014): x = x_i + e, a draw from a kernel density estimate of the class.

    x_i is a row of the class, drawn with replacement; e is normal with deviation `shrinkage` h s_j in column j, where s_j is the
    deviation of the class there and h = (4 / ((d + 2) n))^(1 / (d + 4)) for d number columns and n train rows, of all classes, as in
    imbalanced-learn (the paper takes those of the class, for a wider kernel). Categories stay those of x_i. The draws are those of
    RandomOverSampler(shrinkage=..., random_state=np.random.RandomState(seed)), the run's seed, where all columns are numbers.

    shrinkage: factor of the deviation; 0 repeats rows as they are. ratio: as in `SMOTE`.

    Raises ConfigError for multi-label tasks, for texts, for data with row weights and for tables without numbers.
    """

    approximate = "noise around rows changes what a class looks like"

    def __init__(
        self,
        task: Task,
        class_names: tuple[str, ...],
        modality: Modality = "tabular",
        sparse_features: bool = False,
        *,
        shrinkage: NonNegativeFloat = 1.0,
        ratio: Ratio = "auto",
    ) -> None:
        refuse_multilabel("rose", task)
        refuse_tokens("rose", modality, sparse_features)
        if sparse_features:
            raise ConfigError("sampler=rose: noise would give each text every term of the vocabulary; use sampler=smote for TF-IDF")
        self.class_names, self.shrinkage, self.ratio = class_names, shrinkage, named(ratio, class_names)

    def resample(self, train: TrainSplit, rng: np.random.Generator) -> Plan:
        refuse_weights("rose", train)
        labels, layout, state = train.labels(), train.layout(), random_state(rng)
        missing = growth(self.ratio, np.bincount(labels, minlength=len(self.class_names)), self.class_names)
        if not len(layout.numbers):
            raise ConfigError(
                "sampler=rose: the data has category columns only, and noise is for numbers; use sampler=random_over or sampler=smoten"
            )
        if not missing.any():
            logger.warning("rose: every class has as many rows as sampler.ratio=%s asks for, so nothing is added", self.ratio)
            return Plan(np.arange(len(train)))
        space, h = np.asarray(train.space()), bandwidth(len(train), len(layout.numbers))
        bases, noisy = [], []
        for c in np.flatnonzero(missing):
            members = np.flatnonzero(labels == c)
            base = state.choice(members, size=missing[c], replace=True)
            deviation = space[np.ix_(members, layout.numbers)].std(axis=0)
            bases.append(base)
            noisy.append(_noise(space, base, layout.numbers, self.shrinkage * h * deviation, state))
        drawn = np.concatenate(bases)
        made = self._made(space[drawn], np.concatenate(noisy), labels[drawn], train)
        return Plan(np.arange(len(train) + len(drawn)), made=made, train_rows=len(train))

    @staticmethod
    def _made(rows: np.ndarray, numbers: np.ndarray, labels: np.ndarray, train: TrainSplit) -> Made:
        layout = train.layout()
        codes = one_hot_codes(rows, layout)
        rows[:, layout.numbers] = numbers
        return from_codes(rows, codes, labels, layout)


def _noise(space: np.ndarray, base: np.ndarray, numbers: np.ndarray, scale: np.ndarray, state: np.random.RandomState) -> np.ndarray:
    """(m, R) float32: the numbers of the bases with noise of these deviations, (R,). Drawn piece by piece: the stream is the same."""
    noisy = np.empty((len(base), len(numbers)), np.float32)
    step = max(1, _AT_ONCE // len(numbers))
    for start in range(0, len(base), step):
        piece = base[start : start + step]
        noisy[start : start + step] = space[np.ix_(piece, numbers)] + scale * state.standard_normal((len(piece), len(numbers)))
    return noisy
