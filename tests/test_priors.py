"""The ledger: from what a network was made to fit, back to the natural probabilities. Discrete models make every optimum known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from recipes.errors import ConfigError
from recipes.priors import Declaration, Ledger

RNG = np.random.default_rng(0)
PI = np.array([0.9, 0.09, 0.01])
LIKELIHOOD = RNG.dirichlet(np.ones(6), size=3)  # p(x | y), (C, 6)


def posterior(prior_C: np.ndarray) -> np.ndarray:
    """(6, C) p(y | x) under a class prior."""
    joint = LIKELIHOOD[: len(prior_C)].T * prior_C
    return joint / joint.sum(axis=1, keepdims=True)


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def sigmoid(z: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-z)))


@pytest.mark.parametrize("q", [PI, np.ones(3) / 3, np.array([0.2, 0.5, 0.3])], ids=["natural", "balanced", "other"])
@pytest.mark.parametrize("w", [None, np.array([0.5, 2.0, 9.0])], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("a", [None, np.array([-0.1, -2.0, -4.6])], ids=["plain", "adjusted"])
def test_sampling_weights_and_adjustments_are_undone(q: np.ndarray, w: np.ndarray | None, a: np.ndarray | None) -> None:
    fitted = posterior(q * (1 if w is None else w))  # the optimum of the loss inside, up to a number a row
    f = np.log(fitted) - (0 if a is None else a) + RNG.normal(size=(6, 1))
    ledger = Ledger("multiclass", PI, q, Declaration(weights_C=w, adjust_C=a))
    np.testing.assert_allclose(softmax(ledger.natural(f)), posterior(PI), atol=1e-12)
    served = np.array([0.5, 0.3, 0.2])
    shift = ledger.deployed({"a": 0.5, "b": 0.3, "c": 0.2}, ("a", "b", "c"))
    np.testing.assert_allclose(softmax(ledger.natural(f) + shift), posterior(served), atol=1e-12)
    # What the network's own logits fit is the effective prior.
    np.testing.assert_allclose(softmax(f), posterior(ledger.effective_C), atol=1e-12)


def test_the_numbers_of_the_literature() -> None:
    # An undersampled 0.8 with one majority row in twenty kept (Dal Pozzolo et al. 2015): beta p / (beta p - p + 1).
    for kept, expected in ((0.05, 0.1666667), (0.1, 0.2857143)):
        natural = np.array([0.99, 0.01])
        sampled = np.array([0.99 * kept, 0.01]) / (0.99 * kept + 0.01)
        ledger = Ledger("binary", natural, sampled)
        assert softmax(ledger.natural(np.log([[0.2, 0.8]])))[0, 1] == pytest.approx(expected, abs=1e-7)
    # A balanced sampler and pos_weight = 99 say the same: 0.8 is 0.0388 at a prevalence of 1 %.
    balanced = Ledger("binary", np.array([0.99, 0.01]), np.array([0.5, 0.5]))
    weighted = Ledger("binary", np.array([0.99, 0.01]), np.array([0.99, 0.01]), Declaration(weights_C=np.array([1.0, 99.0])))
    for ledger in (balanced, weighted):
        assert softmax(ledger.natural(np.log([[0.2, 0.8]])))[0, 1] == pytest.approx(0.0388349515)
    # Both together count twice: 0.01 is shown as 0.99, and the ledger still knows the way back.
    both = Ledger("binary", np.array([0.99, 0.01]), np.array([0.5, 0.5]), Declaration(weights_C=np.array([1.0, 99.0])))
    assert both.effective_C[1] == pytest.approx(0.99)
    assert softmax(both.natural(np.log([[0.01, 0.99]])))[0, 1] == pytest.approx(0.01)


@pytest.mark.parametrize(("gamma", "true", "minimiser"), [(1, 0.1, 0.2256), (2, 0.01, 0.1536), (2, 0.2, 0.3734), (5, 0.9, 0.5976)])
@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_focal_probabilities_are_unbent(gamma: float, true: float, minimiser: float, task: str) -> None:
    declared = Declaration(focus=gamma)
    z = np.log(minimiser / (1 - minimiser))
    if task == "binary":
        found = softmax(Ledger("binary", np.array([0.5, 0.5]), np.array([0.5, 0.5]), declared).natural(np.array([[0.0, z]])))[0, 1]
    else:
        found = sigmoid(Ledger("multilabel", np.array([0.5]), np.array([0.5]), declared).natural(np.array([[z]])))[0, 0]
    assert found == pytest.approx(true, abs=5e-4)  # the minimisers are given in four digits


def test_unbending_stays_finite_and_in_order() -> None:
    z = np.concatenate([-(10.0 ** np.arange(4, -3, -1)), [0], 10.0 ** np.arange(-2, 5)])
    for gamma in (0.5, 2.0, 5.0):
        two = Ledger("binary", np.array([0.5, 0.5]), np.array([0.5, 0.5]), Declaration(focus=gamma))
        natural = two.natural(np.stack([np.zeros_like(z), z], axis=1))
        margin = natural[:, 1] - natural[:, 0]
        assert np.isfinite(margin).all()
        assert (np.diff(margin) > 0).all()
        np.testing.assert_allclose(margin, -margin[::-1], atol=1e-9)


def test_one_against_the_rest() -> None:
    q, v = np.array([0.4, 0.4, 0.2]), np.array([1.0, 3.0, 10.0])
    odds = posterior(q) / (1 - posterior(q)) * v  # the optimum of weighted sigmoids
    ledger = Ledger("multiclass", PI, q, Declaration(weights_C=v, link="sigmoid"))
    np.testing.assert_allclose(softmax(ledger.natural(np.log(odds))), posterior(PI), atol=1e-12)


def test_labels_are_put_back_one_by_one() -> None:
    pi, q, v, a = np.array([0.3, 0.02]), np.array([0.5, 0.4]), np.array([1.0, 7.0]), np.array([0.0, -1.5])
    true = np.array([[0.2, 0.001], [0.9, 0.3]])
    odds = true / (1 - true) * (q / (1 - q)) / (pi / (1 - pi)) * v
    ledger = Ledger("multilabel", pi, q, Declaration(weights_C=v, adjust_C=a))
    np.testing.assert_allclose(sigmoid(ledger.natural(np.log(odds) - a)), true, atol=1e-12)


def test_nothing_is_touched_where_nothing_moved() -> None:
    ledger = Ledger("multiclass", PI, PI)
    f = RNG.normal(size=(4, 3))
    assert ledger.trivial
    assert ledger.exact
    np.testing.assert_array_equal(ledger.natural(f), f)
    assert not Ledger("multiclass", PI, np.ones(3) / 3).trivial
    assert not Ledger("multiclass", PI, PI, Declaration(focus=2.0)).trivial
    assert not Ledger("multiclass", PI, PI, approximate=("why",)).exact


def test_a_class_without_rows_leaves_the_others_right() -> None:
    ledger = Ledger("multiclass", np.array([0.9, 0.1, 0.0]), np.array([0.5, 0.5, 0.0]))
    assert np.isfinite(ledger.correction_C).all()
    assert softmax(ledger.natural(np.log([[0.5, 0.5, 1e-9]])))[0] == pytest.approx([0.9, 0.1, 0], abs=1e-6)


def test_a_class_that_was_never_seen_cannot_be_served() -> None:
    with pytest.raises(ConfigError, match="no rows of 'c'"):
        Ledger("multiclass", np.array([0.9, 0.1, 0.0]), np.array([0.9, 0.1, 0.0])).deployed({"c": 0.1}, ("a", "b", "c"))


def test_it_survives_json() -> None:
    declared = Declaration(np.array([1.0, 2.0, 3.0]), np.array([0.0, -1.0, -2.0]), np.array([1.0, 1.5, 2.0]), focus=2.0, approximate="why")
    ledger = Ledger("multiclass", PI, np.ones(3) / 3, declared, ("first", "second"))
    again = Ledger.from_dict(json.loads(json.dumps(ledger.as_dict())))
    f = RNG.normal(size=(5, 3))
    np.testing.assert_array_equal(again.natural(f), ledger.natural(f))
    assert again.approximate == ledger.approximate
    assert again.as_dict() == ledger.as_dict()


def test_prevalences_to_serve() -> None:
    two = Ledger("binary", np.array([0.9, 0.1]), np.array([0.5, 0.5]))
    np.testing.assert_allclose(two.deployed(0.02, ("no", "yes")), np.log([0.98 / 0.9, 0.02 / 0.1]))
    np.testing.assert_allclose(two.deployed({"no": 0.98}, ("no", "yes")), two.deployed(0.02, ("no", "yes")))
    three = Ledger("multiclass", PI, PI)
    left = np.exp(three.deployed({"c": 0.5}, ("a", "b", "c"))) * PI
    np.testing.assert_allclose(left, [0.5 * 0.9 / 0.99, 0.5 * 0.09 / 0.99, 0.5])  # the others keep their proportions


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        (0.1, "name:share"),
        ({"d": 0.1}, "there is no class 'd'"),
        ({"a": 0.0}, "between 0 and 1"),
        ({"a": 1.5}, "between 0 and 1"),
        ({"a": 0.5, "b": 0.2, "c": 0.2}, "add up to 0.9"),
        ({"a": 0.7, "b": 0.5}, "add up to 1.2"),
    ],
)
def test_prevalences_that_cannot_be(prior: float | dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Ledger("multiclass", PI, PI).deployed(prior, ("a", "b", "c"))
