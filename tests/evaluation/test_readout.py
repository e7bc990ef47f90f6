"""Ledger, calibrator and rule in their order, other prevalences, and JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import logit

from recipes.evaluation import F1Threshold, FixedThreshold, NoCalibration, PlattScaling, Readout, probabilities
from recipes.evaluation.calibrators import Temperature
from recipes.priors import Declaration, Ledger

NAMES = ("no", "yes")
NATURAL = np.array([0.99, 0.01])


def balanced(**loss):
    return Ledger("binary", NATURAL, np.array([0.5, 0.5]), Declaration(**loss))


def test_the_default_reads_natural_probabilities_and_decides_as_trained():
    """A balanced sampler at a prevalence of 1 %: one half of the network is .01, and still the border of its decision."""
    raw = np.array([[0.0, -0.1], [0.0, 0.0], [0.0, 0.1]])
    readout = Readout(balanced())
    assert probabilities(readout.logits(raw), "binary")[1, 1] == pytest.approx(0.01)
    assert readout.decide(raw).tolist() == [0, 0, 1]
    half = FixedThreshold().fit(readout.logits(raw), np.array([0, 0, 1]), "binary", NAMES, None, np.random.default_rng(0))
    assert Readout(balanced(), rule=half).decide(raw).tolist() == [0, 0, 0]


def test_another_prevalence_comes_after_calibration_and_moves_both_kinds_of_decision():
    ledger = balanced()
    shift = ledger.deployed(0.2, NAMES)
    readout = Readout(ledger, Temperature(2.0))
    raw = np.array([[0.0, 1.0], [0.0, -1.0]])
    expected = ledger.natural(raw) / 2 + shift
    np.testing.assert_allclose(readout.logits(raw, shift), expected)
    moved = float(logit(0.2) - logit(0.01))
    raw = np.array([[0.0, -moved + 0.01], [0.0, -moved - 0.01]])
    assert readout.decide(raw).tolist() == [0, 0]
    assert readout.decide(raw, shift).tolist() == [1, 0]
    fixed = FixedThreshold().fit(raw, np.array([0, 1]), "binary", NAMES, None, np.random.default_rng(0))
    border = np.array([[0.0, float(logit(0.5) - logit(0.2) + 1e-6)], [0.0, float(logit(0.5) - logit(0.2) - 1e-6)]])
    assert Readout(ledger, rule=fixed).decide(border, shift).tolist() == [1, 0]
    assert Readout(ledger, rule=fixed).decide(border).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("task", "loss"),
    [
        ("binary", {"focus": 2.0}),
        ("binary", {"temper_C": np.array([10 / 3, 10 / 3])}),  # generalised cross-entropy of q = .7
        ("multiclass", {"focus": 2.0}),
        ("multiclass", {"link": "sigmoid"}),
        ("multilabel", {"focus": 2.0}),
    ],
    ids=["focal", "gce", "focal of three", "bce of three", "focal of labels"],
)
def test_at_another_prevalence_decisions_and_probabilities_agree_where_nothing_rebalanced(task, loss):
    """The loss bends the logits, and a prior is log-odds of the posterior: added to the logits as they are it would count too much."""
    natural, names = {
        "binary": (NATURAL, NAMES),
        "multiclass": (np.array([0.9, 0.09, 0.01]), ("a", "b", "c")),
        "multilabel": (np.array([0.01, 0.3]), ("a", "b")),
    }[task]
    ledger = Ledger(task, natural, natural, Declaration(**loss))
    readout, raw = Readout(ledger), np.random.default_rng(0).normal(size=(2000, len(names))) * 3
    for share in (0.05, 0.5, 0.95):
        shift = ledger.deployed({names[-1]: share}, names)
        served = probabilities(readout.logits(raw, shift), task)
        decided = readout.decide(raw, shift)
        np.testing.assert_array_equal(decided, served >= 0.5 if task == "multilabel" else served.argmax(axis=1))
        assert (decided != readout.decide(raw)).any()
    np.testing.assert_array_equal(readout.decide(raw, np.zeros(len(names))), readout.decide(raw))


def test_at_the_prevalence_of_training_divisors_by_class_leave_the_decision_to_the_raw_logits():
    ledger = Ledger("binary", NATURAL, NATURAL, Declaration(adjust_C=np.log(NATURAL), temper_C=np.array([1.0, 4.0])))
    raw = np.random.default_rng(0).normal(size=(200, 2)) * 3
    np.testing.assert_array_equal(Readout(ledger).decide(raw, np.zeros(2)), raw.argmax(axis=1))


def test_without_calibration_the_networks_probabilities_are_read():
    raw = np.array([[0.0, 0.3]], dtype=np.float32)
    readout = Readout(balanced(), NoCalibration().fit(raw, balanced(), np.array([1]), None, "binary"))
    np.testing.assert_array_equal(readout.logits(raw), raw.astype(np.float64))


def test_json_brings_back_the_same_logits_and_decisions():
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(3000, 2)) * 2
    targets = (rng.random(3000) < probabilities(raw, "binary")[:, 1]).astype(int)
    ledger = Ledger("binary", NATURAL, np.array([0.5, 0.5]), Declaration(focus=2.0), ("augmentation",))
    calibrator = PlattScaling().fit(raw, ledger, targets, None, "binary")
    rule = F1Threshold().fit(calibrator(raw, ledger), targets, "binary", NAMES, None, rng)
    readout = Readout(ledger, calibrator, rule)
    text = json.dumps(readout.as_dict(), allow_nan=False)
    again = Readout.from_dict(json.loads(text))
    np.testing.assert_array_equal(again.logits(raw), readout.logits(raw))
    np.testing.assert_array_equal(again.decide(raw), readout.decide(raw))
    assert again.describe() == readout.describe()
    assert again.describe().startswith("calibration platt: slope ")
    assert "\nthreshold f1: positive from p >= " in again.describe()
