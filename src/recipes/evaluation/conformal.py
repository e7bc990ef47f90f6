"""Sets of classes that hold the true one with a chance that is chosen, from validation rows (split conformal prediction).

N rows, C classes or labels, n_c validation rows of class c. A class is in a row's set where 1 - p_c is at most the k-th smallest 1 - p_y of
validation, k = ceil((n + 1) (1 - alpha)). A new row of the same distribution then has its true class in the set with probability of at
least 1 - alpha, whatever the model is worth. `marginal` promises it over all rows, so a rare class may pay for a frequent one;
`class_conditional` (Mondrian: Vovk et al. 2005) promises it for each class. For multi-label the rows of a label are those that have it: it
is then the chance that a label that is there is in the set. Where a calibration was fitted on the same validation rows the promise holds
approximately: their scores are a little flattered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from recipes.evaluation.ranking import positives

if TYPE_CHECKING:
    from recipes.data.facts import Task

ConformalKind = Literal["marginal", "class_conditional"]


def class_scores(
    probabilities_NC: np.ndarray, targets: np.ndarray, task: Task, weights: np.ndarray | None = None
) -> tuple[np.ndarray, ...]:
    """C rising arrays of 1 - p_c, one value for each validation row of the class: all that sets need, at any alpha.

    Targets are (N,) classes, or (N, C) of 0 and 1 for multi-label. Rows without weight are left out; other weights cannot be honoured,
    since the promise counts rows that are exchangeable.
    """
    kept_N = np.ones(len(targets), dtype=bool) if weights is None else np.asarray(weights) > 0
    targets = np.asarray(targets)
    return tuple(np.sort(1 - probabilities_NC[kept_N & positives(targets, c), c]) for c in range(probabilities_NC.shape[1]))


def sets(probabilities_NC: np.ndarray, scores: Sequence[np.ndarray], alpha: float, kind: ConformalKind = "class_conditional") -> np.ndarray:
    """(N, C) bool: the classes in the set of each row. 0 < alpha < 1. A set may be empty, or hold several classes."""
    if kind == "marginal":
        limits_C = np.full(len(scores), _limit(np.sort(np.concatenate(list(scores))), alpha))
    else:
        limits_C = np.array([_limit(np.asarray(scores_n), alpha) for scores_n in scores])
    return 1 - np.asarray(probabilities_NC) <= limits_C


def always_in(scores: Sequence[np.ndarray], alpha: float, class_names: Sequence[str]) -> str | None:
    """Which classes have too few validation rows to be left out of any set of `class_conditional`, in words; None where there are none."""
    few = [
        f"{name} ({len(scores_n)})"
        for name, scores_n in zip(class_names, scores, strict=True)
        if _rank(len(scores_n), alpha) > len(scores_n)
    ]
    if not few:
        return None
    least = next(n for n in range(int(1 / alpha) + 2) if _rank(n, alpha) <= n)
    shown = ", ".join(few[:5]) + ", ..." * (len(few) > 5)
    return f"{len(few)} of {len(scores)} classes are in every set: alpha={alpha:g} needs {least} validation rows of a class; {shown}"


def _limit(scores_n: np.ndarray, alpha: float) -> float:
    """The k-th smallest score; infinite where there are fewer than k."""
    rank = _rank(len(scores_n), alpha)
    return float(scores_n[rank - 1]) if rank <= len(scores_n) else float("inf")


def _rank(rows: int, alpha: float) -> int:
    """ceil((n + 1) (1 - alpha)), and a product that is whole but for rounding counts as whole."""
    return int(np.ceil((rows + 1) * (1 - alpha) - 1e-9))
