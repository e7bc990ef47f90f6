"""SMOTE for tables with categories: SMOTE-NC where there are numbers as well, SMOTEN where there are none.

N train rows, M made rows, W columns of a split's `space`, R numbers, K categories.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from recipes.config.types import PositiveInt
from recipes.data.facts import Modality, Task
from recipes.data.stores import Layout
from recipes.errors import ConfigError
from recipes.sampling.base import Made
from recipes.sampling.growing import OverSampler, State
from recipes.sampling.points import from_codes, one_hot_codes
from recipes.sampling.ratio import Ratio

if TYPE_CHECKING:
    from recipes.data.split import TrainSplit
    from recipes.sampling.points import Matrix


class SMOTENC(OverSampler):
    """SMOTE for numbers and categories (Chawla et al. 2002, section 6.1).

    Numbers are mixed as SMOTE does; each category is the most frequent one among the k neighbours, ties broken at random. In the distance
    a different category counts as much as the median standard deviation of the class's numbers. Booleans count as numbers.

    Raises ConfigError for a table without categories or without numbers.
    """

    option = "smotenc"
    apart = True

    def __init__(
        self,
        task: Task,
        class_names: tuple[str, ...],
        modality: Modality = "tabular",
        sparse_features: bool = False,
        *,
        k_neighbors: PositiveInt = 5,
        ratio: Ratio = "auto",
    ) -> None:
        super().__init__(task, class_names, modality, sparse_features, k_neighbors, ratio)

    def check(self, layout: Layout) -> None:
        if not layout.categories:
            raise ConfigError("sampler=smotenc: the data has no category column, and this is SMOTE with categories; use sampler=smote")
        if not len(layout.numbers):
            raise ConfigError(
                "sampler=smotenc: the data has category columns only, between which nothing can be mixed; use sampler=smoten, which lets "
                "neighbours vote, or sampler=smote, which chooses by the columns"
            )

    def points(self, train: TrainSplit) -> np.ndarray:
        """(N, R + K) float32: the numbers, then the code of each category."""
        space, layout = np.asarray(train.space()), train.layout()
        return np.concatenate([space[:, layout.numbers], one_hot_codes(space, layout)], axis=1, dtype=np.float32)

    def finish(self, points: Matrix, labels: np.ndarray, layout: Layout) -> Made:
        mixed, numbers = np.asarray(points), layout.numbers
        rows = np.zeros((len(labels), layout.features), np.float32)
        rows[:, numbers] = mixed[:, : len(numbers)]
        return from_codes(rows, mixed[:, len(numbers) :].astype(np.int64), labels, layout)

    def reference(self, strategy: dict[int, int], k: int, rows: int, layout: Layout, state: State) -> Any:
        from imblearn.over_sampling import SMOTENC as Reference

        after = len(layout.numbers)
        places = list(range(after, after + len(layout.categories)))
        return Reference(places, sampling_strategy=strategy, random_state=state, k_neighbors=k)


class SMOTEN(OverSampler):
    """SMOTE for categories alone (Chawla et al. 2002, section 6.2): each category is the most frequent one among a row and its neighbours.

    Neighbours are near by the value difference metric (Stanfill & Waltz 1986): two values are as far apart as the classes that come with
    them. All pairs of rows of a class are compared, so memory goes with their square.

    Raises ConfigError for a table with numbers.
    """

    option = "smoten"
    approximate = "rows that neighbours vote for change what a class looks like"

    def __init__(
        self,
        task: Task,
        class_names: tuple[str, ...],
        modality: Modality = "tabular",
        sparse_features: bool = False,
        *,
        k_neighbors: PositiveInt = 5,
        ratio: Ratio = "auto",
    ) -> None:
        super().__init__(task, class_names, modality, sparse_features, k_neighbors, ratio)

    def check(self, layout: Layout) -> None:
        if len(layout.numbers):
            raise ConfigError(
                f"sampler=smoten: {len(layout.numbers)} of the features are numbers, and this is SMOTE for categories alone; use "
                f"{'sampler=smotenc' if layout.categories else 'sampler=smote'}"
            )

    def points(self, train: TrainSplit) -> np.ndarray:
        """(N, K) int64 code of each category."""
        return one_hot_codes(np.asarray(train.space()), train.layout())

    def finish(self, points: Matrix, labels: np.ndarray, layout: Layout) -> Made:
        return from_codes(np.zeros((len(labels), layout.features), np.float32), np.asarray(points), labels, layout)

    def reference(self, strategy: dict[int, int], k: int, rows: int, layout: Layout, state: State) -> Any:
        from imblearn.over_sampling import SMOTEN as Reference

        return Reference(sampling_strategy=strategy, random_state=state, k_neighbors=k)
