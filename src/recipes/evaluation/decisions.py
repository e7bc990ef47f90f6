"""From logits to probabilities, and from probabilities to decisions. N rows, C classes or labels, M margins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from recipes.data.facts import Task


def log_probabilities(logits_NC: np.ndarray) -> np.ndarray:
    """(N, C) float64 log-softmax. Infinite or NaN logits become NaN where they have no meaning, without a warning."""
    with np.errstate(invalid="ignore", divide="ignore"):
        shifted_NC = logits_NC - logits_NC.max(axis=1, keepdims=True, initial=-np.inf).astype(np.float64)
        shifted_NC -= np.log(np.exp(shifted_NC).sum(axis=1, keepdims=True))
    return shifted_NC


def probabilities(logits_NC: np.ndarray, task: Task) -> np.ndarray:
    """(N, C) float64: softmax over the classes, or the sigmoid of each label when multi-label."""
    logits_NC = np.asarray(logits_NC)
    if task != "multilabel":
        return np.exp(log_probabilities(logits_NC))
    # exp of a negative number only: large logits neither overflow nor lose the small side.
    small_NC = np.exp(-np.abs(logits_NC.astype(np.float64)))
    return np.where(logits_NC >= 0, 1.0, small_NC) / (1.0 + small_NC)


def decide(probabilities_NC: np.ndarray, task: Task, threshold: float | np.ndarray | None = None) -> np.ndarray:
    """(N,) int64 class of each row; multi-label: (N, C) bool, which labels are given.

    Single-label: the most probable class, the first of equals. Multi-label: probability >= 0.5. `threshold` replaces the 0.5, as one number
    or one a label, (C,); on binary tasks class 1 is then given where its probability is at least the threshold.
    """
    if task == "multilabel":
        return probabilities_NC >= (0.5 if threshold is None else np.asarray(threshold))
    if threshold is None:
        return probabilities_NC.argmax(axis=1)
    if task != "binary":
        raise ValueError("a threshold has no meaning for a multiclass task: decisions are the most probable class")
    return (probabilities_NC[:, 1] >= threshold).astype(np.int64)


def margins(logits_NC: np.ndarray, task: Task) -> np.ndarray:
    """(N, M) log-odds: of class 1 (binary, M = 1), of each class against the rest (multiclass, M = C), of each label (M = C).

    Unlike probabilities they keep apart rows whose probability rounds to one.
    """
    logits_NC = np.asarray(logits_NC, dtype=np.float64)
    if task == "multilabel":
        return logits_NC
    if task == "binary":
        return logits_NC[:, 1:] - logits_NC[:, :1]
    log_NC = log_probabilities(logits_NC)
    rows, top_N = np.arange(len(log_NC)), log_NC.argmax(axis=1)
    rest_NC = log_NC.copy()
    rest_NC[rows, top_N] = -np.inf
    # 1 - p of the likeliest class is a sum of the others, and of these at most one half is taken from one: no digits are lost.
    below_NC = np.log1p(-np.minimum(np.exp(rest_NC), 0.5))
    below_NC[rows, top_N] = np.logaddexp.reduce(rest_NC, axis=1)
    return log_NC - below_NC


def from_margins(margins_NM: np.ndarray, task: Task) -> np.ndarray:
    """(N, C) logits of log-odds; one-against-the-rest probabilities of several classes are divided by their sum."""
    if task == "multilabel":
        return margins_NM
    if task == "binary":
        return np.concatenate([np.zeros_like(margins_NM), margins_NM], axis=1)
    return -np.logaddexp(0.0, -margins_NM)
