"""SMOTE: more samples of rare classes, on the lines between neighbours of one class.

n rows of a class, m samples to add to it, k neighbours, C classes, F features.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal

import numpy as np

from recipes.config.types import PositiveInt
from recipes.data.facts import Task
from recipes.data.stores import Layout
from recipes.errors import ConfigError
from recipes.sampling.base import Plan, Sampler
from recipes.sampling.neighbours import neighbours
from recipes.sampling.nominal import SMOTEN, SMOTENC
from recipes.sampling.points import random_state, refuse_weights, run_seed
from recipes.sampling.pools import cycle
from recipes.sampling.ratio import Ratio, growth, named

if TYPE_CHECKING:
    import scipy.sparse

    from recipes.data.split import TrainSplit

logger = logging.getLogger(__name__)
AS_IS = np.array([[1, 0]], dtype=np.float32)  # coefficients of a row that is not mixed


class SMOTE(Sampler):
    """Synthetic minority over-sampling (Chawla et al. 2002): x = x_i + u (x_j - x_i), u ~ U[0, 1), x_j one of the k nearest of x_i's class.

    Neighbours are sought once, before training, between dense features as they are and in TF-IDF space for texts. The samples stand in
    the plan as two rows and two coefficients, after the train rows, so no features are copied. Dense models mix features, token models
    embedded sequences, with (1 - u, u). For TF-IDF features the two coefficients are scaled so that the mixture of rows of unit length
    has unit length as well; a plain one would be shorter the less its rows have in common.

    Every row of a class serves as x_i equally often, give or take one. A class with k rows or fewer uses all its other rows, and one of a
    single row repeats it, both with a warning.

    Between two categories there is nothing, so tables with category columns, one-hot or embedded, get rows from SMOTE-NC, and those with
    nothing else from SMOTEN, both imbalanced-learn's (see `SMOTENC`).

    ratio: `auto`, all classes grow to the largest; a number, to that share of it (in binary tasks imbalanced-learn's `sampling_strategy`);
    a mapping, from a class to the number of rows that it grows to.
    parity: `imblearn` draws as imbalanced-learn's SMOTE(random_state=seed) does, the run's seed: x_i at random, each class from the same
    stream, TF-IDF mixtures not scaled.

    Raises ConfigError for multi-label tasks, where a mixture has no label, for data with row weights, and for a ratio that names no class
    or asks for fewer rows than there are.
    """

    approximate = "rows between rows change what a class looks like"

    def __init__(
        self,
        task: Task,
        class_names: tuple[str, ...],
        sparse_features: bool = False,
        *,
        k_neighbors: PositiveInt = 5,
        ratio: Ratio = "auto",
        parity: Literal["imblearn"] | None = None,
    ) -> None:
        if task == "multilabel":
            raise ConfigError(
                "sampler=smote: a mixture of two rows has no set of labels, so smote needs a single-label task, and this one is "
                "multi-label; use sampler=balanced_batch, which deals each label equally often"
            )
        self.task, self.class_names = task, class_names
        self.k_neighbors = k_neighbors
        self.ratio = named(ratio, class_names)
        self.parity = parity
        self.rescale = sparse_features and parity is None

    def resample(self, train: TrainSplit, rng: np.random.Generator) -> Plan:
        refuse_weights("smote", train)
        layout = train.layout()
        if layout.categories:
            return self._nominal(layout).grow(train, _seed(rng) if self.parity else random_state(rng))
        labels = train.labels()
        missing = growth(self.ratio, np.bincount(labels, minlength=len(self.class_names)), self.class_names)
        if not missing.any():
            logger.warning("smote: every class has as many rows as sampler.ratio=%s asks for, so nothing is added", self.ratio)
            return Plan(np.arange(len(train)))
        space = train.space()
        originals = np.arange(len(train))
        rows, partners, mixes = [originals], [originals], [np.repeat(AS_IS, len(train), axis=0)]
        for which in np.flatnonzero(missing):
            members = np.flatnonzero(labels == which)
            base, partner, mix = self._grow(space[members], int(missing[which]), self.class_names[which], rng)
            rows.append(members[base])
            partners.append(members[partner])
            mixes.append(mix)
        return Plan(np.concatenate(rows), np.concatenate(partners), np.concatenate(mixes))

    def _nominal(self, layout: Layout) -> SMOTEN | SMOTENC:
        """SMOTE's variant for columns that hold categories."""
        kind: type[SMOTEN | SMOTENC] = SMOTENC if len(layout.numbers) else SMOTEN
        logger.info("smote: %d of the columns are categories, so rows are made by %s", len(layout.categories), kind.__name__)
        return kind(self.task, self.class_names, k_neighbors=self.k_neighbors, ratio=self.ratio)

    def _grow(
        self, points: np.ndarray | scipy.sparse.csr_matrix, m: int, name: str, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Bases (m,), partners (m,), both places in `points`, (n, F), and coefficients (m, 2) float32."""
        n = points.shape[0]
        if n == 1:
            logger.warning("smote: class '%s' has a single train row, which is repeated %d times instead of mixed", name, m)
            return np.zeros(m, np.int64), np.zeros(m, np.int64), np.repeat(AS_IS, m, axis=0)
        k = min(self.k_neighbors, n - 1)
        if k < self.k_neighbors:
            logger.warning("smote: class '%s' has %d train rows, too few for k_neighbors=%d; k=%d is used", name, n, self.k_neighbors, k)
        base, column, u = self._draw(n, k, m, rng)
        # All rows are queried under parity, since ties may fall differently when some are.
        drawn = np.ones(n, dtype=bool) if self.parity else np.bincount(base, minlength=n) > 0
        queries = np.flatnonzero(drawn)
        table = neighbours(points, queries, k)
        place = (np.cumsum(drawn) - 1)[base]
        mix = np.stack([1 - u, u], axis=1)
        if self.rescale:
            mix *= _stretch(points, queries, table, place, column, mix)[:, None]
        return base, table[place, column], mix.astype(np.float32)

    def _draw(self, n: int, k: int, m: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Base, which of its neighbours, and the step towards it: (m,) each."""
        if self.parity is None:
            return cycle(np.arange(n), m, rng), rng.integers(0, k, size=m), rng.random(m)
        theirs = np.random.RandomState(_seed(rng))
        base, column = np.divmod(theirs.randint(0, n * k, size=m), k)
        return base, column, theirs.uniform(size=m)


def _stretch(
    points: scipy.sparse.csr_matrix, queries: np.ndarray, table: np.ndarray, place: np.ndarray, column: np.ndarray, mix: np.ndarray
) -> np.ndarray:
    """(m,) factor that gives each mixture the length that lies between those of its rows: 1 for unit rows, 0 only between empty ones."""
    squares = np.asarray(points.multiply(points).sum(axis=1), dtype=np.float64).ravel()
    # A pair of rows is drawn many times, so dot products are taken pair by pair, not sample by sample.
    own = points[queries]
    dots = np.stack([np.asarray(own.multiply(points[other]).sum(axis=1), dtype=np.float64).ravel() for other in table.T], axis=1)
    first, second = squares[queries[place]], squares[table[place, column]]
    length = mix[:, 0] * np.sqrt(first) + mix[:, 1] * np.sqrt(second)
    square = mix[:, 0] ** 2 * first + mix[:, 1] ** 2 * second + 2 * mix[:, 0] * mix[:, 1] * dots[place, column]
    # Opposite rows do not occur among weights that are never negative; two empty texts do, and stay empty.
    return np.divide(length, np.sqrt(square), out=np.ones_like(length), where=square > 0)


def _seed(rng: np.random.Generator) -> int:
    """The seed of the run, as imbalanced-learn takes it."""
    seed = run_seed(rng)
    if seed >= 2**32:
        raise ConfigError(f"sampler.parity=imblearn: imbalanced-learn's draws take a seed below {2**32}, and this run's is {seed}")
    return seed
