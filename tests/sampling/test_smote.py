"""SMOTE against imbalanced-learn's draws, against brute-force neighbours, and at the edges."""

from __future__ import annotations

import logging
import tracemalloc
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from recipes.data.split import TrainSplit
from recipes.data.stores import BagStore, DenseStore
from recipes.errors import ConfigError
from recipes.randomness import generator
from recipes.sampling import SMOTE, Plan
from recipes.sampling.neighbours import neighbours


def dense(labels: np.ndarray, points: np.ndarray) -> TrainSplit:
    return TrainSplit("train", DenseStore(points.astype(np.float32), np.zeros((len(labels), 0), np.int64)), labels)


def sparse(labels: np.ndarray, matrix: sp.csr_matrix) -> TrainSplit:
    store = BagStore(matrix.indices.astype(np.int32), np.diff(matrix.indptr).astype(np.int64), matrix.shape[1], matrix.data)
    return TrainSplit("train", store, labels)


def blobs(counts: list[int], features: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    return labels, (rng.normal(size=(len(labels), features)) + labels[:, None]).astype(np.float32)


def texts(counts: list[int], words: int = 40, seed: int = 0) -> tuple[np.ndarray, sp.csr_matrix]:
    """Rows of unit length with three to eight words each."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    rows = np.zeros((len(labels), words), np.float32)
    for row in rows:
        row[rng.choice(words, rng.integers(3, 9), replace=False)] = rng.random(1)[0] + rng.random(1)[0]
    rows *= rng.uniform(0.5, 1.5, size=rows.shape)
    return labels, sp.csr_matrix(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def make(counts: list[int], sparse_features: bool = False, **settings: Any) -> SMOTE:
    names = tuple(f"c{i}" for i in range(len(counts)))
    return SMOTE("binary" if len(counts) == 2 else "multiclass", names, sparse_features, **settings)


def materialise(plan: Plan, space: Any) -> Any:
    assert plan.partners is not None
    assert plan.mix is not None
    first, second = space[plan.rows], space[plan.partners]
    if sp.issparse(space):
        return sp.diags(plan.mix[:, 0]) @ first + sp.diags(plan.mix[:, 1]) @ second
    return plan.mix[:, :1] * first + plan.mix[:, 1:] * second


PARITY: list[tuple[list[int], Any, Any]] = [
    ([90, 12], "auto", "auto"),
    ([90, 40], 0.73, 0.73),
    ([60, 90, 9], "auto", "auto"),
    ([60, 90, 9], {"c0": 75, "c2": 31}, {0: 75, 2: 31}),
]


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize("features", [3, 20])  # a tree and brute force
@pytest.mark.parametrize(("counts", "ratio", "theirs"), PARITY)
def test_same_rows_as_imbalanced_learn(counts: list[int], ratio: Any, theirs: Any, features: int, seed: int) -> None:
    from imblearn.over_sampling import SMOTE as Reference

    labels, points = blobs(counts, features)
    expected, expected_labels = Reference(sampling_strategy=theirs, random_state=seed).fit_resample(points, labels)
    plan = make(counts, ratio=ratio, parity="imblearn").resample(dense(labels, points), generator(seed, "resample"))
    np.testing.assert_allclose(materialise(plan, points), expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(labels[plan.rows], expected_labels)


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize(("counts", "ratio", "theirs"), PARITY)
def test_same_rows_as_imbalanced_learn_on_sparse_data(counts: list[int], ratio: Any, theirs: Any, seed: int) -> None:
    from imblearn.over_sampling import SMOTE as Reference

    labels, matrix = texts(counts)
    expected, _ = Reference(sampling_strategy=theirs, random_state=seed).fit_resample(matrix, labels)
    plan = make(counts, sparse_features=True, ratio=ratio, parity="imblearn").resample(sparse(labels, matrix), generator(seed, "resample"))
    np.testing.assert_allclose(materialise(plan, matrix).toarray(), expected.toarray(), rtol=0, atol=1e-6)


# The last asks for few samples of a large class: searching for those bases only would break ties between neighbours in another way.
@pytest.mark.parametrize(("counts", "features", "ratio"), [([300, 60], 2, 1.0), ([300, 60], 18, 1.0), ([6000, 5000], 18, 0.87)])
def test_same_rows_as_imbalanced_learn_with_ties_and_duplicates(counts: list[int], features: int, ratio: float) -> None:
    from imblearn.over_sampling import SMOTE as Reference

    labels, points = blobs(counts, features)
    points = np.round(points)  # a coarse grid
    points[:, 6:] = 0
    points[np.flatnonzero(labels)[:9]] = 5  # more copies of one row than k
    expected, _ = Reference(sampling_strategy=ratio, random_state=3).fit_resample(points, labels)
    plan = make(counts, ratio=ratio, parity="imblearn").resample(dense(labels, points), generator(3, "resample"))
    np.testing.assert_allclose(materialise(plan, points), expected, rtol=0, atol=1e-5)


def test_parity_needs_a_seed_that_imbalanced_learn_takes() -> None:
    labels, points = blobs([9, 7], 2)
    with pytest.raises(ConfigError, match="below 4294967296"):
        make([9, 7], parity="imblearn").resample(dense(labels, points), generator(2**32, "resample"))


@pytest.mark.parametrize("ratio", ["auto", 0.4])  # more and fewer new samples than rows of the class
@pytest.mark.parametrize("form", ["dense", "tfidf"])
def test_mixtures_lie_between_nearest_neighbours_of_one_class(form: str, ratio: Any) -> None:
    counts = [90, 30, 35]
    labels, space = blobs(counts, 5) if form == "dense" else texts(counts)
    train = dense(labels, space) if form == "dense" else sparse(labels, space)
    plan = make(counts, ratio=ratio, k_neighbors=4).resample(train, np.random.default_rng(0))
    target = 90 if ratio == "auto" else 36
    assert np.bincount(labels[plan.rows]).tolist() == [90, target, target]
    points = np.asarray(space.todense() if sp.issparse(space) else space, dtype=np.float64)
    assert plan.partners is not None
    assert plan.mix is not None
    np.testing.assert_allclose(plan.mix.sum(axis=1), 1, atol=1e-6)
    assert plan.synthetic[: len(labels)].sum() == 0
    assert plan.synthetic[len(labels) :].all()
    for row, partner in zip(plan.rows[len(labels) :], plan.partners[len(labels) :], strict=True):
        own = np.flatnonzero(labels == labels[row])
        distances = np.linalg.norm(points[own] - points[row], axis=1)
        distances[own == row] = np.inf
        assert row != partner
        assert partner in own
        assert np.linalg.norm(points[partner] - points[row]) <= np.sort(distances)[3] + 1e-6


def test_every_row_is_a_base_equally_often() -> None:
    labels, points = blobs([100, 7], 3)
    plan = make([100, 7]).resample(dense(labels, points), np.random.default_rng(0))
    used = np.bincount(plan.rows[107:], minlength=107)[labels == 1]
    assert used.sum() == 93
    assert used.max() - used.min() <= 1


def test_classes_do_not_share_a_stream() -> None:
    labels, points = np.repeat([0, 1, 2], [50, 20, 20]), np.random.default_rng(0).normal(size=(90, 3))
    points[70:] = points[50:70]
    plan = make([50, 20, 20]).resample(dense(labels, points), np.random.default_rng(0))
    assert plan.mix is not None
    second, third = plan.mix[90:120, 1], plan.mix[120:, 1]
    assert not np.intersect1d(second, third).size
    assert 0.3 < second.mean() < 0.7


def test_tfidf_mixtures_have_unit_length_and_keep_their_direction() -> None:
    counts = [80, 20]
    labels, matrix = texts(counts)
    scaled = make(counts, sparse_features=True).resample(sparse(labels, matrix), np.random.default_rng(0))
    plain = make(counts).resample(sparse(labels, matrix), np.random.default_rng(0))
    np.testing.assert_array_equal(scaled.partners, plain.partners)
    unit, short = materialise(scaled, matrix).toarray(), materialise(plain, matrix).toarray()
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-5)
    lengths = np.linalg.norm(short, axis=1)
    assert lengths.min() < 0.95
    np.testing.assert_allclose(unit, short / lengths[:, None], atol=1e-5)


def test_empty_texts_mix_without_nan() -> None:
    labels, matrix = texts([30, 12])
    emptied = sp.diags((np.arange(42) % 3 > 0).astype(np.float32)) @ matrix
    emptied.eliminate_zeros()
    train = sparse(labels, sp.csr_matrix(emptied, dtype=np.float32))
    plan = make([30, 12], sparse_features=True).resample(train, np.random.default_rng(0))
    assert plan.mix is not None
    assert np.isfinite(plan.mix).all()
    lengths = np.linalg.norm(materialise(plan, emptied).toarray(), axis=1)
    assert lengths.max() <= 1 + 1e-5


@pytest.mark.parametrize("copies", [1, 3, 9])
def test_neighbours_against_all_distances(copies: int) -> None:
    points = np.repeat(np.random.default_rng(0).normal(size=(12, 4)), copies, axis=0)
    queries = np.array([0, 5, len(points) - 1])
    for space in (points, sp.csr_matrix(points)):
        found = neighbours(space, queries, 3)
        assert found.shape == (3, 3)
        for query, row in zip(queries, found, strict=True):
            distances = np.linalg.norm(points - points[query], axis=1)
            assert len(set(row)) == 3
            if copies <= 3:
                assert query not in row
            np.testing.assert_allclose(np.sort(distances[row]), np.sort(distances)[1:4], atol=1e-6)


def test_tiny_classes(caplog: pytest.LogCaptureFixture) -> None:
    counts = [20, 3, 1, 2]
    labels, points = blobs(counts, 3)
    with caplog.at_level(logging.WARNING):
        plan = make(counts).resample(dense(labels, points), np.random.default_rng(0))
    assert np.bincount(labels[plan.rows]).tolist() == [20] * 4
    assert [r.getMessage() for r in caplog.records] == [
        "smote: class 'c1' has 3 train rows, too few for k_neighbors=5; k=2 is used",
        "smote: class 'c2' has a single train row, which is repeated 19 times instead of mixed",
        "smote: class 'c3' has 2 train rows, too few for k_neighbors=5; k=1 is used",
    ]
    assert not plan.synthetic[labels[plan.rows] == 2].any()
    assert plan.synthetic.sum() == 17 + 18


def test_balanced_data_stays_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    labels, points = blobs([10, 10], 3)
    with caplog.at_level(logging.WARNING):
        plan = make([10, 10]).resample(dense(labels, points), np.random.default_rng(0))
    assert len(plan) == 20
    assert plan.partners is None
    assert "nothing is added" in caplog.text


@pytest.mark.parametrize(
    ("ratio", "message"),
    [
        ({"c9": 20}, "there is no class 'c9'; allowed: c0, c1, c2"),
        ({"c1": 4}, r"sampler\.ratio\.c1: cannot grow to 4 rows, since the class has 5 in train .* at least 5"),
        ({"c2": 4}, "the class has 0 in train"),
    ],
)
def test_ratio_that_cannot_be_met(ratio: dict[str, int], message: str) -> None:
    labels, points = blobs([30, 5, 0], 2)
    with pytest.raises(ConfigError, match=message):
        make([30, 5, 0], ratio=ratio).resample(dense(labels, points), np.random.default_rng(0))


def test_class_names_that_yaml_reads_as_numbers() -> None:
    labels, points = blobs([30, 8], 2)
    sampler = SMOTE("binary", ("0", "1"), ratio={1: 20})  # type: ignore[dict-item]
    assert np.bincount(labels[sampler.resample(dense(labels, points), np.random.default_rng(0)).rows]).tolist() == [30, 20]


def test_multilabel_names_the_way_out() -> None:
    with pytest.raises(ConfigError, match="sampler=balanced_batch"):
        SMOTE("multilabel", ("a", "b"))


def test_the_majority_is_not_copied() -> None:
    labels = np.zeros(100_000, np.int64)
    labels[:300] = 1
    points = np.zeros((len(labels), 200), np.float32)
    points[:300] = np.random.default_rng(0).normal(size=(300, 200))
    train, sampler = dense(labels, points), make([99_700, 300])
    sampler.resample(train, np.random.default_rng(0))  # imports
    tracemalloc.start()
    plan = sampler.resample(train, np.random.default_rng(0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(plan) == 199_400
    assert peak < points.nbytes / 4
