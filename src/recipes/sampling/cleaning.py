"""Rows that stand among other classes are left out: Tomek links, edited nearest neighbours, NearMiss.

M rows, W columns of a split's `space`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from recipes.config.types import PositiveInt
from recipes.data.facts import Task
from recipes.sampling.base import Plan, Sampler
from recipes.sampling.points import PICKED, legal, refuse_multilabel, spared, told
from recipes.sampling.ratio import Ratio, named, shrink

if TYPE_CHECKING:
    from recipes.data.split import TrainSplit
    from recipes.sampling.points import Matrix

logger = logging.getLogger(__name__)
Cleaned = Literal["not_minority", "majority", "all"]


class TomekLinks(Sampler):
    """Leaves out rows whose nearest row is of another class and has them for its nearest in turn (Tomek 1976). Dense features or TF-IDF.

    classes: whose rows may go: of `all` classes, of all but the smallest (`not_minority`), or of the largest (`majority`).
    Raises ConfigError for multi-label tasks.
    """

    approximate = PICKED

    def __init__(self, task: Task, class_names: tuple[str, ...], *, classes: Cleaned = "not_minority") -> None:
        refuse_multilabel("tomek", task)
        self.class_names, self.classes = class_names, classes

    def resample(self, train: TrainSplit, rng: np.random.Generator) -> Plan:
        labels = train.labels()
        return Plan(np.flatnonzero(kept_by("tomek", tomek_links(self.classes), train.space(), labels, self.class_names)))


class ENN(Sampler):
    """Edited nearest neighbours (Wilson 1972): leaves out rows that their nearest rows contradict. Dense features or TF-IDF.

    kind: `all`, a row stays if all its `n_neighbors` nearest are of its class; `mode`, if most are. classes: whose rows may go, as in
    `TomekLinks`. A class that would lose every row keeps them all, with a warning. Raises ConfigError for multi-label tasks.
    """

    approximate = PICKED

    def __init__(
        self,
        task: Task,
        class_names: tuple[str, ...],
        *,
        n_neighbors: PositiveInt = 3,
        kind: Literal["all", "mode"] = "all",
        classes: Cleaned = "not_minority",
    ) -> None:
        refuse_multilabel("enn", task)
        self.class_names, self.n_neighbors, self.kind, self.classes = class_names, n_neighbors, kind, classes

    def resample(self, train: TrainSplit, rng: np.random.Generator) -> Plan:
        reference = edited_neighbours("enn", self.n_neighbors, self.kind, self.classes, len(train))
        return Plan(np.flatnonzero(kept_by("enn", reference, train.space(), train.labels(), self.class_names)))


class NearMiss(Sampler):
    """Keeps the rows of the larger classes that stand near the smallest one (Mani & Zhang 2003). Dense features or TF-IDF.

    version: 1, those with the least mean distance to their `n_neighbors` nearest rows of the smallest class; 2, to the farthest; 3, of the
    `n_neighbors_ver3` rows nearest to each row of the smallest class those that are farthest from theirs, which may be fewer than asked.
    ratio: `auto`, all classes shrink to the smallest; a number, until the smallest is that share of each; a mapping, from a class to the
    rows that it keeps. Raises ConfigError for multi-label tasks.
    """

    approximate = PICKED

    def __init__(
        self,
        task: Task,
        class_names: tuple[str, ...],
        *,
        version: Literal[1, 2, 3] = 1,
        n_neighbors: PositiveInt = 3,
        n_neighbors_ver3: PositiveInt = 3,
        ratio: Ratio = "auto",
    ) -> None:
        refuse_multilabel("nearmiss", task)
        self.class_names, self.version, self.ratio = class_names, version, named(ratio, class_names)
        self.n_neighbors, self.n_neighbors_ver3 = n_neighbors, n_neighbors_ver3

    def resample(self, train: TrainSplit, rng: np.random.Generator) -> Plan:
        from imblearn.under_sampling import NearMiss as Reference

        labels = train.labels()
        counts = np.bincount(labels, minlength=len(self.class_names))
        keep = shrink(self.ratio, counts, self.class_names)
        larger = np.flatnonzero(keep < counts)
        if not len(larger):
            logger.warning("nearmiss: no class has more rows than sampler.ratio=%s keeps, so nothing is left out", self.ratio)
            return Plan(np.arange(len(train)))
        least = int(counts[counts > 0].min())
        settings: dict[str, Any] = {"version": self.version, "sampling_strategy": {int(c): int(keep[c]) for c in larger}}
        settings["n_neighbors"] = legal("nearmiss", "n_neighbors", self.n_neighbors, least, f"the smallest class has {least} train rows")
        if self.version == 3:
            fewest = int(counts[larger].min())
            why = f"a class that shrinks has {fewest} train rows"
            settings["n_neighbors_ver3"] = legal("nearmiss", "n_neighbors_ver3", self.n_neighbors_ver3, fewest, why)
        return Plan(np.flatnonzero(kept_by("nearmiss", Reference(**settings), train.space(), labels, self.class_names)))


def tomek_links(classes: Cleaned) -> Any:
    """imbalanced-learn's object."""
    from imblearn.under_sampling import TomekLinks as Reference

    return Reference(sampling_strategy=classes.replace("_", " "))


def edited_neighbours(option: str, n_neighbors: int, kind: str, classes: Cleaned, rows: int) -> Any:
    """imbalanced-learn's object for so many rows."""
    from imblearn.under_sampling import EditedNearestNeighbours as Reference

    k = legal(option, "n_neighbors", n_neighbors, rows - 1, f"there are {rows} samples")
    return Reference(sampling_strategy=classes.replace("_", " "), n_neighbors=k, kind_sel=kind)


def kept_by(option: str, reference: Any, points: Matrix, labels: np.ndarray, class_names: tuple[str, ...]) -> np.ndarray:
    """(M,) bool: what imbalanced-learn leaves; all where there is one class only, which has no others to stand among."""
    kept = np.ones(len(labels), dtype=bool)
    if (labels == labels[0]).all():
        return kept
    with told(option):
        reference.fit_resample(points, labels)
    kept[:] = False
    kept[reference.sample_indices_] = True
    return spared(option, kept, labels, class_names)
