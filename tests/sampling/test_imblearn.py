"""Over-samplers against imbalanced-learn on the same matrix, and what they refuse."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp

from recipes.data import Features, Needs
from recipes.data.split import TrainSplit
from recipes.data.stores import BagStore, DenseStore, load_store
from recipes.data.tabular import TabularEncoder
from recipes.errors import ConfigError
from recipes.randomness import generator
from recipes.sampling import ADASYN, SMOTE, SMOTEN, SMOTENC, SVMSMOTE, BorderlineSMOTE, KMeansSMOTE, Plan, Sampler

COUNTS = [120, 30, 45]
NAMES = ("a", "b", "c")


def blobs(counts: list[int] = COUNTS, features: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    return labels, (rng.normal(size=(len(labels), features)) + 0.9 * labels[:, None]).astype(np.float32)


def dense(labels: np.ndarray, points: np.ndarray, weights: np.ndarray | None = None) -> TrainSplit:
    return TrainSplit("train", DenseStore(points, np.zeros((len(labels), 0), np.int64)), labels, weights)


def table(rows: int = 160, numbers: int = 3) -> tuple[np.ndarray, pl.DataFrame]:
    """Two category columns whose levels lean on the class, and some numbers."""
    rng = np.random.default_rng(1)
    labels = rng.permutation(np.repeat([0, 1, 2], [rows - 55, 25, 30]))
    columns: dict[str, Any] = {f"x{i}": rng.normal(size=rows) + 0.5 * labels for i in range(numbers)}
    columns["city"] = [f"t{value}" for value in (labels + rng.integers(0, 3, rows))]
    columns["kind"] = [f"k{value}" for value in rng.integers(0, 4, rows)]
    return labels, pl.DataFrame(columns)


def nominal(categorical: str, numbers: int = 3) -> TrainSplit:
    labels, frame = table(numbers=numbers)
    store = TabularEncoder.fit(frame, Features(categorical=categorical, category_min_count=1), Needs("dense"))[1]  # type: ignore[arg-type]
    settings, arrays = store.state()
    return TrainSplit("train", load_store(settings, arrays), labels)  # as the cache gives it back


def resample(sampler: Sampler, train: TrainSplit, seed: int = 3) -> Plan:
    return sampler.resample(train, generator(seed, "resample"))


def references() -> dict[str, tuple[Any, Callable[..., Any]]]:
    from imblearn import over_sampling as theirs

    return {
        "borderline-1": (BorderlineSMOTE("multiclass", NAMES), theirs.BorderlineSMOTE),
        "borderline-2": (
            BorderlineSMOTE("multiclass", NAMES, kind="borderline-2", m_neighbors=7),
            lambda **given: theirs.BorderlineSMOTE(kind="borderline-2", m_neighbors=7, **given),
        ),
        "svm": (
            SVMSMOTE("multiclass", NAMES, k_neighbors=4, out_step=0.3),
            lambda **given: theirs.SVMSMOTE(k_neighbors=4, out_step=0.3, **given),
        ),
        "adasyn": (ADASYN("multiclass", NAMES, k_neighbors=4), lambda **given: theirs.ADASYN(n_neighbors=4, **given)),
        "kmeans": (
            KMeansSMOTE("multiclass", NAMES, clusters=3, cluster_balance_threshold=0.1),
            lambda **given: theirs.KMeansSMOTE(kmeans_estimator=3, cluster_balance_threshold=0.1, **given),
        ),
    }


@pytest.mark.parametrize("seed", [0, 11])
@pytest.mark.parametrize("name", ["borderline-1", "borderline-2", "svm", "adasyn", "kmeans"])
def test_the_same_rows_as_imbalanced_learn(name: str, seed: int) -> None:
    ours, theirs = references()[name]
    labels, points = blobs()
    expected, whose = theirs(random_state=np.random.RandomState(seed)).fit_resample(points, labels)
    plan = resample(ours, dense(labels, points), seed)
    assert plan.made is not None
    np.testing.assert_array_equal(expected[: len(labels)], points)  # what is new stands after the train rows
    np.testing.assert_allclose(plan.made.features, expected[len(labels) :], atol=1e-6)
    np.testing.assert_array_equal(plan.labels(labels), whose)
    assert plan.rows.tolist() == list(range(len(whose)))
    assert plan.synthetic.tolist() == [row >= len(labels) for row in range(len(whose))]


def test_ratio_counts_for_more_than_two_classes() -> None:
    labels, points = blobs()
    plan = resample(BorderlineSMOTE("multiclass", NAMES, ratio=0.5), dense(labels, points))
    assert np.bincount(plan.labels(labels)).tolist() == [120, 60, 60]
    plan = resample(BorderlineSMOTE("multiclass", NAMES, ratio={"b": 99}), dense(labels, points))
    assert np.bincount(plan.labels(labels)).tolist() == [120, 99, 45]


def test_classes_do_not_share_a_stream() -> None:
    """imbalanced-learn with a number for a seed takes the same steps in each class."""
    points = np.random.default_rng(0).normal(size=(90, 3)).astype(np.float32)
    points[70:] = points[50:70]  # two classes that are the same
    labels = np.repeat([0, 1, 2], [50, 20, 20])
    plan = resample(ADASYN("multiclass", NAMES), dense(labels, points))
    assert plan.made is not None
    second, third = (plan.made.features[plan.made.labels == c] for c in (1, 2))
    assert not np.isin(second[:, 0], third[:, 0]).any()


@pytest.mark.parametrize("name", ["borderline-1", "svm", "adasyn"])
def test_small_classes_use_what_they_have(name: str, caplog: pytest.LogCaptureFixture) -> None:
    counts = [60, 4, 1]
    labels, points = blobs(counts, seed=4)
    points[labels == 1] *= 0.3  # among the others
    with caplog.at_level(logging.WARNING):
        plan = resample(references()[name][0], dense(labels, points))
    assert "class 'b' has 4 train rows, too few for k_neighbors=" in caplog.text
    assert "class 'c' has a single train row, which is repeated 59 times" in caplog.text
    found = plan.labels(labels)
    assert (found == 2).sum() == 60
    assert (plan.rows[found == 2] == np.flatnonzero(labels == 2)[0]).all()
    assert not plan.synthetic[found == 2].any()


def test_what_imbalanced_learn_cannot_do_names_the_class_and_a_way_out() -> None:
    labels = np.repeat([0, 1], [40, 8])
    points = np.random.default_rng(0).normal(size=(48, 2)).astype(np.float32)
    points[40:] += 100  # no other class near
    with pytest.raises(ConfigError, match=r"(?s)sampler=adasyn: .*'b' \(8 rows\): .*at most 7 .*sampler=smote"):
        resample(ADASYN("binary", ("a", "b")), dense(labels, points))
    labels, points = np.repeat([0, 1, 2], [60, 3, 5]), np.random.default_rng(0).normal(size=(68, 2)).astype(np.float32)
    with pytest.raises(ConfigError, match=r"(?s)sampler=kmeans_smote: .*samples of class '[bc]'.* at most \d .*sampler=smote"):
        resample(KMeansSMOTE("multiclass", NAMES), dense(labels, points))


def test_a_class_that_did_not_grow_is_told(caplog: pytest.LogCaptureFixture) -> None:
    labels = np.repeat([0, 1], [40, 12])
    points = np.random.default_rng(0).normal(size=(52, 2)).astype(np.float32)
    points[40:] += 100
    plan = resample(BorderlineSMOTE("binary", ("a", "b")), dense(labels, points))
    assert len(plan) == 52
    assert "borderline_smote: class 'b' grew by 0 of 28 rows" in caplog.text


def test_tfidf_rows_have_unit_length() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [60, 20])
    rows = sp.random(80, 30, density=0.2, random_state=0, format="csr", dtype=np.float32)
    rows = sp.csr_matrix(sp.diags(1 / np.maximum(sp.linalg.norm(rows, axis=1), 1e-9)) @ rows, dtype=np.float32)
    store = BagStore(rows.indices.astype(np.int32), np.diff(rows.indptr).astype(np.int64), 30, rows.data)
    plan = resample(ADASYN("binary", ("a", "b"), "text", True), TrainSplit("train", store, rng.permutation(labels)))
    assert plan.made is not None
    lengths = sp.linalg.norm(plan.made.features, axis=1)
    np.testing.assert_allclose(lengths[lengths > 0], 1, atol=1e-6)
    assert plan.made.features.dtype == np.float32
    assert (lengths > 0).sum() > 30


def every() -> list[type[Any]]:
    return [BorderlineSMOTE, SVMSMOTE, ADASYN, KMeansSMOTE, SMOTENC, SMOTEN]


@pytest.mark.parametrize("kind", every())
def test_token_ids_multilabel_and_weights_are_refused(kind: type[Any]) -> None:
    with pytest.raises(ConfigError, match="names and not magnitudes; use sampler=smote, which mixes embedded texts"):
        kind("binary", ("a", "b"), "text", False)
    with pytest.raises(ConfigError, match="multi-label; use sampler=balanced_batch"):
        kind("multilabel", ("a", "b"))
    labels, points = blobs([20, 10])
    with pytest.raises(ConfigError, match=rf"sampler={kind.option}: .*data\.weight.*sampler=random_over"):
        resample(kind("binary", ("a", "b")), dense(labels, points, np.ones(30, np.float32)))


def test_smote_refuses_row_weights() -> None:
    labels, points = blobs([20, 10])
    with pytest.raises(ConfigError, match=r"sampler=smote: .*data\.weight"):
        resample(SMOTE("binary", ("a", "b")), dense(labels, points, np.ones(30, np.float32)))


def codes(train: TrainSplit, columns: int = 2) -> np.ndarray:
    """The categories again, from the encoded columns: levels by descending count, so any one-to-one naming."""
    space, layout = np.asarray(train.space()), train.layout()
    assert len(layout.categories) == columns
    return np.stack([space[:, start:stop].argmax(1) for start, stop in layout.categories], axis=1)


@pytest.mark.parametrize("categorical", ["onehot", "embed"])
@pytest.mark.parametrize("parity", [None, "imblearn"])
def test_smote_turns_to_smote_nc(categorical: str, parity: Any, caplog: pytest.LogCaptureFixture) -> None:
    from imblearn.over_sampling import SMOTENC as Reference

    train = nominal(categorical)
    labels, numbers = train.labels(), np.asarray(train.space())[:, train.layout().numbers]
    state: Any = 3 if parity else np.random.RandomState(3)
    expected, whose = Reference([3, 4], random_state=state, k_neighbors=4).fit_resample(
        np.concatenate([numbers, codes(train)], axis=1, dtype=np.float32), labels
    )
    with caplog.at_level(logging.INFO):
        plan = resample(SMOTE("multiclass", NAMES, k_neighbors=4, parity=parity), train)
    assert "2 of the columns are categories, so rows are made by SMOTENC" in caplog.text
    assert plan.made is not None
    grown = train.with_made(plan.made.features, plan.made.levels, plan.made.labels)
    np.testing.assert_array_equal(grown.labels(), whose)
    batch = grown.batch(np.arange(len(labels), len(grown)))
    assert batch.features_BF is not None
    made = batch.features_BF.numpy()
    np.testing.assert_allclose(made[:, train.layout().numbers], expected[len(labels) :, :3], atol=1e-6)
    if categorical == "embed":
        assert batch.categories_BK is not None
        found = batch.categories_BK.numpy()
    else:
        blocks = [made[:, start:stop] for start, stop in train.layout().categories]
        assert all(np.isin(block, [0, 1]).all() and (block.sum(1) == 1).all() for block in blocks)
        found = np.stack([block.argmax(1) for block in blocks], axis=1)
    np.testing.assert_array_equal(found, expected[len(labels) :, 3:])


@pytest.mark.parametrize("categorical", ["onehot", "embed"])
def test_smote_turns_to_smoten_without_numbers(categorical: str) -> None:
    from imblearn.over_sampling import SMOTEN as Reference

    train = nominal(categorical, numbers=0)
    expected, whose = Reference(random_state=np.random.RandomState(3)).fit_resample(codes(train), train.labels())
    plan = resample(SMOTE("multiclass", NAMES), train)
    assert plan.made is not None
    grown = train.with_made(plan.made.features, plan.made.levels, plan.made.labels)
    np.testing.assert_array_equal(grown.labels(), whose)
    batch = grown.batch(np.arange(len(grown)))
    if categorical == "embed":
        assert batch.categories_BK is not None
        found = batch.categories_BK.numpy()
    else:
        assert batch.features_BF is not None
        found = np.stack([batch.features_BF.numpy()[:, start:stop].argmax(1) for start, stop in train.layout().categories], axis=1)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("categorical", ["onehot", "embed"])
def test_a_made_row_has_one_level_of_each_category(categorical: str) -> None:
    """Those of one of its two rows: borderline-1 mixes within a class, so no level that the class lacks appears."""
    train = nominal(categorical)
    labels = train.labels()
    plan = resample(BorderlineSMOTE("multiclass", NAMES), train)
    assert plan.made is not None
    grown = train.with_made(plan.made.features, plan.made.levels, plan.made.labels)
    batch, old = grown.batch(np.arange(len(labels), len(grown))), codes(train)
    assert batch.features_BF is not None
    blocks = train.layout().categories
    if categorical == "embed":
        assert batch.categories_BK is not None
        found = batch.categories_BK.numpy()
    else:
        made = batch.features_BF.numpy()
        assert all((np.sort(made[:, a:b], axis=1)[:, :-1] == 0).all() and (made[:, a:b].max(1) == 1).all() for a, b in blocks)
        found = np.stack([made[:, a:b].argmax(1) for a, b in blocks], axis=1)
    for c in (1, 2):
        for column in range(2):
            assert set(found[plan.made.labels == c, column]) <= set(old[labels == c, column])


def test_forced_variants_name_the_right_one() -> None:
    labels, points = blobs()
    for kind in (SMOTENC, SMOTEN):
        with pytest.raises(ConfigError, match=r"use sampler=smote$"):
            resample(kind("multiclass", NAMES), dense(labels, points))
    with pytest.raises(ConfigError, match="use sampler=smotenc"):
        resample(SMOTEN("multiclass", NAMES), nominal("onehot"))
    with pytest.raises(ConfigError, match="use sampler=smoten"):
        resample(SMOTENC("multiclass", NAMES), nominal("embed", numbers=0))


def test_a_seed_that_the_old_generator_does_not_take() -> None:
    train = nominal("onehot")
    first, again, other = (resample(SMOTE("multiclass", NAMES), train, seed) for seed in (2**32 + 5, 2**32 + 5, 2**33 + 5))
    assert first.made is not None
    assert again.made is not None
    assert other.made is not None
    np.testing.assert_array_equal(first.made.features, again.made.features)
    assert not np.array_equal(first.made.features, other.made.features)
