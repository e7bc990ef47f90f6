"""The options of `threshold` with one number for each class or label, or for each pair of classes.

N rows, C classes or labels.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from recipes.config.types import NonNegativeInt, PositiveFloat, PositiveInt
from recipes.errors import ConfigError
from recipes.evaluation import search
from recipes.evaluation.ascent import OBJECTIVES, ascend, resampled
from recipes.evaluation.rules import Rule
from recipes.evaluation.search import Objective
from recipes.evaluation.thresholds import CutThreshold, Rows, Threshold, offsets_of, too_little

if TYPE_CHECKING:
    from recipes.data.facts import Task

logger = logging.getLogger(__name__)


class CostThreshold(Threshold):
    """The decision of least expected cost under the natural probabilities (Elkan 2001); nothing is chosen on validation.

    Binary and multi-label: positive from p = false_positive / (false_positive + false_negative) on. matrix: what deciding a class (across)
    costs for a true class (down), C x C; single-label tasks, several classes need it, and it stands in the place of the two numbers.
    Believes the probabilities, so it needs a calibration other than `none`.
    """

    name = "cost"

    def __init__(
        self,
        *,
        false_positive: PositiveFloat = 1.0,
        false_negative: PositiveFloat = 1.0,
        matrix: list[list[float]] | None = None,
    ) -> None:
        self.false_positive = false_positive
        self.false_negative = false_negative
        self.matrix = matrix
        if matrix is not None and (false_positive, false_negative) != (1.0, 1.0):
            raise ConfigError("threshold.matrix: it holds all costs; leave threshold.false_positive and threshold.false_negative at 1")

    def check(self, task: Task, class_names: Sequence[str]) -> None:
        size = len(class_names)
        if task == "multilabel" and self.matrix is not None:
            raise ConfigError(
                "threshold.matrix: labels are decided one by one; use threshold.false_positive and threshold.false_negative, for all labels"
            )
        if task == "multiclass" and self.matrix is None:
            raise ConfigError(
                f"threshold.matrix: {size} classes need {size} rows of {size} costs, a row for each true class and a column for each "
                "decision, as in threshold.matrix='[[0,1,1],[5,0,1],[5,1,0]]'; without costs use threshold=offsets"
            )
        shape = [len(row) for row in self.matrix or []]
        if self.matrix is not None and shape != [size] * size:
            raise ConfigError(
                f"threshold.matrix: {len(shape)} rows of {sorted(set(shape))} numbers for {size} classes; give {size} rows of {size}, in "
                f"the order {', '.join(class_names[:8])}{', ...' * (size > 8)}"
            )

    def make(self, rows: Rows, rng: np.random.Generator) -> Rule:
        costs_CC = np.array(self.matrix or [[0.0, self.false_positive], [self.false_negative, 0.0]])
        if self.matrix is not None:
            rule = Rule(self.name, costs_CC=costs_CC)
        else:
            cut = np.log(self.false_positive) - np.log(self.false_negative)
            rule = Rule(self.name, offsets_of(np.asarray(cut), rows.task, len(rows.class_names)))
        if not len(rows.targets) or np.isnan(rows.logits_NC).any():
            return rule
        decided = rule.decide(rows.logits_NC, rows.logits_NC, rows.task)
        paid = costs_CC[rows.targets.astype(np.int64), decided.astype(np.int64)]
        mean = float(np.average(paid.reshape(len(paid), -1).mean(axis=1), weights=rows.weights_N))
        return Rule(self.name, rule.offsets_C, rule.costs_CC, objective="mean cost", value=mean)


class PerLabel(CutThreshold):
    """The best cut of each label of a multi-label task (SCut, Yang 2001).

    A label with fewer than `min_positives` validation rows of its rarer side gets the best cut of all labels together.
    beta is that of `fbeta`. bootstrap: resamples of each label, for its interval; 0 for none.
    """

    name = "per_label"

    def __init__(
        self,
        *,
        objective: Literal["f1", "fbeta", "mcc", "balanced_accuracy", "g_mean"] = "f1",
        beta: PositiveFloat = 2.0,
        min_positives: NonNegativeInt = 50,
        bootstrap: NonNegativeInt = 200,
    ) -> None:
        super().__init__(min_positives=min_positives, bootstrap=bootstrap)
        scores = {"f1": search.fbeta(1.0), "fbeta": search.fbeta(beta), "mcc": search.mcc, "g_mean": search.g_mean}
        self._objective = Objective(objective, scores.get(objective, search.balanced_accuracy))

    @property
    def objective(self) -> Objective:
        return self._objective

    def check(self, task: Task, class_names: Sequence[str]) -> None:
        if task != "multilabel":
            other = "threshold=offsets" if task == "multiclass" else f"threshold={self._objective.name}"
            raise ConfigError(f"threshold=per_label: labels are those of a multi-label task, and this one is {task}; use {other}")

    def make(self, rows: Rows, rng: np.random.Generator) -> Rule:
        found: dict[int, tuple[float, float, np.ndarray | None]] = {}
        for c, (scores_N, positive_N) in enumerate(zip(rows.logits_NC.T, rows.targets.T, strict=True)):
            if too_little(scores_N, positive_N, self.min_positives):
                continue
            draws = search.stratified(positive_N, self.bootstrap, rng)
            cuts_R = search.resampled_cuts(scores_N, positive_N, rows.weights_N, self.objective, draws)
            found[c] = (*search.best_cut(scores_N, positive_N, rows.weights_N, self.objective), search.interval(cuts_R))
        labels = len(rows.class_names)
        if len(found) == labels:
            return self._rule(found, None, labels, None)
        together = super().make(rows, rng)
        if not found or together.offsets_C is None:
            return together
        few = [str(name) for c, name in enumerate(rows.class_names) if c not in found]
        return self._rule(found, together, labels, _few(self.name, few, labels, self.min_positives, "get the threshold of all together"))

    def _rule(
        self, found: dict[int, tuple[float, float, np.ndarray | None]], together: Rule | None, labels: int, reason: str | None
    ) -> Rule:
        offsets_C = np.zeros(labels) if together is None or together.offsets_C is None else together.offsets_C.copy()
        spans_2C = np.zeros((2, labels))
        if together is not None and together.interval is not None:
            spans_2C[:] = together.interval[:, None]
        for c, (cut, _, span) in found.items():
            offsets_C[c] = -cut
            if span is not None:
                spans_2C[:, c] = span
        values = [value for _, value, _ in found.values()]
        objective, reached = f"mean {self.objective.name}", float(np.mean(values))
        return Rule(self.name, offsets_C, None, spans_2C if self.bootstrap else None, objective, reached, reason)


class Offsets(Threshold):
    """A number added to each class's natural logit, of the best `objective` on validation: logit adjustment (Menon et al. 2021), learned.

    One class at a time, each over all places where a decision changes, until a sweep over the classes gains nothing or `sweeps` are done.
    A class with fewer than `min_positives` validation rows keeps 0. Costs a sort of the rows and a pass over all logits for each class.
    bootstrap: resamples, stratified by class, for the interval of each offset; 0 for none. Each costs one more sweep: it starts from the
    offsets found, so the interval is how far they move, and not where another maximum lies.
    """

    name = "offsets"
    chooses = True

    def __init__(
        self,
        *,
        objective: Literal["f1_macro", "balanced_accuracy", "g_mean", "mcc"] = "f1_macro",
        min_positives: NonNegativeInt = 50,
        sweeps: PositiveInt = 10,
        bootstrap: NonNegativeInt = 50,
    ) -> None:
        self.objective = objective
        self.min_positives = min_positives
        self.sweeps = sweeps
        self.bootstrap = bootstrap

    def check(self, task: Task, class_names: Sequence[str]) -> None:
        if task != "multiclass":
            other = "threshold=per_label" if task == "multilabel" else "threshold=f1, which is one number for both classes"
            raise ConfigError(f"threshold=offsets: it is for several classes of which one is decided, and this task is {task}; use {other}")

    def make(self, rows: Rows, rng: np.random.Generator) -> Rule:
        logits_NC, targets, names = rows.logits_NC, rows.targets, rows.class_names
        if not np.isfinite(logits_NC).all():
            return self.as_trained("validation has logits that are not finite numbers")
        rows_C = np.bincount(targets, minlength=len(names))
        free = np.flatnonzero(rows_C >= max(self.min_positives, 1))
        if len(free) == 0 or (rows_C > 0).sum() < 2:
            most = rows_C.max(initial=0)
            return self.as_trained(
                f"validation has {len(targets)} rows of {(rows_C > 0).sum()} classes, {most} of the largest, and "
                f"threshold.min_positives={self.min_positives}"
            )
        weights_N = np.ones(len(targets)) if rows.weights_N is None else rows.weights_N
        scored = logits_NC, targets, weights_N, OBJECTIVES[self.objective], free
        offsets_C, value = ascend(*scored, self.sweeps)
        draws = search.stratified(targets, self.bootstrap, rng)
        spans_2C = np.percentile(resampled(*scored, offsets_C, draws), [2.5, 97.5], axis=0) if self.bootstrap else None
        reason = _few(self.name, [str(names[c]) for c in range(len(names)) if c not in free], len(names), self.min_positives, "keep 0")
        # While a class has no recall, the ascent counts such classes down from 0.
        reached = max(value, 0.0) if self.objective == "g_mean" else value
        return Rule(self.name, offsets_C, None, spans_2C, self.objective, reached, reason)


def _few(name: str, few: list[str], total: int, least: int, instead: str) -> str | None:
    """Say which classes have too few rows, and what becomes of them; None where there are none."""
    if not few:
        return None
    shown = ", ".join(few[:5]) + ", ..." * (len(few) > 5)
    reason = f"{len(few)} of {total} classes have fewer than {least} rows in validation and {instead}: {shown}"
    logger.warning("threshold=%s: %s (threshold.min_positives)", name, reason)
    return reason
