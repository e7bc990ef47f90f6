"""Scores of probabilities. N rows, C classes or labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recipes.evaluation.decisions import log_probabilities, probabilities

if TYPE_CHECKING:
    from recipes.data.facts import Task

BINS = 15


def expected_calibration_error(confidence_N: np.ndarray, right_N: np.ndarray, weights_N: np.ndarray, bins: int = BINS) -> float:
    """Mean gap between confidence and share of right rows over equal-width bins (lower, upper], by weight (Guo et al. 2017, eq. 3)."""
    edges = np.linspace(0.0, 1.0, bins + 1)
    bin_N = np.maximum(np.searchsorted(edges, confidence_N, side="left") - 1, 0)
    gaps = np.bincount(bin_N, weights_N * (confidence_N - right_N), minlength=bins)
    return float(np.abs(gaps).sum() / weights_N.sum())


def calibration_single(
    log_probabilities_NC: np.ndarray, probabilities_NC: np.ndarray, targets_N: np.ndarray, weights_N: np.ndarray
) -> dict[str, float]:
    """log_loss, brier, ece and ece_classwise of (N,) classes. Brier: of class 1 when there are two, else the sum over classes (0 to 2).

    ECE is of the top class: its probability is the confidence, and whether it is the true class is the outcome. The classwise one holds the
    probability of each class against its frequency and is the mean over classes (Kull et al. 2019), so that a rare class counts as much.
    """
    rows = np.arange(len(targets_N))
    own_N = probabilities_NC[rows, targets_N]
    if probabilities_NC.shape[1] == 2:
        squared_N = probabilities_NC[rows, 1 - targets_N] ** 2
    else:
        squared_N = np.einsum("nc,nc->n", probabilities_NC, probabilities_NC) - 2 * own_N + 1
    top_N = probabilities_NC.argmax(axis=1)
    classwise = [expected_calibration_error(each_N, targets_N == c, weights_N) for c, each_N in enumerate(probabilities_NC.T)]
    return {
        "log_loss": float(np.average(-log_probabilities_NC[rows, targets_N], weights=weights_N)),
        "brier": float(np.average(squared_N, weights=weights_N)),
        "ece": expected_calibration_error(probabilities_NC[rows, top_N], top_N == targets_N, weights_N),
        "ece_classwise": float(np.mean(classwise)),
    }


def calibration_multilabel(
    logits_NC: np.ndarray, probabilities_NC: np.ndarray, targets_NC: np.ndarray, weights_N: np.ndarray
) -> dict[str, float]:
    """log_loss, brier and ece of (N, C) labels: each the mean over labels; ECE compares a label's probability with its frequency."""
    logits_NC = logits_NC.astype(np.float64)
    losses_NC = np.logaddexp(0.0, np.where(targets_NC, -logits_NC, logits_NC))
    squared_NC = (probabilities_NC - targets_NC) ** 2
    errors = [
        expected_calibration_error(probabilities_N, targets_N, weights_N)
        for probabilities_N, targets_N in zip(probabilities_NC.T, targets_NC.T, strict=True)
    ]
    return {
        "log_loss": float(np.average(losses_NC.mean(axis=1), weights=weights_N)),
        "brier": float(np.average(squared_NC.mean(axis=1), weights=weights_N)),
        "ece": float(np.mean(errors)),
    }


def calibration_summary(logits_NC: np.ndarray, targets: np.ndarray, task: Task, weights: np.ndarray | None = None) -> dict[str, float]:
    """log_loss, ece and brier of (N, C) logits, for a table of before and after. Targets are (N,) classes, or (N, C) for multi-label.

    NaN where there are no rows or a logit is NaN.
    """
    logits_NC, targets = np.asarray(logits_NC), np.asarray(targets)
    weights_N = np.ones(len(targets)) if weights is None else np.asarray(weights, dtype=np.float64)
    probabilities_NC = probabilities(logits_NC, task)
    if weights_N.sum() <= 0 or np.isnan(probabilities_NC).any():
        return dict.fromkeys(("log_loss", "ece", "brier"), float("nan"))
    if task == "multilabel":
        scores = calibration_multilabel(logits_NC, probabilities_NC, targets >= 0.5, weights_N)
    else:
        scores = calibration_single(log_probabilities(logits_NC), probabilities_NC, targets, weights_N)
    return {name: scores[name] for name in ("log_loss", "ece", "brier")}
