"""The fits behind `calibration`: means over weighted validation rows, minimised by scipy and scikit-learn.

N rows, C classes or labels, M margins, K features of a margin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from recipes.evaluation.decisions import log_probabilities
from recipes.evaluation.ranking import positives

if TYPE_CHECKING:
    from recipes.data.facts import Task

_LOG_RANGE = np.log(20.0)


@dataclass(frozen=True)
class Sample:
    """Validation rows of weight above zero, as each margin sees them."""

    task: Task
    kept_N: np.ndarray  # bool over all rows: those of weight above zero; what follows is of these
    targets: np.ndarray  # (N,) int classes, or (N, C) bool
    shares_N: np.ndarray  # weights that add up to one
    rarer_M: np.ndarray  # rows of the rarer side of each margin
    least: int = 1  # rows that the rarer side needs for its margin to be fitted

    @classmethod
    def of(cls, targets: np.ndarray, weights: np.ndarray | None, task: Task, num_classes: int) -> Sample:
        """Targets are (N,) classes, or (N, C) of 0 and 1 for multi-label."""
        targets = np.asarray(targets)
        weights_N = np.ones(len(targets)) if weights is None else np.asarray(weights, dtype=np.float64)
        kept_N = weights_N > 0
        own = targets[kept_N] >= 0.5 if task == "multilabel" else targets[kept_N].astype(np.int64)
        with_M = own.sum(axis=0) if task == "multilabel" else np.bincount(own, minlength=num_classes)
        with_M = with_M[1:] if task == "binary" else with_M
        return cls(task, kept_N, own, weights_N[kept_N] / max(weights_N.sum(), 1e-300), np.minimum(with_M, len(own) - with_M))

    def needing(self, least: int) -> Sample:
        """The same rows, and margins with fewer than `least` rows of the rarer side are not fitted."""
        return replace(self, least=least)

    @property
    def rows(self) -> int:
        return len(self.targets)

    @property
    def two_sided_M(self) -> np.ndarray:
        """Whether both sides of a margin have rows enough."""
        return np.asarray(self.rarer_M >= self.least)

    def positive(self, margin: int) -> np.ndarray:
        """(N,) bool: the rows of a margin's positive side."""
        return positives(self.targets, 1 if self.task == "binary" else margin)


def sigmoid(features: Sequence[np.ndarray], sample: Sample, l2: float) -> tuple[np.ndarray, np.ndarray]:
    """Scales (K, M) > 0 and biases (M,) of sum_k scale_k f_k + bias by the mean log loss of each margin; 1 and 0 where one is not fitted.

    features: K arrays (N, M) whose sum is the margin, so that ones and zero are the identity.
    """
    count = features[0].shape[1]
    scales_KM, bias_M = np.ones((len(features), count)), np.zeros(count)
    for m in map(int, np.flatnonzero(sample.two_sided_M)):
        f_KN = np.stack([each_NM[:, m] for each_NM in features])
        y_N = sample.positive(m).astype(np.float64)

        def loss(theta: np.ndarray, f_KN: np.ndarray = f_KN, y_N: np.ndarray = y_N) -> tuple[float, np.ndarray]:
            scaled_KN = np.exp(theta[:-1])[:, None] * f_KN
            z_N = scaled_KN.sum(axis=0) + theta[-1]
            mean = (sample.shares_N * (np.logaddexp(0.0, z_N) - y_N * z_N)).sum()
            rest_N = sample.shares_N * (np.exp(-np.logaddexp(0.0, -z_N)) - y_N)
            return mean, np.append((scaled_KN * rest_N).sum(axis=1), rest_N.sum())

        theta = _minimum(loss, len(features) + 1, l2)
        scales_KM[:, m], bias_M[m] = np.exp(theta[:-1]), theta[-1]
    return scales_KM, bias_M


def softmax(log_NC: np.ndarray, sample: Sample, l2: float) -> tuple[np.ndarray, np.ndarray]:
    """Scales (C,) > 0 and biases (C,) of scale_c log p_c + bias_c by the mean multinomial log loss."""
    rows, classes = np.arange(len(log_NC)), log_NC.shape[1]

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        scaled_NC = log_NC * np.exp(theta[:classes])
        fitted_NC = log_probabilities(scaled_NC + theta[classes:])
        mean = -(sample.shares_N * fitted_NC[rows, sample.targets]).sum()
        rest_NC = np.exp(fitted_NC)
        rest_NC[rows, sample.targets] -= 1
        rest_NC *= sample.shares_N[:, None]
        return mean, np.append((rest_NC * scaled_NC).sum(axis=0), rest_NC.sum(axis=0))

    theta = _minimum(loss, 2 * classes, l2)
    return np.exp(theta[:classes]), theta[classes:]


def temperature(natural_NC: np.ndarray, sample: Sample, l2: float) -> float:
    """T of least mean log loss + l2 / 2 log(T)^2 within [1/20, 20]. The loss is convex in 1/T, so a bounded search in log T finds it."""
    from scipy.optimize import minimize_scalar

    def loss(log_t: float) -> float:
        scaled_NC = natural_NC / np.exp(log_t)
        if sample.task == "multilabel":
            loss_N = np.logaddexp(0.0, np.where(sample.targets, -scaled_NC, scaled_NC)).mean(axis=1)
        else:
            loss_N = -log_probabilities(scaled_NC)[np.arange(sample.rows), sample.targets]
        return float((sample.shares_N * loss_N).sum()) + l2 / 2 * log_t**2

    found = minimize_scalar(loss, bounds=(-_LOG_RANGE, _LOG_RANGE), method="bounded", options={"xatol": 1e-8})
    return float(np.exp(found.x)) if found.fun <= loss(0.0) else 1.0


def increasing(margins_NM: np.ndarray, sample: Sample) -> tuple[np.ndarray, ...]:
    """(2, K) knots of each margin: margins, and the log-odds of an isotonic fit there; no knots where a margin is not fitted."""
    from sklearn.isotonic import IsotonicRegression

    least = 1 / (sample.rows + 2)
    knots = []
    for m in range(margins_NM.shape[1]):
        if not sample.two_sided_M[m]:
            knots.append(np.zeros((2, 0)))
            continue
        model = IsotonicRegression(y_min=least, y_max=1 - least, out_of_bounds="clip")
        model.fit(margins_NM[:, m], sample.positive(m).astype(np.float64), sample_weight=sample.shares_N)
        share_K = np.clip(model.y_thresholds_, least, 1 - least)
        knots.append(np.stack([model.X_thresholds_, np.log(share_K) - np.log1p(-share_K)]))
    return tuple(knots)


def _minimum(loss: Callable[[np.ndarray], tuple[float, np.ndarray]], size: int, l2: float) -> np.ndarray:
    """The point of least loss + l2 / 2 |theta|^2, sought from zero: there the penalty is none, so the loss can only fall."""
    from scipy.optimize import minimize

    def penalised(theta: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = loss(theta)
        return value + l2 / 2 * float((theta**2).sum()), slope + l2 * theta

    bounds, options = [(-30.0, 30.0)] * size, {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 1000}
    found = minimize(penalised, np.zeros(size), jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return np.asarray(found.x)
