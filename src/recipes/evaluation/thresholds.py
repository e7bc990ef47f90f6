"""The kind of `threshold`, and one cut of one probability: which of all that differ decides best on validation.

N rows, C classes or labels. Cuts are sought on natural log-odds, halfway between neighbouring rows, by weight where rows have weights. A
multi-label task gets one cut for all labels, chosen on all pairs of row and label together; `per_label` gives each its own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from recipes.config.types import NonNegativeInt, Range
from recipes.errors import ConfigError
from recipes.evaluation import search
from recipes.evaluation.decisions import margins
from recipes.evaluation.rules import Rule
from recipes.evaluation.search import Objective

if TYPE_CHECKING:
    from recipes.data.facts import Task

logger = logging.getLogger(__name__)
OpenShare = Annotated[float, Range(gt=0, lt=1)]


@dataclass(frozen=True)
class Rows:
    """Validation rows of weight above zero.

    targets: (N,) int64 classes, or (N, C) bool for multi-label. weights_N: None where all are one.
    """

    logits_NC: np.ndarray
    targets: np.ndarray
    task: Task
    class_names: Sequence[str]
    weights_N: np.ndarray | None

    def pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Log-odds, which are positive, and weights: of rows, or for multi-label of all pairs of row and label."""
        scores_N = margins(self.logits_NC, self.task).ravel()
        if self.task != "multilabel":
            return scores_N, self.targets == 1, self.weights_N
        weights_N = None if self.weights_N is None else np.repeat(self.weights_N, self.targets.shape[1])
        return scores_N, self.targets.ravel(), weights_N

    def draws(self, times: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """How often each of `pairs` comes in `times` resamples: within each side, and for multi-label row by row."""
        if self.task != "multilabel":
            return search.stratified(self.targets == 1, times, rng)
        return search.row_wise(len(self.targets), self.targets.shape[1], times, rng)


class Threshold:
    """How decisions are made of natural logits: `fit` sees validation rows, and the rule that it returns decides any rows.

    An option overrides `make`, and `check` if need be.
    """

    name: ClassVar[str] = "none"
    chooses: ClassVar[bool] = False  # whether the rule depends on validation's rows: a fitted map should then have seen others

    def check(self, task: Task, class_names: Sequence[str]) -> None:
        """Raise ConfigError where the task has no such decision. Needs no logits, so it can be asked before training."""

    def fit(
        self,
        natural_logits_NC: np.ndarray,
        targets: np.ndarray,
        task: Task,
        class_names: Sequence[str],
        weights: np.ndarray | None,
        rng: np.random.Generator,
    ) -> Rule:
        """The rule for validation's calibrated logits (N, C) and targets: (N,) classes, or (N, C) of 0 and 1; weights are (N,) >= 0.

        Where validation has too little to choose by, the rule decides as the network was trained, with a warning and the reason in the
        rule. Raises ConfigError as `check` does.
        """
        self.check(task, class_names)
        kept_N = np.ones(len(targets), dtype=bool) if weights is None else np.asarray(weights) > 0
        logits_NC, targets = np.asarray(natural_logits_NC, dtype=np.float64)[kept_N], np.asarray(targets)[kept_N]
        own = targets >= 0.5 if task == "multilabel" else targets.astype(np.int64)
        weights_N = None if weights is None else np.asarray(weights, dtype=np.float64)[kept_N]
        return self.make(Rows(logits_NC, own, task, class_names, weights_N), rng)

    def make(self, rows: Rows, rng: np.random.Generator) -> Rule:
        """The rule that is best on these rows."""
        return Rule()

    def as_trained(self, reason: str) -> Rule:
        """The rule where validation has too little to choose by."""
        logger.warning("threshold=%s: %s; decisions stay as the network was trained to make them", self.name, reason)
        return Rule(self.name, reason=reason)


class NoThreshold(Threshold):
    """The network's decision as it was trained: the largest logit, or for multi-label every label whose logit is at least 0.

    A loss or a sampler that balances the classes has then moved the decision already, whatever prior the probabilities are given for.
    """


class FixedThreshold(Threshold):
    """Positive from a natural probability of `value` on: one number, or for multi-label a list with one for each label."""

    name = "fixed"

    def __init__(self, *, value: OpenShare | list[OpenShare] = 0.5) -> None:
        self.value = value

    def check(self, task: Task, class_names: Sequence[str]) -> None:
        _refuse_multiclass(self.name, task)
        if isinstance(self.value, int | float):
            return
        if task == "binary":
            raise ConfigError("threshold.value: a binary task has one threshold, that of its positive class; give one number")
        if len(self.value) != len(class_names):
            raise ConfigError(
                f"threshold.value: {len(self.value)} thresholds for {len(class_names)} labels; give one number, or one for each, in the "
                f"order {', '.join(class_names[:8])}{', ...' * (len(class_names) > 8)}"
            )

    def make(self, rows: Rows, rng: np.random.Generator) -> Rule:
        share = np.asarray(self.value, dtype=np.float64)
        return Rule(self.name, offsets_of(np.log(share) - np.log1p(-share), rows.task, len(rows.class_names)))


class CutThreshold(Threshold):
    """One cut that maximises an objective. Options name the objective.

    min_positives: with fewer validation rows of the rarer side (pairs of row and label, for multi-label) the network's own decision stays,
    since the best cut of so few is mostly chance. bootstrap: resamples, stratified by side (multi-label: by row), for the interval of the
    threshold; 0 for none.
    """

    chooses = True

    def __init__(self, *, min_positives: NonNegativeInt = 50, bootstrap: NonNegativeInt = 200) -> None:
        self.min_positives = min_positives
        self.bootstrap = bootstrap

    def check(self, task: Task, class_names: Sequence[str]) -> None:
        _refuse_multiclass(self.name, task)

    @property
    def objective(self) -> Objective:
        raise NotImplementedError

    def make(self, rows: Rows, rng: np.random.Generator) -> Rule:
        scores_N, positive_N, weights_N = rows.pairs()
        lacking = too_little(scores_N, positive_N, self.min_positives)
        if lacking:
            return self.as_trained(lacking)
        cut, value = search.best_cut(scores_N, positive_N, weights_N, self.objective)
        cuts_R = search.resampled_cuts(scores_N, positive_N, weights_N, self.objective, rows.draws(self.bootstrap, rng))
        return self.rule(cut, value, search.interval(cuts_R), rows.task, len(rows.class_names))

    def rule(self, cut: float, value: float, interval: np.ndarray | None, task: Task, num_classes: int) -> Rule:
        """The rule of the best cut."""
        offsets_C = offsets_of(np.asarray(cut), task, num_classes)
        return Rule(self.name, offsets_C, interval=interval, objective=self.objective.name, value=value)


def offsets_of(cuts: np.ndarray, task: Task, num_classes: int) -> np.ndarray:
    """(C,) offsets of one cut in log-odds, or for multi-label of one for each label."""
    return np.append(0.0, -cuts) if task == "binary" else np.broadcast_to(-cuts, num_classes).astype(np.float64)


def too_little(scores_N: np.ndarray, positive_N: np.ndarray, min_positives: int) -> str | None:
    """Why these rows cannot choose a cut, in words; None where they can."""
    if not np.isfinite(scores_N).all():
        return "validation has logits that are not finite numbers"
    rarer = int(min(positive_N.sum(), (~positive_N).sum()))
    if rarer == 0:
        return f"validation has {'no positives' if not positive_N.any() else 'positives only'}"
    if rarer < min_positives:
        return f"the rarer side has {rarer} rows in validation, of threshold.min_positives={min_positives}"
    return None


def _refuse_multiclass(name: str, task: Task) -> None:
    if task == "multiclass":
        raise ConfigError(
            f"threshold={name}: one cut divides two sides, and this task has more classes; use threshold=offsets, or threshold=cost with "
            "threshold.matrix"
        )
