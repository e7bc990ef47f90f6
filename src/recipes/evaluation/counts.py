"""Scores of decisions, from counts of the whole split. N rows, C classes or labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from recipes.data.facts import Task

NAN = float("nan")


def ratio(top: np.ndarray, bottom: np.ndarray, otherwise: float = 0.0) -> np.ndarray:
    """top / bottom, and `otherwise` where bottom is 0."""
    return np.divide(top, bottom, out=np.full(np.broadcast(top, bottom).shape, otherwise), where=np.asarray(bottom) != 0)


@dataclass(frozen=True)
class Counts:
    """Weighted rows of each class: rightly decided, true, and decided; all that the scores of decisions need, without a C x C matrix."""

    right_C: np.ndarray
    support_C: np.ndarray
    decided_C: np.ndarray
    rows: float  # sum of the weights
    exact: float  # rows with every decision right

    @classmethod
    def of(cls, targets: np.ndarray, decisions: np.ndarray, num_classes: int, weights: np.ndarray | None = None) -> Counts:
        """Count (N,) classes, or (N, C) booleans."""
        weights = np.ones(len(targets)) if weights is None else weights
        right = targets == decisions
        if targets.ndim == 2:
            exact = float((weights * right.all(axis=1)).sum())
            right_C, support_C, decided_C = (
                (weights[:, None] * each_NC).sum(axis=0) for each_NC in (targets & decisions, targets, decisions)
            )
        else:
            exact = float((weights * right).sum())
            right_C, support_C, decided_C = (
                np.bincount(classes, weight, minlength=num_classes)
                for classes, weight in ((targets, weights * right), (targets, weights), (decisions, weights))
            )
        return cls(right_C, support_C, decided_C, float(weights.sum()), exact)

    def per_class(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Precision, recall and F1, (C,) each.

        A class that occurs but is never decided has precision 0. Where a class does not occur, recall and F1 are NaN, and so is precision
        unless the class was decided (then 0).
        """
        precision_C = ratio(self.right_C, self.decided_C)
        precision_C[(self.support_C == 0) & (self.decided_C == 0)] = NAN
        recall_C = ratio(self.right_C, self.support_C, NAN)
        f1_C = ratio(2 * self.right_C, self.support_C + self.decided_C, NAN)
        f1_C[self.support_C == 0] = NAN
        return precision_C, recall_C, f1_C

    def scores(self, task: Task) -> dict[str, float]:
        """Every score of decisions; macro means are over the classes with support."""
        occurs_C = self.support_C > 0
        if not self.rows or not occurs_C.any():
            return {"accuracy": self.exact / self.rows if self.rows else NAN}
        precision_C, recall_C, f1_C = (score_C[occurs_C] for score_C in self.per_class())
        scores = {
            "accuracy": self.exact / self.rows,
            "precision_macro": precision_C.mean(),
            "recall_macro": recall_C.mean(),
            "f1_macro": f1_C.mean(),
            "f1_micro": 2 * self.right_C.sum() / (self.support_C.sum() + self.decided_C.sum()),
            "f1_weighted": f1_C @ self.support_C[occurs_C] / self.support_C.sum(),
        }
        if task != "multilabel":
            scores |= {"mcc": self._mcc(), "kappa": self._kappa()}
            scores |= {"balanced_accuracy": recall_C.mean(), "g_mean": _geometric_mean(recall_C)}
        return {name: float(score) for name, score in scores.items()}

    def _mcc(self) -> float:
        """Matthews (1975), for several classes the R_K of Gorodkin (2004), eq. 8; 0/0 is 0."""
        shares_true, shares_decided = self.support_C / self.rows, self.decided_C / self.rows
        covariance = self.exact / self.rows - shares_true @ shares_decided
        spread = (1 - shares_true @ shares_true) * (1 - shares_decided @ shares_decided)
        return float(covariance / spread**0.5) if _distinct(self.support_C) and _distinct(self.decided_C) else 0.0

    def _kappa(self) -> float:
        """Cohen (1960); NaN where one class is both all that is true and all that is decided."""
        chance = (self.support_C / self.rows) @ (self.decided_C / self.rows)
        if not _distinct(self.support_C) and not _distinct(self.decided_C) and self.exact > 0:
            return NAN
        return float((self.exact / self.rows - chance) / (1 - chance))


def confusion_matrix(targets: np.ndarray, decisions: np.ndarray, num_classes: int, weights: np.ndarray | None = None) -> np.ndarray:
    """(C, C) rows (float64): true class down, decided class across."""
    return np.bincount(targets * num_classes + decisions, weights, minlength=num_classes**2).reshape(num_classes, num_classes).astype(float)


def _distinct(counts_C: np.ndarray) -> bool:
    """Whether more than one class occurs: told from counts, since 1 - sum of squared shares may miss 0 by rounding."""
    return int(np.count_nonzero(counts_C)) > 1


def _geometric_mean(values: np.ndarray) -> float:
    return float(np.exp(np.log(values).mean())) if (values > 0).all() else 0.0
