"""Under-sampling by clusters: centroids against imbalanced-learn, shares against the paper's formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.data.split import TrainSplit
from recipes.data.stores import BagStore, DenseStore, SequenceStore
from recipes.errors import ConfigError
from recipes.randomness import generator
from recipes.sampling import ClusterCentroids, ClusterSBC, Plan, Sampler, clusters
from recipes.sampling.clusters import shares

NAMES = ("a", "b", "c")


def blobs(counts: list[int], features: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    return labels, (rng.normal(size=(len(labels), features)) + labels[:, None]).astype(np.float32)


def dense(labels: np.ndarray, points: np.ndarray, weights: np.ndarray | None = None) -> TrainSplit:
    return TrainSplit("train", DenseStore(points, np.zeros((len(labels), 0), np.int64)), labels, weights)


def resample(sampler: Sampler, train: TrainSplit, seed: int = 3) -> Plan:
    return sampler.resample(train, generator(seed, "resample"))


@pytest.mark.parametrize("estimator", ["kmeans", "minibatch"])
@pytest.mark.parametrize(("ratio", "theirs"), [("auto", "auto"), ({"a": 31}, {0: 31}), (0.5, {0: 24})])
def test_soft_centroids_equal_imbalanced_learn(estimator: Any, ratio: Any, theirs: Any) -> None:
    from imblearn.under_sampling import ClusterCentroids as Reference
    from sklearn.cluster import KMeans, MiniBatchKMeans

    labels, points = blobs([80, 12, 20])
    state = np.random.RandomState(3)
    kind = KMeans if estimator == "kmeans" else MiniBatchKMeans
    expected, whose = Reference(sampling_strategy=theirs, estimator=kind(random_state=state), random_state=state).fit_resample(
        points, labels
    )
    sampler = ClusterCentroids("multiclass", NAMES, estimator=estimator, ratio=ratio)
    plan = resample(sampler, dense(labels, points))
    assert plan.made is not None
    grown = dense(labels, points).with_made(plan.made.features, plan.made.levels, plan.made.labels)
    batch = grown.batch(plan.rows)
    assert batch.features_BF is not None
    assert np.bincount(plan.labels(labels)).tolist() == np.bincount(whose).tolist()
    for c in range(3):
        ours = batch.features_BF.numpy()[plan.labels(labels) == c]
        reference = expected[whose == c]
        np.testing.assert_allclose(ours[np.lexsort(ours.T)], reference[np.lexsort(reference.T)], atol=1e-5)


def test_hard_rows_are_the_nearest_of_their_cluster() -> None:
    from sklearn.cluster import KMeans

    labels, points = blobs([80, 12])
    plan = resample(ClusterCentroids("binary", ("a", "b"), voting="hard"), dense(labels, points))
    assert plan.made is None
    assert np.bincount(labels[plan.rows]).tolist() == [12, 12]
    assert len(set(plan.rows)) == 24
    members = np.flatnonzero(labels == 0)
    found = KMeans(12, random_state=np.random.RandomState(3)).fit(points[members])
    for cluster in range(12):
        own = members[found.labels_ == cluster]
        distances = np.linalg.norm(points[own] - found.cluster_centers_[cluster], axis=1)
        (kept,) = np.flatnonzero(np.isin(own, plan.rows))
        assert distances[kept] == pytest.approx(distances.min(), rel=1e-5)  # of two rows both are


def test_copies_of_rows_do_not_make_hard_rows_fewer() -> None:
    labels = np.repeat([0, 1], [40, 10])
    points = np.concatenate([np.repeat([[0.0], [1.0], [2.0]], [20, 15, 5], axis=0), np.full((10, 1), 9.0)]).astype(np.float32)
    plan = resample(ClusterCentroids("binary", ("a", "b"), voting="hard"), dense(labels, points))
    assert len(set(plan.rows)) == 20
    assert set(points[plan.rows[labels[plan.rows] == 0], 0]) == {0, 1, 2}


def test_one_centroid() -> None:
    labels, points = blobs([30, 1])
    plan = resample(ClusterCentroids("binary", ("a", "b")), dense(labels, points))
    assert plan.made is not None
    np.testing.assert_allclose(plan.made.features, points[labels == 0].mean(axis=0, keepdims=True), atol=1e-6)
    assert len(resample(ClusterCentroids("binary", ("a", "b"), voting="hard"), dense(labels, points))) == 2


def test_a_centroid_has_the_category_of_most_of_its_rows() -> None:
    labels = np.repeat([0, 1], [30, 1])
    codes = np.append(np.repeat([0, 1, 2], [5, 18, 7]), 0)
    points = np.zeros((31, 1), np.float32)
    embedded = TrainSplit("train", DenseStore(points, codes[:, None], (3,)), labels)
    one_hot = DenseStore(np.concatenate([points, np.eye(3, dtype=np.float32)[codes]], axis=1), np.zeros((31, 0), np.int64), (), ((1, 4),))
    first = resample(ClusterCentroids("binary", ("a", "b")), embedded).made
    second = resample(ClusterCentroids("binary", ("a", "b")), TrainSplit("train", one_hot, labels)).made
    assert first is not None
    assert first.levels.tolist() == [[1]]
    assert second is not None
    assert np.asarray(second.features).tolist() == [[0, 0, 1, 0]]


def texts(form: str) -> TrainSplit:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [60, 15])
    words = np.concatenate([rng.choice(np.arange(2, 20), 5, replace=False) + 6 * label for label in labels]).astype(np.int32)
    lengths = np.full(75, 5)
    if form == "sequence":
        return TrainSplit("train", SequenceStore(np.append(words, np.int32(0)), lengths, 30), labels)
    return TrainSplit("train", BagStore(words, lengths, 30, np.full(len(words), 5**-0.5, np.float32)), labels)


@pytest.mark.parametrize("form", ["sequence", "tfidf"])
def test_texts_are_represented_by_texts(form: str) -> None:
    train, sparse = texts(form), form == "tfidf"
    plan = resample(ClusterCentroids("binary", ("a", "b"), "text", sparse), train)
    assert plan.made is None
    assert np.bincount(train.labels()[plan.rows]).tolist() == [15, 15]
    with pytest.raises(ConfigError, match=r"sampler\.voting: .*use hard"):
        ClusterCentroids("binary", ("a", "b"), "text", sparse, voting="soft")
    plan = resample(ClusterSBC("binary", ("a", "b")), train)
    assert np.bincount(train.labels()[plan.rows]).tolist() == [15, 15]


def test_centroids_have_no_weight() -> None:
    labels, points = blobs([20, 10])
    train = dense(labels, points, np.ones(30, np.float32))
    with pytest.raises(ConfigError, match=r"data\.weight"):
        resample(ClusterCentroids("binary", ("a", "b")), train)
    assert len(resample(ClusterCentroids("binary", ("a", "b"), voting="hard"), train)) == 20


@pytest.mark.parametrize("kind", [ClusterCentroids, ClusterSBC])
def test_multilabel_is_refused(kind: type[Any]) -> None:
    with pytest.raises(ConfigError, match="multi-label; use sampler=balanced_batch"):
        kind("multilabel", ("a", "b"))


@pytest.mark.parametrize(
    ("majority", "minority", "total", "expected"),
    [
        ([500, 300, 200], [10, 50, 40], 100, [82, 10, 8]),  # 50 : 6 : 5
        ([10, 10], [0, 1], 10, [5, 5]),  # none counts as one
        ([10, 0, 10], [5, 9, 5], 8, [4, 0, 4]),
        ([3, 90], [0, 90], 12, [3, 9]),  # 3 : 1, and the first has but three
        ([4, 4, 4], [1, 1, 1], 4, [2, 1, 1]),
    ],
)
def test_shares(majority: list[int], minority: list[int], total: int, expected: list[int]) -> None:
    assert shares(np.array(majority), np.array(minority), total).tolist() == expected


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9)), min_size=1, max_size=6), st.data())
@settings(deadline=None, max_examples=200)
def test_shares_always_add_up(pairs: list[tuple[int, int]], data: st.DataObject) -> None:
    majority, minority = np.array(pairs).T
    total = data.draw(st.integers(0, int(majority.sum())))
    found = shares(majority, minority, total)
    assert found.sum() == total
    assert (found >= 0).all()
    assert (found <= majority).all()


def test_clusters_far_from_the_smallest_class_keep_more() -> None:
    """Two clusters that k-means cannot miss: 60 rows alone, and 40 among 20 rows of the smallest; 60/1 : 40/20 of 20 is 19 : 1."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [100, 20])
    points = rng.normal(size=(120, 2)).astype(np.float32)
    points[:60] += 100
    plan = resample(ClusterSBC("binary", ("a", "b"), clusters=2), dense(labels, points))
    kept = plan.rows[labels[plan.rows] == 0]
    assert [(kept < 60).sum(), (kept >= 60).sum()] == [19, 1]
    assert (labels[plan.rows] == 1).sum() == 20
    other = resample(ClusterSBC("binary", ("a", "b"), clusters=2), dense(labels, points), seed=4)
    assert other.rows.tolist() != plan.rows.tolist()
    each = resample(ClusterSBC("binary", ("a", "b"), clusters=2, ratio={"a": 90}), dense(labels, points))
    assert np.bincount(labels[each.rows]).tolist() == [90, 20]


def test_large_classes_go_by_mini_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, points = blobs([80, 12])
    train = dense(labels, points)
    few, batches = (resample(ClusterCentroids("binary", ("a", "b"), estimator=e), train) for e in ("auto", "minibatch"))
    monkeypatch.setattr(clusters, "_MANY", 79)
    many = resample(ClusterCentroids("binary", ("a", "b")), train)
    assert few.made is not None
    assert batches.made is not None
    assert many.made is not None
    np.testing.assert_array_equal(many.made.features, batches.made.features)
    assert not np.array_equal(many.made.features, few.made.features)


def test_distances_of_sparse_rows_are_those_of_dense_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "_AT_ONCE", 25)
    rng = np.random.default_rng(0)
    points, centroids, home = rng.random((20, 6)), rng.random((3, 6)), rng.integers(0, 3, 20)
    expected = [((row - centroids[h]) ** 2).sum() for row, h in zip(points, home, strict=True)]
    for form in (points, sp.csr_matrix(points)):
        np.testing.assert_allclose(clusters._distances(form, centroids, home), expected)
