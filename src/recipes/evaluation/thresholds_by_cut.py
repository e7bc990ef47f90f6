"""The options of `threshold` with one cut, named for what it maximises on validation."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated

import numpy as np

from recipes.config.types import NonNegativeInt, PositiveFloat, Range
from recipes.evaluation import search
from recipes.evaluation.rules import Rule
from recipes.evaluation.search import Objective
from recipes.evaluation.thresholds import CutThreshold, offsets_of

if TYPE_CHECKING:
    from recipes.data.facts import Task

logger = logging.getLogger(__name__)
Share = Annotated[float, Range(gt=0, le=1)]


class F1Threshold(CutThreshold):
    """The largest F1 of the positive side. On calibrated probabilities its threshold is half of itself (Lipton et al. 2014)."""

    name = "f1"

    @property
    def objective(self) -> Objective:
        return Objective("f1", search.fbeta(1.0))


class FBetaThreshold(CutThreshold):
    """The largest F_beta of the positive side: recall counts `beta` times as much as precision (van Rijsbergen 1979)."""

    name = "fbeta"

    def __init__(self, *, beta: PositiveFloat = 2.0, min_positives: NonNegativeInt = 50, bootstrap: NonNegativeInt = 200) -> None:
        super().__init__(min_positives=min_positives, bootstrap=bootstrap)
        self.beta = beta

    @property
    def objective(self) -> Objective:
        return Objective(f"f{self.beta:g}", search.fbeta(self.beta))


class MCCThreshold(CutThreshold):
    """The largest Matthews correlation."""

    name = "mcc"

    @property
    def objective(self) -> Objective:
        return Objective("mcc", search.mcc)


class BalancedAccuracyThreshold(CutThreshold):
    """The largest mean of both recalls, which is Youden's J (1950): on calibrated probabilities the threshold is the share of positives."""

    name = "balanced_accuracy"

    @property
    def objective(self) -> Objective:
        return Objective("balanced_accuracy", search.balanced_accuracy)


class GMeanThreshold(CutThreshold):
    """The largest geometric mean of both recalls (Kubat & Matwin 1997)."""

    name = "g_mean"

    @property
    def objective(self) -> Objective:
        return Objective("g_mean", search.g_mean)


class RecallAtPrecision(CutThreshold):
    """The most recall with a precision of at least `precision` on validation; where no cut has that, the cut of the highest precision."""

    name = "recall_at_precision"

    def __init__(self, *, precision: Share = 0.9, min_positives: NonNegativeInt = 50, bootstrap: NonNegativeInt = 200) -> None:
        super().__init__(min_positives=min_positives, bootstrap=bootstrap)
        self.precision = precision

    @property
    def objective(self) -> Objective:
        return Objective(f"recall at precision {self.precision:g}", search.recall_at_precision(self.precision))

    def rule(self, cut: float, value: float, interval: np.ndarray | None, task: Task, num_classes: int) -> Rule:
        if value > 0:
            return super().rule(cut, value, interval, task, num_classes)
        reason = f"no cut has precision {self.precision:g} on validation, the highest is {value + 1:.3f}"
        logger.warning("threshold=%s: %s, which is taken", self.name, reason)
        return Rule(self.name, offsets_of(np.asarray(cut), task, num_classes), None, interval, "precision", value + 1, reason)


class PrecisionAtRecall(CutThreshold):
    """The most precision with a recall of at least `recall` on validation; of equals the cut with the most recall."""

    name = "precision_at_recall"

    def __init__(self, *, recall: Share = 0.9, min_positives: NonNegativeInt = 50, bootstrap: NonNegativeInt = 200) -> None:
        super().__init__(min_positives=min_positives, bootstrap=bootstrap)
        self.recall = recall

    @property
    def objective(self) -> Objective:
        return Objective(f"precision at recall {self.recall:g}", search.precision_at_recall(self.recall), most=True)
