"""How a class grows by rows that imbalanced-learn makes: what all options of that kind share.

N train rows, M made rows, W columns of a split's `space`, C classes.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from recipes.data.facts import Modality, Task
from recipes.data.stores import Layout
from recipes.errors import ConfigError
from recipes.sampling.base import Made, Plan, Sampler
from recipes.sampling.points import legal, made_of, named_counts, random_state, refuse_multilabel, refuse_tokens, refuse_weights, told
from recipes.sampling.ratio import Ratio, growth, named

if TYPE_CHECKING:
    from recipes.data.split import TrainSplit
    from recipes.sampling.points import Matrix

logger = logging.getLogger(__name__)
_SHORT = 0.9  # of the rows asked for: below that the log says how many were made
State = np.random.RandomState | int


@dataclass(frozen=True)
class Classes:
    """Whose rows they are, and how many each class gets."""

    labels: np.ndarray  # (N,) int64
    counts: np.ndarray  # (C,) int64
    missing: np.ndarray  # (C,) int64
    layout: Layout


class OverSampler(Sampler):
    """Runs one of imbalanced-learn's over-samplers on `train.space()` and keeps what it adds.

    Its draws are those of `random_state=np.random.RandomState(seed)`, the run's seed. A class with k rows or fewer uses all its other
    rows, and one of a single row repeats it, both with a warning. Of a category, a made row has that of the nearer of its two rows.

    ratio: `auto`, all classes grow to the largest; a number, to that share of it; a mapping, from a class to the rows that it grows to.

    Raises ConfigError for multi-label tasks, for models that read token ids, for data with row weights, and where imbalanced-learn finds
    no row to grow a class from.
    """

    option: ClassVar[str]
    apart: ClassVar[bool] = False  # a class is grown from its own rows alone, so that the others need not be there
    approximate = "rows between rows change what a class looks like"

    def __init__(
        self, task: Task, class_names: tuple[str, ...], modality: Modality, sparse_features: bool, k_neighbors: int, ratio: Ratio
    ) -> None:
        refuse_multilabel(self.option, task)
        refuse_tokens(self.option, modality, sparse_features)
        self.class_names, self.k_neighbors = class_names, k_neighbors
        self.ratio = named(ratio, class_names)

    def resample(self, train: TrainSplit, rng: np.random.Generator) -> Plan:
        refuse_weights(self.option, train)
        return self.grow(train, random_state(rng))

    def grow(self, train: TrainSplit, state: State) -> Plan:
        """The train rows, then copies of those that are alone in their class, then the made ones."""
        labels = train.labels()
        counts = np.bincount(labels, minlength=len(self.class_names))
        missing = growth(self.ratio, counts, self.class_names)
        layout = train.layout()
        self.check(layout)
        if not missing.any():
            logger.warning("%s: every class has as many rows as sampler.ratio=%s asks for, so nothing is added", self.option, self.ratio)
            return Plan(np.arange(len(train)))
        rows = [np.arange(len(train))]
        for c in np.flatnonzero((missing > 0) & (counts == 1)):
            logger.warning(
                "%s: class '%s' has a single train row, which is repeated %d times", self.option, self.class_names[c], missing[c]
            )
            rows.append(np.repeat(np.flatnonzero(labels == c), missing[c]))
        if not ((missing > 0) & (counts > 1)).any():
            return Plan(np.concatenate(rows))
        made = self._made(train, Classes(labels, counts, missing, layout), state)
        rows.append(len(train) + np.arange(len(made.labels)))
        return Plan(np.concatenate(rows), made=made, train_rows=len(train))

    def check(self, layout: Layout) -> None:
        """Raises ConfigError where the method cannot work on such columns."""

    def points(self, train: TrainSplit) -> Matrix:
        """(N, W) what imbalanced-learn is given."""
        return train.space()

    def finish(self, points: Matrix, labels: np.ndarray, layout: Layout) -> Made:
        """(M, W) that imbalanced-learn made, in the form of `points`, as rows of the split."""
        return made_of(points, labels, layout)

    def reference(self, strategy: dict[int, int], k: int, rows: int, layout: Layout, state: State) -> Any:
        """imbalanced-learn's object. `strategy` maps a class to the rows that it shall have; `rows` is N."""
        raise NotImplementedError

    def _made(self, train: TrainSplit, classes: Classes, state: State) -> Made:
        grown = np.flatnonzero((classes.missing > 0) & (classes.counts > 1))
        k_each = np.array([self._k(int(c), int(classes.counts[c])) for c in grown])
        points, found, whose = self.points(train), [], []
        # imbalanced-learn takes one k for all classes, so those that need a smaller one are grown apart.
        for k in np.unique(k_each)[::-1]:
            x, y = self._run(points, classes, grown[k_each == k], int(k), state)
            found.append(x)
            whose.append(y)
        labels = np.concatenate(whose)
        have = np.bincount(labels, minlength=len(self.class_names))
        for c in grown[have[grown] < _SHORT * classes.missing[grown]]:
            logger.warning("%s: class '%s' grew by %d of %d rows", self.option, self.class_names[c], have[c], classes.missing[c])
        return self.finish(_stack(found), labels, classes.layout)

    def _k(self, c: int, count: int) -> int:
        return legal(self.option, "k_neighbors", self.k_neighbors, count - 1, f"class '{self.class_names[c]}' has {count} train rows")

    def _run(self, points: Matrix, classes: Classes, some: np.ndarray, k: int, state: State) -> tuple[Matrix, np.ndarray]:
        """The rows that were added to some classes, and their labels."""
        labels, counts = classes.labels, classes.counts
        if self.apart:
            own = np.isin(labels, some)
            own[np.flatnonzero(~own)[:1]] = True  # imbalanced-learn wants to see a second class
            points, labels = points[own], labels[own]
        strategy = {int(c): int(counts[c] + classes.missing[c]) for c in some}
        try:
            with told(self.option):
                x, y = self.reference(strategy, k, len(labels), classes.layout, state).fit_resample(points, labels)
        except (ValueError, RuntimeError) as error:
            raise ConfigError(
                f"sampler={self.option}: imbalanced-learn could not grow {named_counts(some, counts, self.class_names)}: "
                f"{self._in_words(error)}\n  k_neighbors is at most {counts[some].min() - 1} for these; "
                f"sampler=smote grows any class, and sampler.ratio={{class: rows}} leaves out the others"
            ) from error
        return x[len(labels) :], y[len(labels) :]

    def _in_words(self, error: Exception) -> str:
        """The message with the names of classes, which imbalanced-learn knows by their numbers."""
        return re.sub(r"\bclass (\d+)", lambda found: f"class '{self.class_names[int(found[1])]}'", str(error).strip())


def _stack(parts: list[Matrix]) -> Matrix:
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    import scipy.sparse

    return scipy.sparse.vstack(parts, format="csr")
