"""From raw logits of validation to probabilities, decisions and prediction sets. N rows of validation, C classes or labels."""

from __future__ import annotations

import numpy as np

from recipes.cli.settings import Settings
from recipes.config import build
from recipes.data import Facts, Split
from recipes.evaluation import Calibration, Readout, Threshold, class_scores, probabilities
from recipes.evaluation.joint_fit import fit_readout
from recipes.priors import Ledger
from recipes.randomness import generator


def readout_parts(settings: Settings) -> tuple[Calibration, Threshold]:
    """Calibration and threshold as the settings have them."""
    trust = settings.top.trust
    calibration = build(Calibration, settings.group("calibration"), "calibration", trust=trust)
    return calibration, build(Threshold, settings.group("threshold"), "threshold", trust=trust)


def labels_of(val: Split | None, facts: Facts) -> np.ndarray:
    """Targets of validation, and no rows of them where there is none."""
    if val is not None:
        return val.labels()
    return np.zeros((0, facts.num_classes)) if facts.task == "multilabel" else np.zeros(0, np.int64)


def fitted(settings: Settings, facts: Facts, ledger: Ledger, val: Split | None, raw_NC: np.ndarray | None) -> Readout:
    """Both fitted on validation's raw logits; without validation what needs none of it."""
    raw_NC = np.zeros((0, facts.num_classes)) if raw_NC is None else raw_NC
    weights_N = None if val is None else val.given_weights
    rng = generator(settings.top.seed, "threshold")
    return fit_readout(*readout_parts(settings), ledger, raw_NC, labels_of(val, facts), facts.task, facts.class_names, weights_N, rng)


def conformal_scores(readout: Readout, val: Split | None, raw_NC: np.ndarray | None) -> dict[str, np.ndarray]:
    """What prediction sets need of validation, from its raw logits: one array a class, by its number; empty without validation."""
    if val is None or raw_NC is None:
        return {}
    task = readout.ledger.task
    found = class_scores(probabilities(readout.logits(raw_NC), task), val.labels(), task, val.given_weights)
    return {str(c): scores for c, scores in enumerate(found)}
