"""Large classes shrink by clusters: to centroids, or to a number of rows from each cluster.

N train rows, n rows of a class, k clusters, W columns of a split's `space`, C classes.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from recipes.config.types import PositiveInt
from recipes.data.facts import Modality, Task
from recipes.errors import ConfigError
from recipes.sampling.base import Plan, Sampler
from recipes.sampling.points import PICKED, made_of, random_state, refuse_multilabel, refuse_weights, told
from recipes.sampling.ratio import Ratio, named, shrink

if TYPE_CHECKING:
    from recipes.data.split import TrainSplit
    from recipes.sampling.points import Matrix

logger = logging.getLogger(__name__)
Estimator = Literal["auto", "kmeans", "minibatch"]
_MANY = 10_000  # rows above which k-means goes by mini-batches: it takes rows times clusters times rounds
_AT_ONCE = 1 << 21  # numbers of a dense copy


class ClusterCentroids(Sampler):
    """Each class that is too large is clustered into as many clusters as it shall have rows, and each cluster becomes one row.

    voting: `soft`, the centroid, a row that no data holds; `hard`, the cluster's row nearest to it; `auto`, hard for texts, else soft. A
    hard row stands for one cluster only, so none comes twice. Of a category, a centroid has that of most of its rows.
    estimator: `kmeans`, `minibatch`, or `auto`, mini-batches for classes above 10,000 rows. The draws are those of
    `random_state=np.random.RandomState(seed)`, the run's seed. ratio: as in `NearMiss`.

    Raises ConfigError for multi-label tasks, and with soft votes for texts and for data with row weights.
    """

    approximate = "centroids in the place of rows change what a class looks like"

    def __init__(
        self,
        task: Task,
        class_names: tuple[str, ...],
        modality: Modality = "tabular",
        sparse_features: bool = False,
        *,
        voting: Literal["auto", "hard", "soft"] = "auto",
        estimator: Estimator = "auto",
        ratio: Ratio = "auto",
    ) -> None:
        refuse_multilabel("cluster_centroids", task)
        text = modality == "text" or sparse_features
        if text and voting == "soft":
            raise ConfigError("sampler.voting: the centroid of texts is no text; use hard, which keeps the text nearest to it")
        self.class_names, self.estimator, self.ratio = class_names, estimator, named(ratio, class_names)
        self.hard = text if voting == "auto" else voting == "hard"

    def resample(self, train: TrainSplit, rng: np.random.Generator) -> Plan:
        if not self.hard:
            refuse_weights("cluster_centroids sampler.voting=soft", train)
        labels, keep, larger = _larger("cluster_centroids", train, self.class_names, self.ratio)
        if not len(larger):
            return Plan(np.arange(len(train)))
        state, space = random_state(rng), train.space()
        rows, centroids = [np.flatnonzero(~np.isin(labels, larger))], []
        for c in larger:
            members = np.flatnonzero(labels == c)
            found = _cluster("cluster_centroids", space[members], int(keep[c]), self.estimator, state)
            if self.hard:
                rows.append(members[_representatives(found, space[members])])
            else:
                centroids.append(found.cluster_centers_)
        kept = np.sort(np.concatenate(rows))
        if self.hard:
            return Plan(kept)
        made = made_of(np.concatenate(centroids), np.repeat(larger, keep[larger]), train.layout())
        return Plan(np.append(kept, len(train) + np.arange(len(made.labels))), made=made, train_rows=len(train))


class ClusterSBC(Sampler):
    """Under-sampling based on clustering (Yen & Lee 2009): all rows are clustered, and a large class keeps rows at random from each.

    A cluster with maj_i rows of the class and min_i of the smallest one (1 if none) keeps a share of (maj_i / min_i) / sum_j (maj_j /
    min_j) of the rows that the class shall have: many from where the class is among itself, few from where it meets the smallest. What a
    cluster does not hold is taken from the others in the same proportion. Each large class is compared with the smallest by itself.

    clusters, estimator: of all train rows; see `ClusterCentroids`. ratio: as in `NearMiss`. Raises ConfigError for multi-label tasks.
    """

    approximate = PICKED

    def __init__(
        self,
        task: Task,
        class_names: tuple[str, ...],
        *,
        clusters: PositiveInt = 3,
        estimator: Estimator = "auto",
        ratio: Ratio = "auto",
    ) -> None:
        refuse_multilabel("cluster_sbc", task)
        self.class_names, self.clusters, self.estimator, self.ratio = class_names, clusters, estimator, named(ratio, class_names)

    def resample(self, train: TrainSplit, rng: np.random.Generator) -> Plan:
        labels, keep, larger = _larger("cluster_sbc", train, self.class_names, self.ratio)
        if not len(larger):
            return Plan(np.arange(len(train)))
        clusters = min(self.clusters, len(train))
        home = _cluster("cluster_sbc", train.space(), clusters, self.estimator, random_state(rng)).labels_
        counts = np.bincount(labels, minlength=len(self.class_names))
        smallest = int(np.where(counts > 0, counts, len(train) + 1).argmin())
        minority = np.bincount(home[labels == smallest], minlength=clusters)
        rows = [np.flatnonzero(~np.isin(labels, larger))]
        for c in larger:
            members = np.flatnonzero(labels == c)
            held = np.bincount(home[members], minlength=clusters)
            for cluster, wanted in enumerate(shares(held, minority, int(keep[c]))):
                rows.append(rng.choice(members[home[members] == cluster], size=wanted, replace=False))
        return Plan(np.sort(np.concatenate(rows)))


def shares(majority: np.ndarray, minority: np.ndarray, total: int) -> np.ndarray:
    """(k,) int64 rows to keep of each cluster, `total` together and never more than it holds, from the rows of two classes in each."""
    quota = majority / np.maximum(minority, 1)
    taken = np.zeros(len(majority))
    # Clusters that are full hand what they cannot give to the others; each round fills one or ends.
    while (left := total - taken.sum()) > 1e-9:
        free = np.where(taken < majority, quota, 0.0)
        taken = np.minimum(majority, taken + left * free / free.sum())
    whole = np.floor(taken + 1e-9).astype(np.int64)
    # The largest remainders are rounded up, the first of equal ones.
    rest = np.argsort(whole - taken, kind="stable")[: total - whole.sum()]
    whole[rest] += 1
    return whole


def _larger(option: str, train: TrainSplit, class_names: tuple[str, ...], ratio: Ratio) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels (N,), rows to keep of each class (C,), and the classes that have more."""
    labels = train.labels()
    counts = np.bincount(labels, minlength=len(class_names))
    keep = shrink(ratio, counts, class_names)
    larger = np.flatnonzero(keep < counts)
    if not len(larger):
        logger.warning("%s: no class has more rows than sampler.ratio=%s keeps, so nothing is left out", option, ratio)
    return labels, keep, larger


def _cluster(option: str, points: Matrix, clusters: int, estimator: Estimator, state: np.random.RandomState) -> Any:
    """A fitted k-means."""
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    batches = estimator == "minibatch" or (estimator == "auto" and points.shape[0] > _MANY)
    kind = MiniBatchKMeans if batches else KMeans
    # Threads add up centroids in the order in which they happen to finish, and a resumed run must find the same ones.
    with told(option), threadpool_limits(limits=1, user_api="openmp"):
        return kind(n_clusters=clusters, random_state=state).fit(points)


def _representatives(found: Any, points: Matrix) -> np.ndarray:
    """(k,) int64 places of rows, a different one for each centroid: the nearest of its own cluster.

    Copies of one row may leave clusters empty; for these stand the rows that are nearest to their centroids among the others.
    """
    home, distance = found.labels_, _distances(points, found.cluster_centers_, found.labels_)
    order = np.lexsort((distance, home))
    first = order[np.flatnonzero(np.diff(home[order], prepend=-1))]
    others = np.setdiff1d(np.arange(len(home)), first)
    spare = others[np.argsort(distance[others], kind="stable")][: len(found.cluster_centers_) - len(first)]
    return np.concatenate([first, spare])


def _distances(points: Matrix, centroids: np.ndarray, home: np.ndarray) -> np.ndarray:
    """(n,) squared distance of each row to its own centroid, some rows at a time: of TF-IDF a dense copy is made."""
    distance, step = np.empty(len(home)), max(1, _AT_ONCE // max(1, centroids.shape[1]))
    for start in range(0, len(home), step):
        some = points[start : start + step]
        dense = some if isinstance(some, np.ndarray) else some.toarray()
        distance[start : start + step] = ((dense - centroids[home[start : start + step]]) ** 2).sum(axis=1)
    return distance
