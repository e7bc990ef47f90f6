"""Calibration and decision from one validation split: in this order, and on different rows where there are enough. N rows, C classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from recipes.evaluation.calibrators import Closed, Raw
from recipes.evaluation.readout import Readout

if TYPE_CHECKING:
    from recipes.data.facts import Task
    from recipes.evaluation.calibrations import Calibration
    from recipes.evaluation.calibrators import Calibrator
    from recipes.evaluation.thresholds import Threshold
    from recipes.priors import Ledger

# A map fitted on rows flatters the scores of the same rows, and a threshold chosen there believes it. Half of these fits either well.
ENOUGH_FOR_TWO = 6000


def fit_readout(
    calibration: Calibration,
    threshold: Threshold,
    ledger: Ledger,
    raw_NC: np.ndarray,
    targets: np.ndarray,
    task: Task,
    class_names: Sequence[str],
    weights: np.ndarray | None,
    rng: np.random.Generator,
) -> Readout:
    """Calibrate validation's raw logits (N, C) on targets, (N,) classes or (N, C) of 0 and 1, and choose the decision on the result.

    From 6,000 rows on, a map that is fitted and a threshold that is chosen each see their half of the rows. N may be 0: then nothing is
    fitted, and what insists on rows raises ConfigError.
    """
    everything = np.arange(len(raw_NC))
    first, second = everything, everything
    if len(raw_NC) >= ENOUGH_FOR_TWO:
        mixed = rng.permutation(len(raw_NC))
        first, second = np.sort(mixed[::2]), np.sort(mixed[1::2])

    def calibrated(rows: np.ndarray) -> Calibrator:
        own = None if weights is None else weights[rows]
        return calibration.fit(raw_NC[rows], ledger, targets[rows], own, task, class_names)

    ledger = calibration.believed(ledger, raw_NC, targets, weights)
    calibrator = calibrated(first)
    if isinstance(calibrator, Closed | Raw):  # nothing was fitted, so no row is flattered
        second = everything
    elif len(first) < len(everything) and not threshold.chooses:  # nothing is chosen, so the map may see all rows
        calibrator = calibrated(everything)
    readout = Readout(ledger, calibrator)
    logits_NC = readout.logits(raw_NC[second])
    own = None if weights is None else weights[second]
    return Readout(ledger, calibrator, threshold.fit(logits_NC, targets[second], task, class_names, own, rng))
