"""Prediction sets hold the true class as often as they promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, softmax

from recipes.evaluation import always_in, class_scores, sets

SHARES = np.array([0.9, 0.08, 0.02])


def draw(rng, rows):
    targets = rng.choice(3, rows, p=SHARES)
    logits = rng.normal(size=(rows, 3)) + np.log(SHARES)
    logits[np.arange(rows), targets] += 1.0
    return softmax(2 * logits, axis=1), targets  # overconfident: the promise does not rest on the model


@pytest.mark.parametrize("alpha", [0.1, 0.2])
def test_each_class_is_covered_and_marginal_sets_fail_the_rare(alpha):
    rng = np.random.default_rng(0)
    covered = {"marginal": [], "class_conditional": []}
    for _ in range(60):
        scores = class_scores(*draw(rng, 1500), "multiclass")
        shares, targets = draw(rng, 3000)
        for kind, found in covered.items():
            hit = sets(shares, scores, alpha, kind)[np.arange(3000), targets]
            found.append([hit.mean(), *(hit[targets == c].mean() for c in range(3))])
    marginal, conditional = (np.mean(covered[kind], axis=0) for kind in ("marginal", "class_conditional"))
    assert marginal[0] == pytest.approx(1 - alpha, abs=0.01)
    assert marginal[3] < 1 - 2 * alpha
    assert (conditional[1:] > 1 - alpha - 0.01).all()
    # With n rows the promise is kept to 1 / (n + 1), the rarest class has about 30.
    assert (conditional[1:] < 1 - alpha + np.array([0.01, 0.02, 0.05])).all()


def test_labels_that_are_there_are_covered():
    rng = np.random.default_rng(1)
    rates = []
    for _ in range(40):
        logits = rng.normal(size=(2000, 2)) - np.array([1.0, 3.0])
        targets = rng.random(logits.shape) < expit(logits)
        scores = class_scores(expit(3 * logits[:1000]), targets[:1000].astype(float), "multilabel")
        found = sets(expit(3 * logits[1000:]), scores, 0.1)
        rates.append([found[targets[1000:, c], c].mean() for c in range(2)])
    assert np.mean(rates, axis=0) == pytest.approx([0.9, 0.9], abs=0.015)


def test_the_quantile_by_hand():
    """Nine rows at alpha .1: rank ceil(10 * .9) = 9, the largest; eight rows: rank 9 of 8, so the class is in every set."""
    shares = np.stack([np.linspace(0.1, 0.9, 9), 1 - np.linspace(0.1, 0.9, 9)], axis=1)
    nine = class_scores(shares, np.zeros(9, dtype=int), "binary")
    assert nine[0] == pytest.approx(1 - np.linspace(0.9, 0.1, 9))
    assert len(nine[1]) == 0
    found = sets(np.array([[0.11, 0.89], [0.09, 0.91]]), nine, 0.1)
    assert found.tolist() == [[True, True], [False, True]]
    eight = class_scores(shares[:8], np.zeros(8, dtype=int), "binary")
    assert sets(np.array([[0.0, 1.0]]), eight, 0.1).all()
    assert always_in(nine, 0.1, ("a", "b")) == "1 of 2 classes are in every set: alpha=0.1 needs 9 validation rows of a class; b (0)"
    assert always_in(nine[:1], 0.1, ("a",)) is None
    assert "needs 19 validation rows" in always_in(nine, 0.05, ("a", "b"))


def test_rows_without_weight_do_not_count():
    shares = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    scores = class_scores(shares, np.array([0, 0, 0]), "binary", np.array([1.0, 0.0, 2.0]))
    assert scores[0] == pytest.approx([0.1, 0.4])
