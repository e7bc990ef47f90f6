"""Scores of rankings: areas under ROC and PR curves, and the curves themselves. N rows, C classes or labels, K distinct scores.

Rows with equal scores enter together, so that no order among ties is invented. Sums of products are written out: `@` on long vectors wakes
BLAS threads, which cost up to 20 times the sum itself on a busy machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recipes.evaluation.counts import NAN, ratio
from recipes.evaluation.decisions import probabilities

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recipes.data.facts import Task


@dataclass(frozen=True)
class Ranking:
    """What a falling threshold lets in for one class: weighted rows at each distinct score, highest first."""

    scores_K: np.ndarray
    true_K: np.ndarray  # positives with at least that score
    false_K: np.ndarray  # negatives with at least that score

    @classmethod
    def of(cls, scores_N: np.ndarray, positive_N: np.ndarray, weights_N: np.ndarray | None = None) -> Ranking:
        """Rank rows by score; `positive_N` is boolean. A sort, so N log N."""
        order_N = np.argsort(scores_N)[::-1]
        sorted_N = scores_N[order_N]
        # The last row of each group of ties; an empty split has no groups.
        last_K = np.flatnonzero(np.append(sorted_N[1:] != sorted_N[:-1], np.ones(min(1, len(sorted_N)), dtype=bool)))
        if weights_N is None:
            true_K = np.cumsum(positive_N[order_N], dtype=np.int64)[last_K]
            return cls(sorted_N[last_K], true_K.astype(float), (last_K + 1.0) - true_K)
        kept_N = weights_N[order_N]
        hits_N = positive_N[order_N]
        return cls(sorted_N[last_K], np.cumsum(kept_N * hits_N)[last_K], np.cumsum(kept_N * ~hits_N)[last_K])

    @property
    def positives(self) -> float:
        return float(self.true_K[-1]) if len(self.true_K) else 0.0

    @property
    def negatives(self) -> float:
        return float(self.false_K[-1]) if len(self.false_K) else 0.0

    def roc_auc(self) -> float:
        """Area under the ROC curve by trapezoids, which counts ties as one half; NaN without both positives and negatives."""
        if not self.positives or not self.negatives:
            return NAN
        widths_K = np.diff(self.false_K, prepend=0.0)
        heights_K = self.true_K - np.diff(self.true_K, prepend=0.0) / 2
        return float((widths_K * heights_K).sum() / (self.positives * self.negatives))

    def average_precision(self) -> float:
        """Sum of precision times the step in recall; NaN without positives.

        Not the trapezoid: points on a line between two PR points are not attainable (Davis & Goadrich 2006).
        """
        if not self.positives:
            return NAN
        precision_K = ratio(self.true_K, self.true_K + self.false_K)
        return float((np.diff(self.true_K, prepend=0.0) * precision_K).sum() / self.positives)


@dataclass(frozen=True)
class Curve:
    """ROC and PR curve of one class, thinned to L and M points for drawing; the areas are those of all points."""

    name: str
    support: float  # weighted rows of the class
    prevalence: float  # the precision of a random ranking
    average_precision: float
    roc_auc: float
    recall_L: np.ndarray  # rising from 0; the step up to recall_L[i] has precision_L[i]
    precision_L: np.ndarray
    false_rate_M: np.ndarray  # rising from 0 to 1
    true_rate_M: np.ndarray


def curves(
    logits_NC: np.ndarray,
    targets: np.ndarray,
    task: Task,
    class_names: Sequence[str],
    weights: np.ndarray | None = None,
    points: int = 200,
    classes: Sequence[int] | None = None,
) -> list[Curve]:
    """Curves of each class that has both positives and negatives: of class 1 (binary), one against the rest (multiclass), of each label.

    `classes` asks for some of them only. Targets are (N,) class indices, or (N, C) for multi-label.
    """
    probabilities_NC = probabilities(logits_NC, task)
    if np.isnan(probabilities_NC).any():
        return []
    if classes is None:
        classes = [1] if task == "binary" else range(len(class_names))
    drawn = []
    for index in classes:
        ranking = Ranking.of(probabilities_NC[:, index], positives(targets, index), weights)
        if ranking.positives and ranking.negatives:
            drawn.append(_curve(class_names[index], ranking, points))
    return drawn


def positives(targets: np.ndarray, index: int) -> np.ndarray:
    """(N,) bool: the rows of a class, or with a label."""
    return targets[:, index] >= 0.5 if targets.ndim == 2 else targets == index


def _curve(name: str, ranking: Ranking, points: int) -> Curve:
    recall_K = ranking.true_K / ranking.positives
    false_rate_K = ranking.false_K / ranking.negatives
    precision_K = ratio(ranking.true_K, ranking.true_K + ranking.false_K)
    # Only where recall rises does precision count, and a first point at recall 0 opens the line.
    rising = np.flatnonzero(np.diff(recall_K, prepend=0.0) > 0)
    rising = rising[_spread(recall_K[rising], points - 1)]
    kept = _spread(recall_K + false_rate_K, points - 1)
    return Curve(
        name=name,
        support=ranking.positives,
        prevalence=ranking.positives / (ranking.positives + ranking.negatives),
        average_precision=ranking.average_precision(),
        roc_auc=ranking.roc_auc(),
        recall_L=np.append(0.0, recall_K[rising]),
        precision_L=np.append(precision_K[rising[0]], precision_K[rising]),
        false_rate_M=np.append(0.0, false_rate_K[kept]),
        true_rate_M=np.append(0.0, recall_K[kept]),
    )


def _spread(positions: np.ndarray, points: int) -> np.ndarray:
    """Indices of at most `points` of the rising positions, evenly spread along their range, both ends included."""
    if len(positions) <= points:
        return np.arange(len(positions))
    grid = np.linspace(positions[0], positions[-1], points)
    return np.unique(np.minimum(np.searchsorted(positions, grid), len(positions) - 1))
