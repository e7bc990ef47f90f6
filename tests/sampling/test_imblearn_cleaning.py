"""Samplers that leave rows out, and SMOTE followed by them, against imbalanced-learn."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from recipes.data.split import TrainSplit
from recipes.data.stores import BagStore, DenseStore, SequenceStore
from recipes.errors import ConfigError
from recipes.randomness import generator
from recipes.sampling import ENN, SMOTE, SMOTEENN, NearMiss, Plan, Sampler, SMOTETomek, TomekLinks

COUNTS = [90, 25, 40]
NAMES = ("a", "b", "c")


def blobs(counts: list[int] = COUNTS, features: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    return labels, (rng.normal(size=(len(labels), features)) + 0.8 * labels[:, None]).astype(np.float32)


def dense(labels: np.ndarray, points: np.ndarray, weights: np.ndarray | None = None) -> TrainSplit:
    return TrainSplit("train", DenseStore(points, np.zeros((len(labels), 0), np.int64)), labels, weights)


def tfidf(labels: np.ndarray, seed: int = 0) -> tuple[TrainSplit, sp.csr_matrix]:
    rng = np.random.default_rng(seed)
    rows = np.where(rng.random((len(labels), 12)) < 0.4, rng.random((len(labels), 12)), 0) + 0.7 * np.eye(12)[labels]
    matrix = sp.csr_matrix(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)
    store = BagStore(matrix.indices.astype(np.int32), np.diff(matrix.indptr).astype(np.int64), 12, matrix.data)
    return TrainSplit("train", store, labels), matrix


def resample(sampler: Sampler, train: TrainSplit, seed: int = 3) -> Plan:
    return sampler.resample(train, generator(seed, "resample"))


def cases() -> list[tuple[str, Any, Any]]:
    from imblearn import under_sampling as theirs

    return [
        ("tomek", TomekLinks("multiclass", NAMES), theirs.TomekLinks()),
        ("tomek all", TomekLinks("multiclass", NAMES, classes="all"), theirs.TomekLinks(sampling_strategy="all")),
        ("tomek majority", TomekLinks("multiclass", NAMES, classes="majority"), theirs.TomekLinks(sampling_strategy="majority")),
        ("enn", ENN("multiclass", NAMES), theirs.EditedNearestNeighbours()),
        (
            "enn mode",
            ENN("multiclass", NAMES, n_neighbors=5, kind="mode", classes="all"),
            theirs.EditedNearestNeighbours(n_neighbors=5, kind_sel="mode", sampling_strategy="all"),
        ),
        *(
            (f"nearmiss {version}", NearMiss("multiclass", NAMES, version=version), theirs.NearMiss(version=version))  # type: ignore[arg-type]
            for version in (1, 2, 3)
        ),
        (
            "nearmiss of some",
            NearMiss("multiclass", NAMES, n_neighbors=4, ratio={"a": 33}),
            theirs.NearMiss(n_neighbors=4, sampling_strategy={0: 33}),
        ),
        ("nearmiss half", NearMiss("multiclass", NAMES, ratio=0.5), theirs.NearMiss(sampling_strategy={0: 50})),
    ]


@pytest.mark.parametrize("form", ["dense", "tfidf"])
@pytest.mark.parametrize("which", range(10))
def test_the_same_rows_as_imbalanced_learn(which: int, form: str) -> None:
    _, ours, theirs = cases()[which]
    labels, points = blobs()
    train, space = (dense(labels, points), points) if form == "dense" else tfidf(labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs.fit_resample(space, labels)
    plan = resample(ours, train)
    assert 0 < len(plan) < len(labels)
    assert plan.rows.tolist() == sorted(theirs.sample_indices_)
    assert plan.made is None
    assert plan.partners is None


def test_rows_keep_their_weights() -> None:
    labels, points = blobs()
    weights = np.random.default_rng(0).random(len(labels)).astype(np.float32)
    train = dense(labels, points, weights)
    plan = resample(TomekLinks("multiclass", NAMES), train)
    np.testing.assert_array_equal(train.batch(plan.rows).weights.numpy(), weights[plan.rows])


def test_texts_of_token_models_are_cleaned_in_tfidf_space() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [60, 20])
    words = [rng.choice(np.arange(2, 30), 6, p=None) + 5 * label for label in labels]
    store = SequenceStore(np.append(np.concatenate(words), 0).astype(np.int32), np.full(80, 6), 40)
    train = TrainSplit("train", store, labels)
    plan = resample(NearMiss("binary", ("a", "b")), train)
    assert np.bincount(labels[plan.rows]).tolist() == [20, 20]
    plan = resample(SMOTETomek("binary", ("a", "b")), train)  # mixtures of embedded texts
    assert plan.made is None
    assert plan.synthetic.sum() > 20


@pytest.mark.parametrize("form", ["dense", "tfidf"])
@pytest.mark.parametrize("seed", [0, 5])
@pytest.mark.parametrize("which", ["enn", "enn mode", "tomek"])
def test_smote_then_cleaning_equals_imbalanced_learn(which: str, seed: int, form: str) -> None:
    from imblearn import combine, over_sampling, under_sampling

    labels, points = blobs(features=6)
    train, space = (dense(labels, points), points) if form == "dense" else tfidf(labels)
    smote = over_sampling.SMOTE(random_state=seed, k_neighbors=4)
    ours: Sampler
    if which == "tomek":
        theirs: Any = combine.SMOTETomek(random_state=seed, smote=smote)
        ours = SMOTETomek("multiclass", NAMES, k_neighbors=4, parity="imblearn")
    else:
        kind: Any = "mode" if which == "enn mode" else "all"
        enn = under_sampling.EditedNearestNeighbours(n_neighbors=4, kind_sel=kind, sampling_strategy="all")
        theirs = combine.SMOTEENN(random_state=seed, smote=smote, enn=enn)
        ours = SMOTEENN("multiclass", NAMES, k_neighbors=4, n_neighbors=4, kind=kind, parity="imblearn")
    expected, whose = theirs.fit_resample(space, labels)
    plan = resample(ours, train, seed)
    assert plan.partners is not None
    assert plan.mix is not None
    assert plan.synthetic.any()
    first, second = space[plan.rows], space[plan.partners]
    if form == "tfidf":
        found = (sp.diags(plan.mix[:, 0]) @ first + sp.diags(plan.mix[:, 1]) @ second).toarray()
        expected = expected.toarray()
    else:
        found = plan.mix[:, :1] * first + plan.mix[:, 1:] * second
    # Tomek links come out in order, edited neighbours class by class.
    order, theirs_order = np.lexsort((*found.round(5).T, plan.labels(labels))), np.lexsort((*expected.round(5).T, whose))
    np.testing.assert_array_equal(plan.labels(labels)[order], whose[theirs_order])
    np.testing.assert_allclose(found[order], expected[theirs_order], atol=1e-5)


@pytest.mark.parametrize("kind", [SMOTEENN, SMOTETomek])
def test_categories_are_made_and_cleaned(kind: type[Any]) -> None:
    """Of what SMOTE-NC made only the rows that stayed are in the plan, each still with its own label and levels."""
    rng = np.random.default_rng(0)
    labels, points = blobs([60, 20, 1])
    hot = np.eye(3, dtype=np.float32)[rng.integers(0, 3, len(labels))]
    store = DenseStore(np.concatenate([points, hot], axis=1), rng.integers(0, 4, (len(labels), 1)), (4,), ((3, 6),))
    train = TrainSplit("train", store, labels)
    before, plan = resample(SMOTE("multiclass", NAMES), train), resample(kind("multiclass", NAMES), train)
    assert before.made is not None
    assert plan.made is not None
    assert 0 < len(plan.made.labels) < len(before.made.labels)
    assert plan.rows[plan.synthetic].tolist() == list(range(len(labels), len(labels) + len(plan.made.labels)))
    all_made = {tuple(row) for row in np.column_stack([before.made.features, before.made.levels, before.made.labels]).round(5)}
    assert {tuple(row) for row in np.column_stack([plan.made.features, plan.made.levels, plan.made.labels]).round(5)} < all_made
    assert set(plan.labels(labels)) == {0, 1, 2}


def test_a_class_among_others_is_spared(caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [60, 6, 3])
    points = rng.normal(size=(69, 2)).astype(np.float32)
    with caplog.at_level(logging.WARNING):
        plan = resample(ENN("multiclass", NAMES), dense(labels, points))
    assert (labels[plan.rows] == 1).sum() == 6
    assert (labels[plan.rows] == 0).sum() < 60
    assert "enn: each row of 'b' (6 rows) stands among other classes; they are kept" in caplog.text


def test_too_many_neighbours_are_fewer(caplog: pytest.LogCaptureFixture) -> None:
    labels, points = blobs([20, 2])
    plan = resample(NearMiss("binary", ("a", "b"), version=2), dense(labels, points))
    assert np.bincount(labels[plan.rows]).tolist() == [2, 2]
    assert "the smallest class has 2 train rows, too few for n_neighbors=3; 2 is used" in caplog.text


def test_what_nearmiss_3_cannot_keep_is_told(caplog: pytest.LogCaptureFixture) -> None:
    labels, points = blobs([60, 12])
    points[labels == 1] = points[labels == 1][:1]  # all put the same rows forward
    plan = resample(NearMiss("binary", ("a", "b"), version=3), dense(labels, points))
    assert np.bincount(labels[plan.rows]).tolist() == [3, 12]
    assert "nearmiss: The number of the samples to be selected is larger" in caplog.text


@pytest.mark.parametrize("kind", [SMOTEENN, SMOTETomek, TomekLinks, ENN, NearMiss])
def test_multilabel_is_refused(kind: type[Any]) -> None:
    with pytest.raises(ConfigError, match="multi-label; use sampler=balanced_batch"):
        kind("multilabel", ("a", "b"))


@pytest.mark.parametrize("kind", [SMOTEENN, SMOTETomek])
def test_mixtures_have_no_weight(kind: type[Any]) -> None:
    labels, points = blobs([20, 10])
    with pytest.raises(ConfigError, match=rf"sampler={kind.option}: .*data\.weight"):
        resample(kind("binary", ("a", "b")), dense(labels, points, np.ones(30, np.float32)))


def test_ratio_asks_for_more_than_there_is() -> None:
    labels, points = blobs([20, 10])
    with pytest.raises(ConfigError, match=r"sampler\.ratio\.a: cannot keep 21 rows, .* 20 in train; .*at most 20"):
        resample(NearMiss("binary", ("a", "b"), ratio={"a": 21}), dense(labels, points))
