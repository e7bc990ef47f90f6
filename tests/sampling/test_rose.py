"""ROSE against imbalanced-learn's smoothed bootstrap."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recipes.data.split import TrainSplit
from recipes.data.stores import DenseStore
from recipes.errors import ConfigError
from recipes.randomness import generator
from recipes.sampling import ROSE, rose
from recipes.sampling.rose import bandwidth

NAMES = ("a", "b", "c")


def blobs(counts: list[int], features: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    return labels, (rng.normal(size=(len(labels), features)) * [1, 5, 0.1, 1, 0][:features] + labels[:, None]).astype(np.float32)


def dense(labels: np.ndarray, points: np.ndarray, **given: Any) -> TrainSplit:
    return TrainSplit("train", DenseStore(points, given.pop("levels", np.zeros((len(labels), 0), np.int64)), **given), labels)


def test_bandwidth() -> None:
    assert bandwidth(1000, 20) == pytest.approx(0.6984761, abs=5e-8)
    assert bandwidth(100, 1) == pytest.approx((4 / 3 / 100) ** 0.2)


@pytest.mark.parametrize("shrinkage", [0.0, 1.0, 0.3])
@pytest.mark.parametrize(("ratio", "theirs"), [("auto", "auto"), ({"b": 40}, {1: 40}), (0.5, {1: 40, 2: 40})])
def test_the_same_rows_as_imbalanced_learn(shrinkage: float, ratio: Any, theirs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from imblearn.over_sampling import RandomOverSampler

    monkeypatch.setattr(rose, "_AT_ONCE", 35)  # several pieces of noise
    labels, points = blobs([80, 12, 20])
    reference = RandomOverSampler(sampling_strategy=theirs, random_state=np.random.RandomState(4), shrinkage=shrinkage)
    expected, whose = reference.fit_resample(points, labels)
    plan = ROSE("multiclass", NAMES, shrinkage=shrinkage, ratio=ratio).resample(dense(labels, points), generator(4, "resample"))
    assert plan.made is not None
    assert plan.made.features.dtype == np.float32
    np.testing.assert_allclose(plan.made.features, expected[len(labels) :], atol=1e-5)
    np.testing.assert_array_equal(plan.labels(labels), whose)
    assert plan.synthetic.sum() == len(whose) - len(labels)


@pytest.mark.parametrize("embedded", [True, False])
def test_categories_stay_those_of_the_row(embedded: bool) -> None:
    labels, points = blobs([50, 10], 3)
    codes = np.random.default_rng(1).integers(0, 3, len(labels))
    # A number that tells the row: a column without deviation within the class gets no noise.
    points[:, 2] = labels * 100
    points[:, 0] = codes
    points[:, 0] *= 1000
    if embedded:
        train = dense(labels, points, levels=codes[:, None], sizes=(3,))
    else:
        train = dense(labels, np.concatenate([points, np.eye(3, dtype=np.float32)[codes]], axis=1), one_hot=((3, 6),))
    plan = ROSE("binary", ("a", "b"), shrinkage=0.1).resample(train, generator(0, "resample"))
    assert plan.made is not None
    made = np.asarray(plan.made.features)
    kept = plan.made.levels[:, 0] if embedded else made[:, 3:].argmax(axis=1)
    np.testing.assert_array_equal(kept, np.rint(made[:, 0] / 1000))
    np.testing.assert_array_equal(made[:, 2], 100)
    assert len(np.unique(made[:, 1])) == 40
    if not embedded:
        assert np.isin(made[:, 3:], [0, 1]).all()
    # d counts the numbers alone.
    spread = points[labels == 1, 1].std()
    noise = np.abs(made[:, [1]] - points[labels == 1, 1]).min(axis=1)
    assert noise.max() < 5 * 0.1 * bandwidth(60, 3) * spread


def test_refusals() -> None:
    labels, points = blobs([20, 10])
    for modality, sparse, message in (("text", False, "names and not magnitudes"), ("text", True, "use sampler=smote for TF-IDF")):
        with pytest.raises(ConfigError, match=message):
            ROSE("binary", ("a", "b"), modality, sparse)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="multi-label"):
        ROSE("multilabel", ("a", "b"))
    hot = np.eye(2, dtype=np.float32)[labels]
    with pytest.raises(ConfigError, match="category columns only"):
        ROSE("binary", ("a", "b")).resample(dense(labels, hot, one_hot=((0, 2),)), generator(0, "resample"))
    weighted = TrainSplit("train", DenseStore(points, np.zeros((30, 0), np.int64)), labels, np.ones(30, np.float32))
    with pytest.raises(ConfigError, match=r"data\.weight"):
        ROSE("binary", ("a", "b")).resample(weighted, generator(0, "resample"))
