"""The best cut of a score, over all that differ, and how far it moves under resampling.

N rows, K distinct scores, L = K + 1 cuts, R resamples. A cut is a number: a row is positive where its score is at least that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from recipes.evaluation.counts import ratio
from recipes.evaluation.ranking import Ranking

# (true positives, false positives, positives, negatives), each by weight -> the number to be maximised, one for each cut.
Score = Callable[[np.ndarray, np.ndarray, float, float], np.ndarray]
_SLACK = 1e-12  # a share that misses its bound by rounding meets it


@dataclass(frozen=True)
class Objective:
    """What a cut is chosen by. Of equals the one with the fewest positives is taken, or with the most where `most` says so."""

    name: str
    score: Score
    most: bool = False

    def argmax(self, score_L: np.ndarray) -> int:
        """Cuts stand in the order of a falling threshold: the first lets nothing in, the last everything."""
        return int(len(score_L) - 1 - score_L[::-1].argmax()) if self.most else int(score_L.argmax())


def fbeta(beta: float) -> Score:
    """F_beta = (1 + b^2) TP / ((1 + b^2) TP + b^2 FN + FP) of the positive side."""
    square = beta**2

    def score(true_L: np.ndarray, false_L: np.ndarray, positives: float, negatives: float) -> np.ndarray:
        return ratio((1 + square) * true_L, true_L + false_L + square * positives)

    return score


def mcc(true_L: np.ndarray, false_L: np.ndarray, positives: float, negatives: float) -> np.ndarray:
    """Matthews (1975), 0 where it is 0/0. With TP + FP = d, the numerator TP TN - FP FN is TP N - FP P."""
    decided_L, rows = true_L + false_L, positives + negatives
    spread_L = np.sqrt(decided_L * (rows - decided_L) * positives * negatives)
    return ratio(true_L * negatives - false_L * positives, spread_L)


def balanced_accuracy(true_L: np.ndarray, false_L: np.ndarray, positives: float, negatives: float) -> np.ndarray:
    """Mean of the recalls of both sides."""
    return (true_L / positives + 1 - false_L / negatives) / 2


def g_mean(true_L: np.ndarray, false_L: np.ndarray, positives: float, negatives: float) -> np.ndarray:
    """Geometric mean of the recalls of both sides (Kubat & Matwin 1997)."""
    return np.sqrt(true_L / positives * np.maximum(1 - false_L / negatives, 0.0))


def recall_at_precision(least: float) -> Score:
    """Recall where precision is at least `least`; elsewhere precision - 1, which is never above 0."""

    def score(true_L: np.ndarray, false_L: np.ndarray, positives: float, negatives: float) -> np.ndarray:
        precision_L = ratio(true_L, true_L + false_L)
        return np.where(precision_L >= least - _SLACK, true_L / positives, precision_L - 1)

    return score


def precision_at_recall(least: float) -> Score:
    """Precision where recall is at least `least`; elsewhere recall - 1, which is never above 0."""

    def score(true_L: np.ndarray, false_L: np.ndarray, positives: float, negatives: float) -> np.ndarray:
        recall_L = true_L / positives
        return np.where(recall_L >= least - _SLACK, ratio(true_L, true_L + false_L), recall_L - 1)

    return score


def best_cut(scores_N: np.ndarray, positive_N: np.ndarray, weights_N: np.ndarray | None, objective: Objective) -> tuple[float, float]:
    """The cut and its score: exact over all cuts, one sort. Needs rows of both sides with weight."""
    ranking = Ranking.of(scores_N, positive_N, weights_N)
    true_L, false_L = np.append(0.0, ranking.true_K), np.append(0.0, ranking.false_K)
    score_L = objective.score(true_L, false_L, ranking.positives, ranking.negatives)
    index = objective.argmax(score_L)
    return between(ranking.scores_K, index), float(score_L[index])


def between(scores_K: np.ndarray, index: int) -> float:
    """The cut that lets in the first `index` of falling scores: halfway to the next, and one unit beyond the highest and the lowest."""
    if index == 0:
        return float(scores_K[0] + 1)
    if index == len(scores_K):
        return float(scores_K[-1] - 1)
    above, below = float(scores_K[index - 1]), float(scores_K[index])
    middle = below + (above - below) / 2
    return middle if middle > below else above  # neighbouring floats have nothing between them


def resampled_cuts(
    scores_N: np.ndarray, positive_N: np.ndarray, weights_N: np.ndarray | None, objective: Objective, draws: Iterable[np.ndarray]
) -> np.ndarray:
    """(R,) best cuts where row n comes draws[r][n] times. Sorted once; a draw costs a few passes over the rows."""
    order_N = np.argsort(scores_N)[::-1]
    sorted_N = scores_N[order_N]
    last_K = np.flatnonzero(np.append(sorted_N[1:] != sorted_N[:-1], True))
    scores_K, true_N = sorted_N[last_K], positive_N[order_N]
    own_N = 1.0 if weights_N is None else weights_N[order_N]
    cuts = []
    for counts_N in draws:
        rows_N = counts_N[order_N] * own_N
        true_K, all_K = np.cumsum(rows_N * true_N)[last_K], np.cumsum(rows_N)[last_K]
        positives, negatives = float(true_K[-1]), float(all_K[-1] - true_K[-1])
        if positives > 0 and negatives > 0:
            score_L = objective.score(np.append(0.0, true_K), np.append(0.0, all_K - true_K), positives, negatives)
            cuts.append(between(scores_K, objective.argmax(score_L)))
    return np.array(cuts)


def stratified(side_N: np.ndarray, times: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """How often each row comes in `times` resamples with replacement that keep the number of rows of each side, or of each class."""
    sides = [np.flatnonzero(side_N == side) for side in np.unique(side_N)[::-1]]
    for _ in range(times):
        counts_N = np.zeros(len(side_N))
        for rows in sides:
            counts_N[rows] = np.bincount(rng.integers(len(rows), size=len(rows)), minlength=len(rows))
        yield counts_N


def row_wise(rows: int, labels: int, times: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The same for pairs of row and label, row by row: the labels of a row come together."""
    for _ in range(times):
        yield np.repeat(np.bincount(rng.integers(rows, size=rows), minlength=rows).astype(float), labels)


def interval(cuts_R: np.ndarray) -> np.ndarray | None:
    """(2,) 95 % percentile interval of cuts in log-odds, as probabilities; None without resamples."""
    return np.exp(-np.logaddexp(0.0, -np.percentile(cuts_R, [2.5, 97.5]))) if len(cuts_R) else None
