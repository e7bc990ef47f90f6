"""What settings mean for the data at hand: refused or noted once the parts of a run are built, and before its first step. C classes."""

from __future__ import annotations

import logging
import math

import numpy as np

from recipes.augmentation import Augment
from recipes.cli.compatibility import chosen_on_validation, has_batch_norm, reads_probabilities
from recipes.cli.readout import labels_of, readout_parts
from recipes.cli.settings import Settings
from recipes.config import resolve
from recipes.data import Dataset, Task
from recipes.errors import ConfigError
from recipes.evaluation import Calibration, NoCalibration, PerLabel
from recipes.losses import Loss
from recipes.priors import Ledger
from recipes.reporting.formatting import shorten
from recipes.sampling import HardNegatives, Plan, Sampler
from recipes.training.balance import Balance

log = logging.getLogger(__name__)
_MOVED = math.log(1.25)  # a class that is dealt a quarter more or less often than it occurs
_SCHEMES = ("weights", "pos_weight", "alpha")  # settings of losses that name a scheme of weights, or hold weights as numbers


def check_built(settings: Settings, data: Dataset, plan: Plan, augment: Augment, loss: Loss, balance: Balance, ledger: Ledger) -> list[str]:
    """Raise ConfigError for parts that do not fit together on this data; returns notes and warnings for the audit."""
    balanced = balance.moved > _MOVED
    if balanced and loss.explicit_weights and loss.rebalances and not settings.top.allow_double_correction:
        raise ConfigError(
            "sampler and loss: the sampler balances the classes, and the loss was given weights as numbers: both together count twice; use "
            "automatic weights, which are taken from what the sampler deals, or sampler=shuffle, or allow_double_correction=true"
        )
    _check_mixtures(plan, augment, data)
    _check_readout(settings, data, ledger)
    mines_negatives = issubclass(resolve(Sampler, settings.group("sampler"), "sampler", settings.top.trust), HardNegatives)
    if not mines_negatives:  # whose epochs are short by design
        _check_rows_left(settings, data, balance)
    deferred = settings.top.reweight.start is not None
    if deferred and not (balanced or loss.rebalances or mines_negatives):
        raise ConfigError(
            "reweight.start: neither the sampler nor the loss rebalances classes here, so there is nothing to defer; "
            "use loss=weighted_ce, loss=balanced_softmax or sampler=class_balanced with it"
        )
    if mines_negatives and not deferred and settings.top.init.run is None:
        log.warning(
            "sampler=hard_negatives: an untrained network cannot tell hard negatives from others, and none was given to start from; "
            "use scripts/mine.py run=<run directory>, or reweight.start=50%"
        )
    return _notes(settings, loss, balance, balanced) + _too_few(settings, data)


def _too_few(settings: Settings, data: Dataset) -> list[str]:
    """A warning where validation has too few rows to choose the threshold by, which the fit after training says as well: too late.

    Of all rows; where a fitted calibration takes half of them, the fit may find too few even so.
    """
    threshold, val = readout_parts(settings)[1], data.val
    least = getattr(threshold, "min_positives", None)
    if not threshold.chooses or val is None or least is None:
        return []
    task, names = data.facts.task, data.facts.class_names
    rows_K = _rarer(val.labels()[val.weights.cpu().numpy() > 0], task, len(names), isinstance(threshold, PerLabel))
    few = np.flatnonzero(rows_K < max(least, 1))
    if len(few) == 0:
        return []
    if len(rows_K) == 1:
        what = f"validation has {rows_K[0]:,} rows of the rarer side, so threshold={threshold.name} will change no decision"
    else:
        some = ", ".join(shorten(names[c], 30) for c in few[:5]) + ", ..." * (len(few) > 5)
        noun = "classes" if task == "multiclass" else "labels"
        alone = f"for a choice of their own by threshold={threshold.name}"
        what = f"{len(few)} of {len(names)} {noun} have too few rows in validation {alone}: {some}"
    return [f"warning: {what}; give validation more rows, or lower threshold.min_positives={least}"]


def _rarer(targets: np.ndarray, task: Task, num_classes: int, per_label: bool) -> np.ndarray:
    """(K,) rows that each of K choices hangs on: a class has its own, a cut those of its rarer side."""
    if task == "multiclass":
        return np.bincount(targets, minlength=num_classes)
    positive = targets > 0
    axis = 0 if per_label else None
    return np.atleast_1d(np.minimum(positive.sum(axis=axis), (~positive).sum(axis=axis)))


def _notes(settings: Settings, loss: Loss, balance: Balance, balanced: bool) -> list[str]:
    notes: list[str] = []
    own = settings.group("loss")
    automatic = loss.rebalances or any(isinstance(own.get(name), str) and own[name] != "none" for name in _SCHEMES)
    if balanced and automatic and not loss.explicit_weights:
        notes.append("weights and adjustments of the loss are those of what the sampler deals, so that nothing is balanced twice")
    if issubclass(resolve(Calibration, settings.group("calibration"), "calibration", settings.top.trust), NoCalibration) and balanced:
        notes.append("calibration=none: the probabilities stay those of the prior that the network fits")
    if has_batch_norm(settings.plain) and balance.shifted:
        if settings.trainer.bn_recalibrate is False:
            log.warning(
                "trainer.bn_recalibrate=false: batch norm keeps the statistics of what the sampler deals, and rows to predict are not like "
                "it; bn_recalibrate=auto takes them from rows as they are"
            )
        else:
            notes.append("batch norm's statistics are taken from rows as they are before each evaluation: trainer.bn_recalibrate")
    return notes


def _check_mixtures(plan: Plan, augment: Augment, data: Dataset) -> None:
    if augment.mixes and data.train.weighted:
        raise ConfigError(
            "augment and data.weight: a mixture of two rows has no weight of its own; "
            "use augment=eda or augment=gaussian_noise, or data.weight=null"
        )
    if augment.changes and plan.mix is not None:
        raise ConfigError(
            "augment and sampler: the sampler deals mixtures of two rows, which have no text or features of their own to change; "
            "use augment=none, or sampler=class_balanced, which deals rows as they are"
        )


def _check_rows_left(settings: Settings, data: Dataset, balance: Balance) -> None:
    size, rows = settings.trainer.batch_size, data.facts.train_rows
    if balance.dealt_rows < size <= rows:
        raise ConfigError(
            f"sampler: {balance.dealt_rows} rows are left of {rows:,}, less than one batch of {size}; "
            "use a smaller trainer.batch_size, or deal more: sampler.ratio, sampler.epoch_size=natural, or sampler=class_balanced"
        )


def _check_readout(settings: Settings, data: Dataset, ledger: Ledger) -> None:
    """Whether validation can give what calibration and threshold ask for: better now than after a night of training."""
    facts, val = data.facts, data.val
    calibration, threshold = readout_parts(settings)
    threshold.check(facts.task, facts.class_names)
    if val is None and threshold.chooses:
        raise ConfigError(chosen_on_validation(type(threshold)))
    if isinstance(calibration, NoCalibration) and reads_probabilities(type(threshold)) and not (ledger.trivial and ledger.exact):
        raise ConfigError(
            f"calibration and threshold: threshold={threshold.name} reads probabilities, and calibration=none leaves those of what the "
            "sampler and the loss make of the classes; use calibration=prior or calibration=auto, or threshold=none"
        )
    calibration.check(ledger, labels_of(val, facts), None if val is None else val.given_weights, facts.task)
