"""The options of `calibration` that are fitted on validation rows, after the ledger's closed form.

N rows, C classes or labels, M margins. Every fit minimises a mean over rows by weight, so the scale of the weights has no effect and a
weight of two is a row that comes twice. Parametric fits start at the identity and are drawn to it by `l2` (half of it times the squared
log scales and biases, beside a mean loss in nats): the log loss on validation is never worse than at the start, and separable rows give
finite numbers, for which Platt (1999) smooths the targets.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from recipes.config.types import NonNegativeFloat, PositiveInt
from recipes.errors import ConfigError
from recipes.evaluation.calibrations import Calibration
from recipes.evaluation.calibrators import BetaMap, Calibrator, Closed, Platt, Steps, Temperature, Vector, logs_of
from recipes.evaluation.decisions import log_probabilities, margins
from recipes.evaluation.fitting import Sample, increasing, sigmoid, softmax, temperature
from recipes.evaluation.reliability import calibration_summary

if TYPE_CHECKING:
    from recipes.data.facts import Task
    from recipes.priors import Ledger

logger = logging.getLogger(__name__)
# With fewer validation rows a fitted map often does more harm than good (AutoGluon's guards for calibrating any model).
_ENOUGH = {"binary": 3000, "multiclass": 500, "multilabel": 3000}


class Fitted(Calibration):
    """A map fitted on the natural logits of validation. Logits that are not finite numbers leave the closed form, with a warning."""

    name: ClassVar[str]
    apart: ClassVar[tuple[Task, ...]]  # tasks in which each margin is fitted on its own rows

    def refuse(self, ledger: Ledger, sample: Sample) -> None:
        if not sample.two_sided_M.any():
            what = "no label with rows that have it and rows that do not" if sample.task == "multilabel" else "rows of one class at most"
            raise ConfigError(
                f"calibration={self.name}: validation has {what} ({sample.rows} rows), so there is nothing to fit; use calibration=prior, "
                "which fits nothing, or a larger data.val_fraction"
            )

    def make(self, raw_NC: np.ndarray, ledger: Ledger, sample: Sample, class_names: Sequence[str]) -> Calibrator:
        natural_NC = ledger.natural(raw_NC)
        if not np.isfinite(natural_NC).all():
            logger.warning("calibration=%s: logits of validation are not finite, so nothing is fitted: the closed form alone", self.name)
            return Closed()
        self._warn(ledger, sample, class_names)
        return self.fitted(natural_NC, sample)

    def fitted(self, natural_NC: np.ndarray, sample: Sample) -> Calibrator:
        """The calibrator for finite natural logits."""
        raise NotImplementedError

    def _warn(self, ledger: Ledger, sample: Sample, class_names: Sequence[str]) -> None:
        if sample.rows < _ENOUGH[sample.task]:
            logger.warning(
                "calibration=%s: fitted on %d validation rows; with fewer than %d (%s) it may do more harm than calibration=prior, which "
                "fits nothing", self.name, sample.rows, _ENOUGH[sample.task], sample.task,
            )  # fmt: skip
        if sample.task in self.apart and not sample.two_sided_M.all():
            left = np.flatnonzero(~sample.two_sided_M)
            shown = ", ".join(str(class_names[c]) if len(class_names) else f"number {c}" for c in left[:5]) + ", ..." * (len(left) > 5)
            logger.warning(
                "calibration=%s: all rows of validation are on one side of %d of %d classes (%s), which keep the closed form",
                self.name, len(left), len(sample.two_sided_M), shown,
            )  # fmt: skip


class TemperatureScaling(Fitted):
    """One T > 0 that all natural logits are divided by, of least log loss (Guo et al. 2017). The order of a row's classes stays.

    It mends over- and underconfidence and cannot mend a prior: where the closed form is not exact, `vector` and `platt` have a bias that
    can. T stays between 1/20 and 20.
    """

    name = "temperature"
    apart = ()

    def __init__(self, *, l2: NonNegativeFloat = 0.0001) -> None:
        self.l2 = l2

    def fitted(self, natural_NC: np.ndarray, sample: Sample) -> Calibrator:
        return Temperature(temperature(natural_NC, sample, self.l2))

    def _warn(self, ledger: Ledger, sample: Sample, class_names: Sequence[str]) -> None:
        super()._warn(ledger, sample, class_names)
        if not ledger.exact:
            logger.warning(
                "calibration=temperature has no bias and cannot mend a prior that is off (%s); calibration=%s can",
                "; ".join(ledger.approximate), "vector" if sample.task == "multiclass" else "platt",
            )  # fmt: skip


class VectorScaling(Fitted):
    """A positive scale and a bias for each class on the natural log-probabilities, by the multinomial log loss; by label for multi-label.

    Vector scaling (Guo et al. 2017) of log-probabilities, not of logits, so that a number added to all logits of a row changes nothing: the
    diagonal case of Dirichlet calibration (Kull et al. 2019), and for two classes beta calibration.
    """

    name = "vector"
    apart = ("multilabel",)

    def __init__(self, *, l2: NonNegativeFloat = 0.0001) -> None:
        self.l2 = l2

    def fitted(self, natural_NC: np.ndarray, sample: Sample) -> Calibrator:
        if sample.task == "multilabel":
            scales_KM, bias_M = sigmoid([natural_NC], sample, self.l2)
            return Vector(scales_KM[0], bias_M)
        return Vector(*softmax(log_probabilities(natural_NC), sample, self.l2))


class PlattScaling(Fitted):
    """A positive slope and a bias on the log-odds (Platt 1999), for each label, or each class against the rest and divided by the sum."""

    name = "platt"
    apart = ("binary", "multiclass", "multilabel")

    def __init__(self, *, l2: NonNegativeFloat = 0.0001) -> None:
        self.l2 = l2

    def fitted(self, natural_NC: np.ndarray, sample: Sample) -> Calibrator:
        slopes_KM, bias_M = sigmoid([margins(natural_NC, sample.task)], sample, self.l2)
        return Platt(slopes_KM[0], bias_M)


class BetaCalibration(Fitted):
    """Log-odds a ln p - b ln(1 - p) + c with a, b > 0 (Kull et al. 2017), which also mend scores crowded at one end.

    For each label, or each class against the rest and divided by the sum.
    """

    name = "beta"
    apart = ("binary", "multiclass", "multilabel")

    def __init__(self, *, l2: NonNegativeFloat = 0.0001) -> None:
        self.l2 = l2

    def fitted(self, natural_NC: np.ndarray, sample: Sample) -> Calibrator:
        log_p_NM, log_rest_NM = logs_of(margins(natural_NC, sample.task))
        scales_KM, bias_M = sigmoid([log_p_NM, -log_rest_NM], sample, self.l2)
        return BetaMap(scales_KM[0], scales_KM[1], bias_M)


class IsotonicCalibration(Fitted):
    """The best increasing function of the log-odds (Zadrozny & Elkan 2002), for each label, or each class against the rest over the sum.

    Its levels make ties, so areas under curves may fall a little. Probabilities stay 1/(n + 2) away from 0 and 1 for n rows. It overfits
    few rows: with fewer than `min_rows` it is refused (ConfigError).
    """

    name = "isotonic"
    apart = ("binary", "multiclass", "multilabel")

    def __init__(self, *, min_rows: PositiveInt = 1000) -> None:
        self.min_rows = min_rows

    def refuse(self, ledger: Ledger, sample: Sample) -> None:
        super().refuse(ledger, sample)
        if sample.rows < self.min_rows:
            raise ConfigError(
                f"calibration=isotonic: validation has {sample.rows} rows, and it overfits fewer than {self.min_rows}; use "
                f"calibration=platt or beta, or set calibration.min_rows={sample.rows} at your own risk"
            )

    def fitted(self, natural_NC: np.ndarray, sample: Sample) -> Calibrator:
        return Steps(increasing(margins(natural_NC, sample.task), sample))


class AutoCalibration(Calibration):
    """The ledger's closed form where that is exact; else `vector` (multiclass) or `platt` (binary, multi-label) on top of it.

    Fitted only with `min_rows` validation rows and, unless multiclass, with `min_positives` rows of the rarer side; a label with fewer
    keeps the closed form. Where nothing is fitted a warning says why. A fit here has to beat a form that is known to be off, so it asks
    for fewer rows than one for a model that needs no correction.

    A focal loss is inverted where that lowers the log loss of validation: the closed form is that of the optimum, and a network that has
    learned its rows by heart is overconfident by about as much as a focal loss takes back (Mukhoti et al. 2020).
    """

    def __init__(self, *, min_rows: PositiveInt = 500, min_positives: PositiveInt = 50) -> None:
        self.min_rows = min_rows
        self.min_positives = min_positives

    def believed(self, ledger: Ledger, raw_NC: np.ndarray, targets: np.ndarray, weights: np.ndarray | None) -> Ledger:
        if ledger.loss.focus == 0 or len(targets) < self.min_rows:
            return ledger
        bent = replace(ledger, loss=replace(ledger.loss, focus=0.0))
        summaries = (calibration_summary(each.natural(raw_NC), targets, ledger.task, weights) for each in (ledger, bent))
        inverted, left = (summary["log_loss"] for summary in summaries)
        if not left < inverted:
            return ledger
        logger.info(
            "calibration: the focal loss is not inverted, since validation's log loss is %.4f without and %.4f with it; "
            "calibration=focal_inverse does it all the same",
            left, inverted,
        )  # fmt: skip
        return bent

    def make(self, raw_NC: np.ndarray, ledger: Ledger, sample: Sample, class_names: Sequence[str]) -> Calibrator:
        if ledger.exact:
            return Closed()
        natural_NC = ledger.natural(raw_NC)
        several = sample.task == "multiclass"
        sample = sample if several else sample.needing(self.min_positives)
        if not np.isfinite(natural_NC).all():
            lacking = "it has logits that are not finite"
        elif sample.rows < self.min_rows:
            lacking = f"it has {sample.rows} rows of calibration.min_rows={self.min_rows}"
        elif not sample.two_sided_M.any():
            lacking = f"its rarer side has {sample.rarer_M.max()} rows of calibration.min_positives={sample.least}"
        else:
            return (VectorScaling() if several else PlattScaling()).fitted(natural_NC, sample)
        logger.warning(
            "calibration: the closed form is not exact (%s), and nothing is fitted on validation, since %s: probabilities are approximate; "
            "more validation rows mend that%s",
            "; ".join(ledger.approximate), lacking,
            f", and calibration={'vector' if several else 'platt'} fits the few all the same" if sample.rows else "",
        )  # fmt: skip
        return Closed()
