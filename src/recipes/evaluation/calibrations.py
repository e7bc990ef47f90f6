"""The kind of `calibration`, and the options that fit nothing. N rows, C classes or labels."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from recipes.errors import ConfigError
from recipes.evaluation.calibrators import Calibrator, Closed, Raw
from recipes.evaluation.fitting import Sample

if TYPE_CHECKING:
    from recipes.data.facts import Task
    from recipes.priors import Ledger

logger = logging.getLogger(__name__)


class Calibration:
    """How to calibrate: `fit` sees validation rows, and what it returns maps any rows.

    An option overrides `make`, and `refuse` if need be.
    """

    def check(self, ledger: Ledger, targets: np.ndarray, weights: np.ndarray | None, task: Task) -> None:
        """Raise ConfigError where validation's rows cannot be fitted. Needs no logits, so it can be asked before training."""
        self.refuse(ledger, Sample.of(targets, weights, task, len(ledger.natural_C)))

    def fit(
        self,
        raw_NC: np.ndarray,
        ledger: Ledger,
        targets: np.ndarray,
        weights: np.ndarray | None,
        task: Task,
        class_names: Sequence[str] = (),
    ) -> Calibrator:
        """The calibrator for validation's raw logits (N, C) and targets: (N,) classes, or (N, C) of 0 and 1; weights are (N,) >= 0.

        Raises ConfigError as `check` does; `class_names` are for messages.
        """
        sample = Sample.of(targets, weights, task, len(ledger.natural_C))
        self.refuse(ledger, sample)
        return self.make(np.asarray(raw_NC)[sample.kept_N], ledger, sample, class_names)

    def believed(self, ledger: Ledger, raw_NC: np.ndarray, targets: np.ndarray, weights: np.ndarray | None) -> Ledger:
        """The ledger to go by, as validation shows; `fit` is then asked with it."""
        return ledger

    def refuse(self, ledger: Ledger, sample: Sample) -> None:
        """Raise ConfigError for rows that cannot be fitted."""

    def make(self, raw_NC: np.ndarray, ledger: Ledger, sample: Sample, class_names: Sequence[str]) -> Calibrator:
        """The calibrator; rows without weight are left out already."""
        raise NotImplementedError


class NoCalibration(Calibration):
    """The probabilities of the network as it was trained: those of the sampler's and the loss's prior."""

    def make(self, raw_NC: np.ndarray, ledger: Ledger, sample: Sample, class_names: Sequence[str]) -> Calibrator:
        return Raw()


class PriorCorrection(Calibration):
    """The ledger's closed form (Elkan 2001; Saerens et al. 2002): exact for samplers, weights, logit adjustment and focal loss."""

    def make(self, raw_NC: np.ndarray, ledger: Ledger, sample: Sample, class_names: Sequence[str]) -> Calibrator:
        if not ledger.exact:
            logger.warning(
                "calibration: the closed form is not exact (%s); calibration=platt, vector or isotonic fits the rest on validation",
                "; ".join(ledger.approximate),
            )
        return Closed()


class FocalInverse(PriorCorrection):
    """The closed form behind a focal loss, whose probabilities lean to one half (Charoenphakdee et al. 2021), and the prior's.

    The map is that of `prior`; this name insists on a focal loss. Raises ConfigError where the loss has no focal factor.
    """

    def believed(self, ledger: Ledger, raw_NC: np.ndarray, targets: np.ndarray, weights: np.ndarray | None) -> Ledger:
        """The ledger to go by, as validation shows; `fit` is then asked with it."""
        return ledger

    def refuse(self, ledger: Ledger, sample: Sample) -> None:
        if ledger.loss.focus <= 0:
            raise ConfigError(
                "calibration=focal_inverse undoes a focal loss, and the loss here has no focal factor; use calibration=auto, or loss=focal"
            )
