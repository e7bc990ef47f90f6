"""SMOTE followed by a method that leaves out rows among other classes.

N train rows, M samples of a plan, m new ones among them, W columns of a split's `space`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from recipes.config.types import PositiveInt
from recipes.data.facts import Task
from recipes.sampling.base import Made, Plan, Sampler
from recipes.sampling.cleaning import edited_neighbours, kept_by, tomek_links
from recipes.sampling.points import refuse_multilabel, refuse_weights
from recipes.sampling.ratio import Ratio
from recipes.sampling.smote import SMOTE

if TYPE_CHECKING:
    from recipes.data.split import TrainSplit
    from recipes.data.stores import Layout
    from recipes.sampling.points import Matrix


class _SMOTEThen(Sampler):
    """SMOTE, then a method that leaves out samples, new and old ones, that stand among other classes (Batista, Prati & Monard 2004).

    The samples are those of `SMOTE`, so token models mix embedded texts; they are cleaned in the space where SMOTE seeks neighbours.
    """

    option: ClassVar[str]
    approximate = "rows between rows change what a class looks like, and so does leaving some out"

    def __init__(
        self,
        task: Task,
        class_names: tuple[str, ...],
        sparse_features: bool,
        k_neighbors: int,
        ratio: Ratio,
        parity: Literal["imblearn"] | None,
    ) -> None:
        refuse_multilabel(self.option, task)
        self.class_names = class_names
        self.smote = SMOTE(task, class_names, sparse_features, k_neighbors=k_neighbors, ratio=ratio, parity=parity)

    def resample(self, train: TrainSplit, rng: np.random.Generator) -> Plan:
        refuse_weights(self.option, train)
        plan = self.smote.resample(train, rng)
        labels = plan.labels(train.labels())
        kept = kept_by(self.option, self.reference(len(plan)), _samples(plan, train), labels, self.class_names)
        return _subset(plan, np.flatnonzero(kept))

    def reference(self, rows: int) -> Any:
        """imbalanced-learn's object for so many samples."""
        raise NotImplementedError


class SMOTEENN(_SMOTEThen):
    """SMOTE, then edited nearest neighbours over all classes (Batista, Prati & Monard 2004).

    k_neighbors, ratio, parity: as in `SMOTE`. n_neighbors, kind: as in `ENN`.
    """

    option = "smote_enn"

    def __init__(
        self,
        task: Task,
        class_names: tuple[str, ...],
        sparse_features: bool = False,
        *,
        k_neighbors: PositiveInt = 5,
        ratio: Ratio = "auto",
        n_neighbors: PositiveInt = 3,
        kind: Literal["all", "mode"] = "all",
        parity: Literal["imblearn"] | None = None,
    ) -> None:
        super().__init__(task, class_names, sparse_features, k_neighbors, ratio, parity)
        self.n_neighbors, self.kind = n_neighbors, kind

    def reference(self, rows: int) -> Any:
        return edited_neighbours(self.option, self.n_neighbors, self.kind, "all", rows)


class SMOTETomek(_SMOTEThen):
    """SMOTE, then both rows of each Tomek link go (Batista, Bazzan & Monard 2003). k_neighbors, ratio, parity: as in `SMOTE`."""

    option = "smote_tomek"

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
        super().__init__(task, class_names, sparse_features, k_neighbors, ratio, parity)

    def reference(self, rows: int) -> Any:
        return tomek_links("all")


def _samples(plan: Plan, train: TrainSplit) -> Matrix:
    """(M, W) the samples of one of SMOTE's plans, which begins with the train rows in order, as rows of `space`."""
    space, new = train.space(), slice(len(train), None)
    if plan.made is not None:
        # What SMOTE repeats, because its class has no other row, stands before what it made.
        repeated = plan.rows[new][plan.rows[new] < len(train)]
        return np.concatenate([space, space[repeated], _as_space(plan.made, train.layout())])
    if plan.partners is None or plan.mix is None:
        return space[plan.rows]
    first, second, mix = space[plan.rows[new]], space[plan.partners[new]], plan.mix[new]
    if isinstance(space, np.ndarray):
        return np.concatenate([space, mix[:, :1] * first + mix[:, 1:] * second])
    import scipy.sparse

    mixed = scipy.sparse.diags(mix[:, 0]) @ first + scipy.sparse.diags(mix[:, 1]) @ second
    return scipy.sparse.vstack([space, mixed], format="csr", dtype=np.float32)


def _as_space(made: Made, layout: Layout) -> np.ndarray:
    """(m, W) float32: the features, then one column for each level of each embedded column."""
    embedded = [block for block in layout.categories if block[0] >= layout.features]
    one_hot = [made.levels[:, [k]] == np.arange(stop - start) for k, (start, stop) in enumerate(embedded)]
    return np.concatenate([made.features, *one_hot], axis=1, dtype=np.float32)


def _subset(plan: Plan, kept: np.ndarray) -> Plan:
    """The plan with these samples alone, (M',) int64, and without the made rows that none of them means."""
    if plan.made is None or plan.train_rows is None:
        if plan.partners is None or plan.mix is None:
            return Plan(plan.rows[kept])
        return Plan(plan.rows[kept], plan.partners[kept], plan.mix[kept])
    rows = plan.rows[kept]
    place = rows[rows >= plan.train_rows] - plan.train_rows
    rows[rows >= plan.train_rows] = plan.train_rows + np.arange(len(place))
    made = Made(plan.made.features[place], plan.made.levels[place], plan.made.labels[place])
    return Plan(rows, made=made, train_rows=plan.train_rows)
