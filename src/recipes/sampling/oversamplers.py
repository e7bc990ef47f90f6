"""Rare classes grow by rows that imbalanced-learn makes: relatives of SMOTE that look at where a class meets the others."""

from __future__ import annotations

from typing import Any, Literal

from recipes.config.types import PositiveFloat, PositiveInt, Probability
from recipes.data.facts import Modality, Task
from recipes.data.stores import Layout
from recipes.errors import ConfigError
from recipes.sampling.growing import OverSampler, State
from recipes.sampling.points import legal
from recipes.sampling.ratio import Ratio


class BorderlineSMOTE(OverSampler):
    """SMOTE from rows at the border only (Han, Wang & Mao 2005): those with at least half of their m nearest rows, but not all, elsewhere.

    kind: `borderline-1` mixes with rows of the same class; `borderline-2` with rows of any, at most half the way to one of another class.
    A class without a row at the border does not grow, which the log says.
    """

    option = "borderline_smote"

    def __init__(
        self,
        task: Task,
        class_names: tuple[str, ...],
        modality: Modality = "tabular",
        sparse_features: bool = False,
        *,
        k_neighbors: PositiveInt = 5,
        m_neighbors: PositiveInt = 10,
        kind: Literal["borderline-1", "borderline-2"] = "borderline-1",
        ratio: Ratio = "auto",
    ) -> None:
        super().__init__(task, class_names, modality, sparse_features, k_neighbors, ratio)
        if sparse_features and kind == "borderline-2":
            raise ConfigError("sampler.kind: imbalanced-learn has borderline-2 for dense features only, not for TF-IDF; use borderline-1")
        self.m_neighbors, self.kind = m_neighbors, kind

    def reference(self, strategy: dict[int, int], k: int, rows: int, layout: Layout, state: State) -> Any:
        from imblearn.over_sampling import BorderlineSMOTE as Reference

        m = legal(self.option, "m_neighbors", self.m_neighbors, rows - 1, f"train has {rows} rows")
        return Reference(sampling_strategy=strategy, random_state=state, k_neighbors=k, m_neighbors=m, kind=self.kind)


class SVMSMOTE(OverSampler):
    """SMOTE from the support vectors of a support vector machine (Nguyen, Cooper & Kamei 2009).

    Support vectors with mostly other classes among their m nearest rows are mixed with neighbours; from the others a step of up to
    `out_step` leads away from a neighbour, out into the open. Where all are of one kind imbalanced-learn adds only that kind's share of
    the rows, which the log says. The machine takes time with the square of the train rows.
    """

    option = "svm_smote"
    approximate = "rows beside rows change what a class looks like"

    def __init__(
        self,
        task: Task,
        class_names: tuple[str, ...],
        modality: Modality = "tabular",
        sparse_features: bool = False,
        *,
        k_neighbors: PositiveInt = 5,
        m_neighbors: PositiveInt = 10,
        out_step: Probability = 0.5,
        ratio: Ratio = "auto",
    ) -> None:
        super().__init__(task, class_names, modality, sparse_features, k_neighbors, ratio)
        self.m_neighbors, self.out_step = m_neighbors, out_step

    def reference(self, strategy: dict[int, int], k: int, rows: int, layout: Layout, state: State) -> Any:
        from imblearn.over_sampling import SVMSMOTE as Reference

        m = legal(self.option, "m_neighbors", self.m_neighbors, rows - 1, f"train has {rows} rows")
        return Reference(sampling_strategy=strategy, random_state=state, k_neighbors=k, m_neighbors=m, out_step=self.out_step)


class ADASYN(OverSampler):
    """SMOTE with more rows where the class is hard to tell (He et al. 2008): in proportion to the other classes among the k nearest.

    Shares are rounded row by row, so a class may miss its size by a few rows.
    """

    option = "adasyn"

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

    def reference(self, strategy: dict[int, int], k: int, rows: int, layout: Layout, state: State) -> Any:
        from imblearn.over_sampling import ADASYN as Reference

        return Reference(sampling_strategy=strategy, random_state=state, n_neighbors=k)


class KMeansSMOTE(OverSampler):
    """SMOTE inside clusters that hold enough of the class, more in sparse ones (Douzas, Bacao & Last 2018).

    clusters: of the whole train split. cluster_balance_threshold: least share of the class in a cluster that is used; `auto`, half of the
    class's share of all rows that are added. density_exponent: how much more sparse clusters get; `auto`, from their size. Counts are
    rounded up cluster by cluster, so a class may pass its size by a few rows.
    """

    option = "kmeans_smote"

    def __init__(
        self,
        task: Task,
        class_names: tuple[str, ...],
        modality: Modality = "tabular",
        sparse_features: bool = False,
        *,
        k_neighbors: PositiveInt = 2,
        clusters: PositiveInt = 8,
        cluster_balance_threshold: Literal["auto"] | Probability = "auto",
        density_exponent: Literal["auto"] | PositiveFloat = "auto",
        ratio: Ratio = "auto",
    ) -> None:
        super().__init__(task, class_names, modality, sparse_features, k_neighbors, ratio)
        self.clusters, self.threshold, self.density_exponent = clusters, cluster_balance_threshold, density_exponent

    def reference(self, strategy: dict[int, int], k: int, rows: int, layout: Layout, state: State) -> Any:
        from imblearn.over_sampling import KMeansSMOTE as Reference

        return Reference(
            sampling_strategy=strategy,
            random_state=state,
            k_neighbors=k,
            kmeans_estimator=min(self.clusters, rows),
            cluster_balance_threshold=self.threshold,
            density_exponent=self.density_exponent,
        )
