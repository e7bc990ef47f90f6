"""Which rows calibration sees, and which the threshold: halves where there are enough, all where nothing is flattered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recipes.errors import ConfigError
from recipes.evaluation import (
    AutoCalibration,
    Calibration,
    F1Threshold,
    FixedThreshold,
    NoCalibration,
    NoThreshold,
    PlattScaling,
    PriorCorrection,
    Readout,
    Rule,
    Threshold,
)
from recipes.evaluation.calibrators import Calibrator, Platt, Temperature
from recipes.evaluation.joint_fit import fit_readout
from recipes.priors import Declaration, Ledger

NAMES = ("no", "yes")
LEDGER = Ledger("binary", np.array([0.75, 0.25]), np.array([0.5, 0.5]), Declaration())


def targets_of(rows: np.ndarray) -> np.ndarray:
    """A function of the row's number, so that the order can be told."""
    return (rows % 4 == 0).astype(np.int64)


class Warm(Calibration):
    """Divides by two, and remembers which rows it was fitted on: the first logit of a row is its number."""

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    def fit(self, raw_NC, ledger, targets, weights, task, class_names=()) -> Calibrator:  # type: ignore[no-untyped-def]
        rows = raw_NC[:, 0].astype(int)
        np.testing.assert_array_equal(targets, targets_of(rows))
        np.testing.assert_array_equal(weights, rows + 1.0)
        self.seen.append(rows)
        return Temperature(2.0)


class Chosen(Threshold):
    """Remembers what it was given."""

    chooses = True

    def fit(self, natural_logits_NC, targets, task, class_names, weights, rng) -> Rule:  # type: ignore[no-untyped-def]
        self.rows = weights.astype(int) - 1
        self.logits_NC = natural_logits_NC
        np.testing.assert_array_equal(targets, targets_of(self.rows))
        return Rule("chosen")


class Told(Chosen):
    chooses = False


def fitted(calibration: Calibration, threshold: Threshold, count: int, seed: int = 0) -> Readout:
    rows = np.arange(count)
    raw_NC = np.stack([rows, np.zeros(count)], axis=1).astype(np.float64)
    return fit_readout(calibration, threshold, LEDGER, raw_NC, targets_of(rows), "binary", NAMES, rows + 1.0, np.random.default_rng(seed))


def test_from_6000_rows_on_each_sees_a_half_of_its_own() -> None:
    calibration, threshold = Warm(), Chosen()
    readout = fitted(calibration, threshold, 6000)
    (first,), second = calibration.seen, threshold.rows
    assert (len(first), len(second)) == (3000, 3000)
    np.testing.assert_array_equal(np.sort(np.concatenate([first, second])), np.arange(6000))
    assert 0.4 < (first < 3000).mean() < 0.6, "halves at random, and not the first and the second"
    raw_NC = np.stack([second, np.zeros(3000)], axis=1)
    np.testing.assert_array_equal(threshold.logits_NC, LEDGER.natural(raw_NC) / 2, "the threshold reads what was calibrated")
    assert readout.rule.name == "chosen"
    assert isinstance(readout.calibrator, Temperature)


def test_an_odd_row_more_is_in_one_half() -> None:
    calibration, threshold = Warm(), Chosen()
    fitted(calibration, threshold, 6001)
    np.testing.assert_array_equal(np.sort(np.concatenate([*calibration.seen, threshold.rows])), np.arange(6001))


def test_fewer_rows_are_all_seen_by_both() -> None:
    calibration, threshold = Warm(), Chosen()
    fitted(calibration, threshold, 5999)
    np.testing.assert_array_equal(calibration.seen[-1], np.arange(5999))
    np.testing.assert_array_equal(threshold.rows, np.arange(5999))


@pytest.mark.parametrize("calibration", [PriorCorrection(), NoCalibration()])
def test_where_nothing_is_fitted_the_threshold_sees_all_rows(calibration: Calibration) -> None:
    threshold = Chosen()
    fitted(calibration, threshold, 8000)
    np.testing.assert_array_equal(threshold.rows, np.arange(8000))


def test_where_nothing_is_chosen_calibration_sees_all_rows() -> None:
    calibration = Warm()
    fitted(calibration, Told(), 8000)
    np.testing.assert_array_equal(calibration.seen[-1], np.arange(8000))


def test_the_halves_come_from_the_generator_alone() -> None:
    seen = []
    for seed in (0, 0, 1):
        calibration = Warm()
        fitted(calibration, Chosen(), 6000, seed)
        seen.append(calibration.seen[-1])
    np.testing.assert_array_equal(seen[0], seen[1])
    assert not np.array_equal(seen[0], seen[2])


def made(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are twice too large, and targets drawn from the right ones."""
    rng = np.random.default_rng(0)
    odds_N = rng.normal(-1, 1.5, count)
    targets_N = (rng.random(count) < 1 / (1 + np.exp(-odds_N))).astype(np.int64)
    return np.stack([np.zeros(count), 2 * odds_N], axis=1), targets_N


def test_real_fits_are_those_of_their_halves() -> None:
    """Platt's map and the F1 cut, each made again from the rows that it must have seen."""
    raw_NC, targets_N = made(6000)
    plain = Ledger("binary", np.array([0.7, 0.3]), np.array([0.7, 0.3]))
    readout = fit_readout(PlattScaling(), F1Threshold(), plain, raw_NC, targets_N, "binary", NAMES, None, np.random.default_rng(5))
    order = np.random.default_rng(5).permutation(6000)
    first, second = np.sort(order[::2]), np.sort(order[1::2])
    expected = PlattScaling().fit(raw_NC[first], plain, targets_N[first], None, "binary")
    assert isinstance(readout.calibrator, Platt)
    assert readout.calibrator.slope_M[0] == expected.slope_M[0] == pytest.approx(0.5, rel=0.1)
    chances_N = 1 / (1 + np.exp(-np.diff(expected(raw_NC[second], plain), axis=1)[:, 0]))
    f1 = {}
    for cut in np.linspace(0.05, 0.95, 181):
        decided = chances_N >= cut
        f1[cut] = 2 * (decided & (targets_N[second] == 1)).sum() / (decided.sum() + targets_N[second].sum())
    (found,) = readout.rule.thresholds("binary")
    assert readout.rule.value >= max(f1.values()) - 1e-12, "no cut of a grid on this half is better"
    decided = chances_N >= found
    assert readout.rule.value == pytest.approx(2 * (decided & (targets_N[second] == 1)).sum() / (decided.sum() + targets_N[second].sum()))


EMPTY: dict[str, Any] = {"binary": np.zeros(0, np.int64), "multilabel": np.zeros((0, 2))}


@pytest.mark.parametrize("task", EMPTY)
def test_without_validation_nothing_is_fitted(task: Any) -> None:
    """The closed form needs no rows, and a threshold that is given needs none either."""
    ledger = Ledger(task, np.array([0.75, 0.25]), np.array([0.5, 0.5]))
    rng, empty = np.random.default_rng(0), EMPTY[task]
    for threshold in (NoThreshold(), FixedThreshold(value=0.3) if task == "binary" else NoThreshold()):
        readout = fit_readout(AutoCalibration(), threshold, ledger, np.zeros((0, 2)), empty, task, NAMES, None, rng)
        np.testing.assert_array_equal(readout.logits(np.array([[0.5, -1.0]])), ledger.natural(np.array([[0.5, -1.0]])))
    with pytest.raises(ConfigError, match="calibration"):
        fit_readout(PlattScaling(), NoThreshold(), ledger, np.zeros((0, 2)), empty, task, NAMES, None, rng)


@pytest.mark.parametrize(("sharpness", "inverted"), [(1.0, True), (3.0, False)])
def test_a_focal_loss_is_inverted_where_validation_gains_by_it(sharpness: float, inverted: bool) -> None:
    """At the optimum of a focal loss the closed form is right; an overfitted network's logits are larger than that, and it is not."""
    rng = np.random.default_rng(0)
    true = rng.uniform(0.05, 0.95, 4000)
    labels = (rng.random(4000) < true).astype(np.int64)
    shares = np.array([0.5, 0.5])
    ledger = Ledger("binary", shares, shares, Declaration(focus=2.0))
    # The minimiser of the focal loss: found by inverting the inverse on a grid.
    grid = np.linspace(-6, 6, 4001)
    unbent = ledger.natural(np.stack([np.zeros_like(grid), grid], axis=1))
    optimum = np.interp(np.log(true / (1 - true)), unbent[:, 1] - unbent[:, 0], grid)
    raw = np.stack([np.zeros(4000), sharpness * optimum], axis=1)
    found = fit_readout(AutoCalibration(), NoThreshold(), ledger, raw, labels, "binary", ("no", "yes"), None, rng)
    assert (found.ledger.loss.focus > 0) is inverted
    np.testing.assert_array_equal(found.decide(raw), raw.argmax(axis=1))
    few = fit_readout(AutoCalibration(), NoThreshold(), ledger, raw[:100], labels[:100], "binary", ("no", "yes"), None, rng)
    assert few.ledger.loss.focus == 2.0  # too few rows to doubt the closed form by
