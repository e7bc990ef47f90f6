"""What is fitted is what scikit-learn fits, or what the rows were made with."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from scipy.special import expit, logit, softmax

from recipes.errors import ConfigError
from recipes.evaluation import (
    AutoCalibration,
    BetaCalibration,
    Calibrator,
    FocalInverse,
    IsotonicCalibration,
    NoCalibration,
    PlattScaling,
    PriorCorrection,
    TemperatureScaling,
    VectorScaling,
    calibration_summary,
    probabilities,
)
from recipes.evaluation.decisions import from_margins, margins
from recipes.priors import Declaration, Ledger

TASKS = ("binary", "multiclass", "multilabel")
RNG = np.random.default_rng(0)
SHARES = {"binary": [0.9, 0.1], "multiclass": [0.6, 0.3, 0.1], "multilabel": [0.5, 0.2, 0.05]}


def ledger(task, approximate=(), **loss):
    shares = np.array(SHARES[task])
    return Ledger(task, shares, shares, Declaration(**loss), approximate)


def rows(task, count=4000, seed=0):
    """True logits and targets drawn from them."""
    rng = np.random.default_rng([seed, TASKS.index(task)])
    true = rng.normal(size=(count, len(SHARES[task]))) * 1.5
    if task == "multilabel":
        true += logit(SHARES[task])
        return true, (rng.random(true.shape) < expit(true)).astype(np.float32)
    true += np.log(SHARES[task])
    return true, (rng.random((count, 1)) > softmax(true, axis=1).cumsum(axis=1)).sum(axis=1)


@pytest.mark.parametrize("task", TASKS)
def test_temperature_finds_the_factor_of_the_logits(task):
    true, targets = rows(task, 40_000)
    found = TemperatureScaling().fit(3.0 * true, ledger(task), targets, None, task)
    assert found.temperature == pytest.approx(3.0, rel=0.05)
    np.testing.assert_allclose(found(3.0 * true, ledger(task)), 3.0 * true / found.temperature)


@pytest.mark.parametrize("task", TASKS)
def test_temperature_is_positive_even_for_logits_that_point_the_wrong_way(task):
    """A public implementation fits T itself, without a bound: there it goes below zero and turns the order of the classes round."""
    true, targets = rows(task)
    found = TemperatureScaling(l2=0.0).fit(-2 * true, ledger(task), targets, None, task)
    assert found.temperature == pytest.approx(20, rel=1e-3)


def test_temperature_equals_a_fine_grid():
    true, targets = rows("multiclass")
    found = TemperatureScaling(l2=0.0).fit(2 * true, ledger("multiclass"), targets, None, "multiclass").temperature
    grid = np.exp(np.linspace(np.log(0.3), np.log(6), 2000))
    losses = [-np.log(softmax(2 * true / t, axis=1)[np.arange(len(targets)), targets]).mean() for t in grid]
    assert found == pytest.approx(grid[int(np.argmin(losses))], rel=2e-3)


@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_platt_equals_logistic_regression_on_the_log_odds(task):
    from sklearn.linear_model import LogisticRegression

    true, targets = rows(task)
    weights = np.random.default_rng(1).random(len(targets)) + 0.1
    found = PlattScaling(l2=0.0).fit(2 * true - 0.7, ledger(task), targets, weights, task)
    odds = margins(2 * true - 0.7, task)
    for m in range(odds.shape[1]):
        model = LogisticRegression(C=1e12, tol=1e-10, max_iter=1000)
        model.fit(odds[:, [m]], targets if task == "binary" else targets[:, m], sample_weight=weights)
        assert found.slope_M[m] == pytest.approx(float(model.coef_[0, 0]), rel=1e-4)
        assert found.bias_M[m] == pytest.approx(float(model.intercept_[0]), abs=1e-4)


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_binary_maps_are_those_of_calibrated_classifier(method):
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.calibration import CalibratedClassifierCV

    FrozenEstimator = pytest.importorskip("sklearn.frozen", reason="scikit-learn 1.6").FrozenEstimator

    class Scores(ClassifierMixin, BaseEstimator):
        def fit(self, X, y):
            self.classes_ = np.array([0, 1])
            return self

        def decision_function(self, X):
            return X[:, 0]

        def predict(self, X):
            return (X[:, 0] > 0).astype(int)

    true, targets = rows("binary")
    raw = 3 * true + [0.0, 1.0]
    odds = margins(raw, "binary")
    oracle = CalibratedClassifierCV(FrozenEstimator(Scores().fit(odds, targets)), method=method).fit(odds, targets)
    option = PlattScaling() if method == "sigmoid" else IsotonicCalibration()
    found = probabilities(option.fit(raw, ledger("binary"), targets, None, "binary")(raw, ledger("binary")), "binary")
    # Platt's smoothed targets against a pull to no change; isotonic apart from its clipped ends.
    np.testing.assert_allclose(found, oracle.predict_proba(odds), atol=4e-3 if method == "sigmoid" else 1 / 4002 + 1e-9)


def test_beta_equals_logistic_regression_on_both_logarithms():
    from sklearn.linear_model import LogisticRegression

    true, targets = rows("binary")
    raw = 0.5 * true + [0.0, 0.4]
    share = softmax(raw, axis=1)[:, 1]
    features = np.stack([np.log(share), -np.log1p(-share)], axis=1)
    model = LogisticRegression(C=1e12, tol=1e-12, max_iter=10_000).fit(features, targets)
    assert (model.coef_ > 0).all()  # else it is not the oracle
    found = BetaCalibration(l2=0.0).fit(raw, ledger("binary"), targets, None, "binary")(raw, ledger("binary"))
    np.testing.assert_allclose(probabilities(found, "binary")[:, 1], model.predict_proba(features)[:, 1], atol=1e-4)


def test_vector_mends_scales_and_biases_of_single_classes():
    from sklearn.linear_model import LogisticRegression

    true, targets = rows("multiclass", 20_000)
    raw = true + np.array([2.0, 0.0, -1.0])
    found = VectorScaling().fit(raw, ledger("multiclass"), targets, None, "multiclass")
    fitted = probabilities(found(raw, ledger("multiclass")), "multiclass")
    assert np.abs(fitted - softmax(true, axis=1)).mean() < 0.01
    # A full matrix contains the diagonal: it may be better, by no more than its further parameters fit by chance.
    full = LogisticRegression(C=1e6, max_iter=1000).fit(np.log(softmax(raw, axis=1)), targets)
    best = -full.predict_log_proba(np.log(softmax(raw, axis=1)))[np.arange(len(targets)), targets].mean()
    own = calibration_summary(found(raw, ledger("multiclass")), targets, "multiclass")["log_loss"]
    assert best - 1e-6 <= own <= best + 5e-4


def test_several_classes_against_the_rest_add_up_to_one_and_help():
    true, targets = rows("multiclass")
    raw = 3 * true + [1.0, 0.0, 0.0]
    before = calibration_summary(raw, targets, "multiclass")
    for option in (PlattScaling(), IsotonicCalibration(), BetaCalibration()):
        after = calibration_summary(
            option.fit(raw, ledger("multiclass"), targets, None, "multiclass")(raw, ledger("multiclass")), targets, "multiclass"
        )
        assert after["log_loss"] < 0.8 * before["log_loss"]
        assert after["ece"] < 0.5 * before["ece"]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("option", [TemperatureScaling(), VectorScaling(), PlattScaling(), BetaCalibration()])
@pytest.mark.parametrize("distortion", [1.0, 0.1, 30.0, -1.0])
def test_the_log_loss_of_validation_never_rises(task, option, distortion):
    true, targets = rows(task, 300)
    raw = distortion * true
    found = option.fit(raw, ledger(task), targets, None, task)(raw, ledger(task))
    if task == "multiclass" and isinstance(option, PlattScaling | BetaCalibration):
        for c in range(3):  # each class against the rest is fitted, before the shares are divided by their sum
            own = np.where(targets == c, found[:, c], np.log(-np.expm1(found[:, c])))
            start = -np.logaddexp(0.0, np.where(targets == c, -1, 1) * margins(raw, task)[:, c])
            assert own.mean() >= start.mean() - 1e-12
        return
    assert calibration_summary(found, targets, task)["log_loss"] <= calibration_summary(raw, targets, task)["log_loss"] + 1e-12


@pytest.mark.parametrize("option", [TemperatureScaling(), PlattScaling(), BetaCalibration(), VectorScaling()])
def test_separable_rows_give_finite_numbers_and_probabilities_inside(option):
    raw = np.array([[0.0, -2.0], [0.0, -1.0], [0.0, 1.0], [0.0, 2.0]] * 20)
    found = option.fit(raw, ledger("binary"), np.array([0, 0, 1, 1] * 20), None, "binary")(raw, ledger("binary"))
    share = probabilities(found, "binary")
    assert np.isfinite(found).all()
    assert ((share > 0) & (share < 1)).all()


def test_isotonic_never_says_never():
    true, targets = rows("binary", 1200)
    raw = 5 * true
    share = probabilities(IsotonicCalibration().fit(raw, ledger("binary"), targets, None, "binary")(raw, ledger("binary")), "binary")[:, 1]
    assert share.min() == pytest.approx(1 / 1202)
    order = np.argsort(margins(raw, "binary")[:, 0])
    assert (np.diff(share[order]) >= 0).all()


def test_isotonic_refuses_few_rows_and_says_how_to_insist():
    true, targets = rows("binary", 600)
    with pytest.raises(ConfigError, match=r"validation has 600 rows, and it overfits fewer than 1000; .*platt.*calibration\.min_rows=600"):
        IsotonicCalibration().check(ledger("binary"), targets, None, "binary")
    IsotonicCalibration(min_rows=600).fit(true, ledger("binary"), targets, None, "binary")


@pytest.mark.parametrize("option", [TemperatureScaling(), VectorScaling(), PlattScaling(), BetaCalibration(), IsotonicCalibration()])
@pytest.mark.parametrize("task", TASKS)
def test_one_side_only_is_refused_before_there_are_logits(option, task):
    targets = np.zeros((2000, 3)) if task == "multilabel" else np.zeros(2000, dtype=int)
    with pytest.raises(ConfigError, match=r"so there is nothing to fit; use calibration=prior"):
        option.check(ledger(task), targets, None, task)


def test_a_label_that_validation_lacks_keeps_the_closed_form_and_is_named(caplog):
    true, targets = rows("multilabel", 3000)
    targets[:, 1] = 0
    for option in (PlattScaling(), BetaCalibration(), VectorScaling(), IsotonicCalibration()):
        caplog.clear()
        found = option.fit(2 * true, ledger("multilabel"), targets, None, "multilabel", ("a", "b", "c"))(2 * true, ledger("multilabel"))
        np.testing.assert_allclose(found[:, 1], 2 * true[:, 1], rtol=1e-12)
        assert not np.allclose(found[:, 0], 2 * true[:, 0])
        assert "one side of 1 of 3 classes (b), which keep the closed form" in caplog.text


def test_the_fit_is_made_after_the_closed_form():
    """With the exact ledger of a balanced sampler nothing is left to fit, so the map is the identity."""
    true, targets = rows("binary", 40_000)
    shares = np.array(SHARES["binary"])
    balanced = Ledger("binary", shares, np.array([0.5, 0.5]))
    raw = true - np.log(shares) + np.log(0.5)
    found = PlattScaling().fit(raw, balanced, targets, None, "binary")
    assert found.slope_M[0] == pytest.approx(1.0, abs=0.05)
    assert found.bias_M[0] == pytest.approx(0.0, abs=0.05)
    shifted = PlattScaling().fit(raw, ledger("binary"), targets, None, "binary")
    assert shifted.bias_M[0] == pytest.approx(float(logit(0.1)), abs=0.1)


def test_prior_is_the_ledger_and_none_is_the_network():
    true, targets = rows("binary", 50)
    balanced = Ledger("binary", np.array(SHARES["binary"]), np.array([0.5, 0.5]))
    prior = PriorCorrection().fit(true, balanced, targets, None, "binary")(true, balanced)
    np.testing.assert_array_equal(prior, balanced.natural(true))
    np.testing.assert_array_equal(NoCalibration().fit(true, balanced, targets, None, "binary")(true, balanced), true)


def test_focal_inverse_recovers_the_posterior_and_needs_a_focal_loss():
    """The minimiser of focal loss with gamma 2 is .1536 where the posterior is .01, and .3734 where it is .2."""
    focal = ledger("binary", focus=2.0)
    minimiser = np.array([0.1536, 0.3734])
    raw = np.stack([np.zeros(2), logit(minimiser)], axis=1)
    found = FocalInverse().fit(raw, focal, np.array([0, 1]), None, "binary")(raw, focal)
    np.testing.assert_allclose(probabilities(found, "binary")[:, 1], [0.01, 0.2], rtol=1e-3)
    with pytest.raises(ConfigError, match="no focal factor; use calibration=auto"):
        FocalInverse().check(ledger("binary"), np.array([0, 1]), None, "binary")


@pytest.mark.parametrize("task", TASKS)
def test_auto_fits_only_where_the_closed_form_is_off_and_rows_suffice(task, caplog):
    true, targets = rows(task, 6000)
    raw = 2 * true - 0.5
    exact = AutoCalibration().fit(raw, ledger(task), targets, None, task)
    assert exact.kind == "prior"
    off = ledger(task, ("synthetic rows",))
    assert AutoCalibration().fit(raw, off, targets, None, task).kind == ("vector" if task == "multiclass" else "platt")
    assert not caplog.records
    few = AutoCalibration().fit(raw[:499], off, targets[:499], None, task)
    assert few.kind == "prior"
    assert "(synthetic rows), and nothing is fitted on validation, since it has 499 rows of calibration.min_rows=500" in caplog.text


def test_auto_counts_the_rarer_side(caplog):
    true, targets = rows("binary", 600)
    targets[:] = 0
    targets[:49] = 1
    off = ledger("binary", ("mining",))
    assert AutoCalibration().fit(true, off, targets, None, "binary").kind == "prior"
    assert "its rarer side has 49 rows of calibration.min_positives=50" in caplog.text
    assert "calibration=platt fits the few all the same" in caplog.text
    targets[49] = 1
    assert AutoCalibration().fit(true, off, targets, None, "binary").kind == "platt"
    labels = np.zeros((600, 3))
    labels[:100, 0], labels[:20, 1] = 1, 1
    several = AutoCalibration().fit(rows("multilabel", 600)[0], ledger("multilabel", ("mining",)), labels, None, "multilabel")
    assert several.slope_M[0] != 1
    assert several.slope_M[1:].tolist() == [1, 1]


@pytest.mark.parametrize("option", [AutoCalibration(), PlattScaling()])
def test_logits_that_are_not_numbers_leave_the_closed_form(option, caplog):
    true, targets = rows("binary", 4000)
    true[3, 1] = np.nan
    assert option.fit(true, ledger("binary", ("mining",)), targets, None, "binary").kind == "prior"
    assert "not finite" in caplog.text


def test_few_rows_are_told(caplog):
    true, targets = rows("binary", 420)
    with caplog.at_level(logging.WARNING):
        PlattScaling().fit(true, ledger("binary"), targets, None, "binary")
        TemperatureScaling().fit(true, ledger("binary", ("mining",)), targets, None, "binary")
    assert "calibration=platt: fitted on 420 validation rows; with fewer than 3000 (binary)" in caplog.text
    assert "temperature has no bias and cannot mend a prior that is off (mining); calibration=platt can" in caplog.text


@pytest.mark.parametrize("task", TASKS)
def test_margins_are_log_odds_without_lost_digits(task):
    raw = np.array([[0.3, -1.0, 2.0], [90.0, 0.0, -5.0], [0.0, 0.0, 60.0]])[:, : len(SHARES[task])]
    import mpmath  # a dependency of torch's sympy

    found = margins(raw, task)
    for n, row in enumerate(raw.tolist()):
        with mpmath.workdps(80):
            weights = [mpmath.exp(v) for v in row]
            odds = [w / (sum(weights) - w) for w in weights]
            expected = [float(mpmath.log(o)) for o in odds]
        expected = row if task == "multilabel" else expected[1:] if task == "binary" else expected
        np.testing.assert_allclose(found[n], expected, rtol=1e-12)
    np.testing.assert_allclose(probabilities(from_margins(found, task), task), probabilities(raw, task), atol=1e-12)


def test_json_brings_back_a_margin_without_knots():
    true, targets = rows("multilabel", 1000)
    targets[:, 2] = 0
    found = IsotonicCalibration().fit(true, ledger("multilabel"), targets, None, "multilabel")
    again = Calibrator.from_dict(json.loads(json.dumps(found.as_dict())))
    np.testing.assert_array_equal(again(true, ledger("multilabel")), found(true, ledger("multilabel")))
