"""Curves against scikit-learn, exact where few points need no thinning, and on the curve where they do."""

from __future__ import annotations

import numpy as np
import pytest

from recipes.evaluation import curves, probabilities


def data(rows: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    targets = rng.choice(3, rows, p=[0.8, 0.15, 0.05])
    logits = rng.normal(size=(rows, 3))
    logits[np.arange(rows), targets] += 1.5
    return logits, targets


@pytest.mark.parametrize("weighted", [False, True])
def test_short_curves_are_those_of_scikit_learn(weighted):
    from sklearn.metrics import precision_recall_curve, roc_curve

    logits, targets = data(60)
    weights = np.random.default_rng(1).random(60) if weighted else None
    scores = probabilities(logits, "multiclass")
    for c, curve in enumerate(curves(logits, targets, "multiclass", ("a", "b", "c"), weights)):
        false_rate, true_rate, _ = roc_curve(targets == c, scores[:, c], sample_weight=weights, drop_intermediate=False)
        assert curve.false_rate_M == pytest.approx(false_rate, abs=1e-12)
        assert curve.true_rate_M == pytest.approx(true_rate, abs=1e-12)
        precision, recall, _ = precision_recall_curve(targets == c, scores[:, c], sample_weight=weights)
        points = {(round(r, 9), round(p, 9)) for r, p in zip(recall, precision, strict=True)}
        assert {(round(r, 9), round(p, 9)) for r, p in zip(curve.recall_L[1:], curve.precision_L[1:], strict=True)} <= points
        # The drawn steps enclose the average precision exactly.
        assert np.sum(np.diff(curve.recall_L) * curve.precision_L[1:]) == pytest.approx(curve.average_precision, abs=1e-12)


def test_long_curves_are_thinned_and_keep_their_ends_and_areas():
    logits, targets = data(20_000)
    for curve in curves(logits, targets, "multiclass", ("a", "b", "c"), points=200):
        assert len(curve.recall_L) <= 200
        assert len(curve.false_rate_M) <= 200
        assert (curve.recall_L[0], curve.recall_L[-1]) == (0, 1)
        assert (curve.false_rate_M[0], curve.true_rate_M[0], curve.false_rate_M[-1], curve.true_rate_M[-1]) == (0, 0, 1, 1)
        assert np.all(np.diff(curve.recall_L) > 0)
        heights = (curve.true_rate_M[1:] + curve.true_rate_M[:-1]) / 2
        assert np.sum(np.diff(curve.false_rate_M) * heights) == pytest.approx(curve.roc_auc, abs=2e-3)
        assert np.sum(np.diff(curve.recall_L) * curve.precision_L[1:]) == pytest.approx(curve.average_precision, abs=1e-2)
        assert curve.support == np.sum(targets == "abc".index(curve.name))


def test_which_classes_have_a_curve():
    logits, targets = data(200)
    assert [curve.name for curve in curves(logits[:, :2], targets % 2, "binary", ("no", "yes"))] == ["yes"]
    targets[targets == 1] = 0
    assert [curve.name for curve in curves(logits, targets, "multiclass", ("a", "b", "c"))] == ["a", "c"]
    assert [curve.name for curve in curves(logits, targets, "multiclass", ("a", "b", "c"), classes=[2])] == ["c"]
    labels = np.stack([targets == 0, np.ones(200), np.zeros(200)], axis=1).astype(np.float32)
    assert [curve.name for curve in curves(logits, labels, "multilabel", ("x", "all", "none"))] == ["x"]
    assert curves(np.full((200, 3), np.nan), targets, "multiclass", ("a", "b", "c")) == []
