"""Every metric of a split, from its logits. Whole-epoch scores: nothing here may be averaged over batches.

N rows, C classes or labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from recipes.evaluation.counts import NAN, Counts
from recipes.evaluation.decisions import decide, log_probabilities, probabilities
from recipes.evaluation.names import METRICS
from recipes.evaluation.ranking import Ranking, positives
from recipes.evaluation.reliability import calibration_multilabel, calibration_single

if TYPE_CHECKING:
    from recipes.data.facts import Task

PER_CLASS = ("precision", "recall", "f1", "pr_auc", "roc_auc", "support")


def evaluate(
    logits_NC: np.ndarray,
    targets: np.ndarray,
    task: Task,
    class_names: Sequence[str],
    weights: np.ndarray | None = None,
    decided: np.ndarray | None = None,
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """All metrics of `METRICS` that the task has, save `loss`, and the scores of each class.

    `targets` are (N,) class indices, or (N, C) of 0 and 1 for multi-label; `weights` (N,) >= 0 weigh the rows in every metric, and
    `support` is then a sum of weights. The classes are those of training: one that does not occur in these rows is left out of macro means
    and has NaN scores (`absent` names them). What is undefined is NaN, never an error; where a logit is NaN, so is every metric.

    `decided` are the decisions that the counts are made of, (N,) classes or (N, C) booleans; by default those of `decide`.
    """
    logits_NC, targets = np.asarray(logits_NC), np.asarray(targets)
    if targets.ndim == 2:
        targets = targets >= 0.5
    weights_N = None if weights is None else np.asarray(weights, dtype=np.float64)
    log_NC = None if task == "multilabel" else log_probabilities(logits_NC)
    probabilities_NC = probabilities(logits_NC, task) if log_NC is None else np.exp(log_NC)
    names = [name for name, metric in METRICS.items() if name != "loss" and task in metric.tasks]
    finite = len(targets) > 0 and not np.isnan(probabilities_NC).any() and (weights_N is None or weights_N.sum() > 0)
    if not finite:
        support_C = Counts.of(targets, targets, len(class_names), weights_N).support_C
        return dict.fromkeys(names, NAN), {
            name: dict.fromkeys(PER_CLASS, NAN) | {"support": float(support)} for name, support in zip(class_names, support_C, strict=True)
        }

    decided = decide(probabilities_NC, task) if decided is None else np.asarray(decided)
    counts = Counts.of(targets, decided, len(class_names), weights_N)
    precision_C, recall_C, f1_C = counts.per_class()
    pr_C, roc_C = _areas(probabilities_NC, targets, counts.support_C, weights_N)
    ones_N = np.ones(len(targets)) if weights_N is None else weights_N
    if log_NC is None:
        scores = calibration_multilabel(logits_NC, probabilities_NC, targets, ones_N)
    else:
        scores = calibration_single(log_NC, probabilities_NC, targets, ones_N)
    scores |= counts.scores(task)
    scores |= {"pr_auc": _summary(pr_C, task), "roc_auc": _summary(roc_C, task)}
    columns = (precision_C, recall_C, f1_C, pr_C, roc_C, counts.support_C)
    per_class = {name: dict(zip(PER_CLASS, map(float, row), strict=True)) for name, *row in zip(class_names, *columns, strict=True)}
    return {name: scores.get(name, NAN) for name in names}, per_class


def absent(per_class: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The classes that do not occur in the split, which macro means leave out."""
    return [name for name, scores in per_class.items() if scores["support"] == 0]


def _areas(
    probabilities_NC: np.ndarray, targets: np.ndarray, support_C: np.ndarray, weights_N: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Average precision and ROC area of each class against the rest, (C,) each; NaN for a class that does not occur."""
    pr_C, roc_C = np.full(len(support_C), NAN), np.full(len(support_C), NAN)
    columns_CN = np.ascontiguousarray(probabilities_NC.T)
    for index in np.flatnonzero(support_C > 0):
        ranking = Ranking.of(columns_CN[index], positives(targets, int(index)), weights_N)
        pr_C[index], roc_C[index] = ranking.average_precision(), ranking.roc_auc()
    return pr_C, roc_C


def _summary(area_C: np.ndarray, task: Task) -> float:
    """The positive class's area when binary, else the mean of those that are defined."""
    if task == "binary":
        return float(area_C[1])
    defined = area_C[~np.isnan(area_C)]
    return float(defined.mean()) if len(defined) else NAN
