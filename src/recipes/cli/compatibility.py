"""Settings that are legal alone and not together, as far as that shows before any data is read: adapted with a note, or refused.

A rule returns its message, with the way out, or None. What depends on the data is in `compatibility_built`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recipes.augmentation import Augment
from recipes.config import Duration, check_value, fail, resolve, settings_of
from recipes.config.build import TARGET
from recipes.errors import ConfigError
from recipes.evaluation import Calibration, CostThreshold, FixedThreshold, NoCalibration, PriorCorrection, Threshold
from recipes.losses import Loss
from recipes.models import Model
from recipes.optim import Schedule, check_sam
from recipes.sampling import Sampler, Shuffle, StratifiedBatch

if TYPE_CHECKING:
    from recipes.cli.settings import Top
    from recipes.data import Task
    from recipes.training.settings import Trainer

_WITH_HEAD = {  # the models that have what a loss may ask for, and a loss that asks for nothing
    "head=cosine": "model=textcnn, model=fasttext or model=mlp, or loss=balanced_softmax",
    "head=hierarchical": "model=fasttext, or loss=cross_entropy",
}
_NEEDS_PROBABILITIES = ("log_loss", "brier", "ece", "ece_classwise")


def adapt(plain: dict[str, Any], top: Top) -> list[str]:
    """Change settings in place where a loss cannot do without; returns a note for each change."""
    notes, trust = [], top.trust
    loss = resolve(Loss, plain["loss"], "loss", trust)
    model = resolve(Model, plain["model"], "model", trust)
    asked = loss.asks_of_model(plain["loss"])
    known = settings_of(model)
    lacking = [f"{name}={value}" for name, value in asked.items() if name not in known or check_value(value, known[name][0], name)]
    if lacking:
        raise ConfigError(
            f"loss: {loss.__name__} needs a model with the setting {lacking[0]}, and {model.__name__} has none; "
            f"use {_WITH_HEAD.get(lacking[0], 'another model, or loss=cross_entropy')}, which goes with any model"
        )
    changed = {name: value for name, value in asked.items() if plain["model"].get(name) != value}
    if changed:
        plain["model"] = plain["model"] | changed
        notes.append(f"{loss.__name__} needs " + ", ".join(f"model.{name}={value}" for name, value in changed.items()) + ": set")
    return notes


def sampler_settings(plain: dict[str, Any], task: Task, trust: list[str]) -> tuple[dict[str, Any], list[str]]:
    """The settings of `sampler`, or of one that a loss cannot do without, with a note; the task is known once the labels are read."""
    loss = resolve(Loss, plain["loss"], "loss", trust)
    shuffled = resolve(Sampler, plain["sampler"], "sampler", trust) is Shuffle
    if not (loss.batchwise and loss.scores and shuffled) or task == "multilabel":  # rows with several labels cannot be stratified
        return plain["sampler"], []
    stratified = {TARGET: "recipes.sampling.StratifiedBatch"} | {n: d for n, (_, d) in settings_of(StratifiedBatch).items()}
    return stratified, [f"{loss.__name__} compares classes within a batch, so batches are stratified: sampler=stratified_batch"]


def check_together(plain: dict[str, Any], top: Top, trainer: Trainer) -> None:
    """What can be seen before any data is read: one ConfigError lists everything."""
    chosen = _Chosen.of(plain, top, trainer)
    fail([problem for rule in _RULES if (problem := rule(chosen)) is not None])
    check_sam(plain["optimizer"], plain["model"], trainer.precision)


@dataclass(frozen=True)
class _Chosen:
    """The settings of a run and the classes that they name."""

    plain: dict[str, Any]
    top: Top
    trainer: Trainer
    schedule: type[Schedule]
    loss: type[Loss]
    sampler: type[Sampler]
    mining: type[Sampler]
    augment: type[Augment]
    calibration: type[Calibration]
    threshold: type[Threshold]

    @classmethod
    def of(cls, plain: dict[str, Any], top: Top, trainer: Trainer) -> _Chosen:
        def named(kind: type, group: str) -> Any:
            return resolve(kind, plain[group], group, top.trust)

        samplers = named(Sampler, "sampler"), named(Sampler, "mining")
        readout = named(Calibration, "calibration"), named(Threshold, "threshold")
        return cls(plain, top, trainer, named(Schedule, "scheduler"), named(Loss, "loss"), *samplers, named(Augment, "augment"), *readout)

    @property
    def lacks_val(self) -> bool:
        data = self.plain["data"]
        return bool(data.get("val_fraction") == 0 and not (data.get("val") or data.get("split")))

    @property
    def selecting(self) -> str | None:
        """The group that selects samples after the forward pass."""
        return next((group for group in ("mining", "sampler") if _selects(getattr(self, group))), None)


def _plateau_without_validation(chosen: _Chosen) -> str | None:
    if chosen.schedule.observes and chosen.lacks_val:
        return "scheduler=plateau follows a validation metric, and data.val_fraction=0 leaves no validation split"
    return None


def _threshold_without_validation(chosen: _Chosen) -> str | None:
    return chosen_on_validation(chosen.threshold) if chosen.threshold.chooses and chosen.lacks_val else None


def _clip_that_clips_nothing(chosen: _Chosen) -> str | None:
    value = chosen.trainer.clip_value
    if chosen.trainer.clip == "agc" and value > 0.5:
        return f"trainer.clip_value: {value:g} lets agc clip nothing; it bounds the ratio of gradient to weight: 0.01 is usual"
    return None


def _batch_norm_of_one(chosen: _Chosen) -> str | None:
    if has_batch_norm(chosen.plain) and chosen.trainer.batch_size == 1:
        return "model.norm=batch with trainer.batch_size=1: one row has no variance; use model.norm=layer, or larger batches"
    return None


def _scores_that_are_decided_as_probabilities(chosen: _Chosen) -> str | None:
    if chosen.loss.scores and reads_probabilities(chosen.threshold) and issubclass(chosen.calibration, NoCalibration | PriorCorrection):
        return (
            f"loss and threshold: {chosen.loss.__name__} fits no probabilities, and threshold={chosen.threshold.name} reads the logits as "
            "such; use calibration=platt or calibration=auto, which fit them on validation, or a threshold that is chosen there, such as "
            "threshold=f1"
        )
    return None


def _scores_that_are_monitored_as_probabilities(chosen: _Chosen) -> str | None:
    """No calibration helps: it is fitted once, after training."""
    if not chosen.loss.scores:
        return None
    for key, monitor in (("monitor", chosen.top.monitor), ("trainer.early_stopping.monitor", chosen.trainer.early_stopping.monitor)):
        if monitor is not None and monitor.rpartition("/")[2] in _NEEDS_PROBABILITIES:
            return (
                f"loss and {key}: {chosen.loss.__name__} fits no probabilities, and {key}={monitor} measures them while it trains, before "
                f"anything is calibrated; use {key}=val/pr_auc, or loss=cross_entropy"
            )
    return None


def _two_that_select(chosen: _Chosen) -> str | None:
    if _selects(chosen.mining) and _selects(chosen.sampler):
        return "sampler and mining both select samples; choose sampler=shuffle with mining, or mining=none with this sampler"
    return None


def _mining_beside_pairs(chosen: _Chosen) -> str | None:
    if chosen.selecting and chosen.loss.batchwise:
        return (
            f"{chosen.selecting} and loss: {chosen.loss.__name__} compares all samples of a batch, and mining would take most of them "
            f"away; use {_without(chosen.selecting)}, or loss=cross_entropy"
        )
    return None


def _mining_beside_mixtures(chosen: _Chosen) -> str | None:
    if chosen.selecting and chosen.augment.mixes:
        return (
            f"{chosen.selecting} and augment: mixtures are the hardest samples always, so mining would keep little else; "
            f"use {_without(chosen.selecting)}, or augment=none"
        )
    return None


def _mining_that_keeps_nothing(chosen: _Chosen) -> str | None:
    own = chosen.plain[chosen.selecting] if chosen.selecting else {}
    keep, window = own.get("keep_ratio"), chosen.trainer.window
    if keep is not None and own.get("negatives_per_positive") is None and keep * window < 1:
        return (
            f"{chosen.selecting}.keep_ratio: {keep:g} of a batch of {window} is less than one sample; "
            f"use at least {1 / window:.3g}, or a larger trainer.batch_size"
        )
    return None


def _mixtures_beside_pairs(chosen: _Chosen) -> str | None:
    if chosen.augment.mixes and chosen.loss.batchwise:
        return (
            f"augment and loss: {chosen.loss.__name__} compares samples by their label, and a mixture has two; "
            "use augment=none, or loss=cross_entropy"
        )
    return None


def _nothing_left_to_rebalance(chosen: _Chosen) -> str | None:
    start, limits = chosen.top.reweight.start, {"steps": chosen.trainer.max_steps, "epochs": chosen.trainer.max_epochs, "%": 100}
    if start is None:
        return None
    parsed = Duration.parse(start)
    limit = limits[parsed.unit]
    if limit is not None and parsed.amount >= limit:
        return f"reweight.start: {start} is the end of training, and nothing is rebalanced before it; use an earlier start, such as 80%"
    return None


_RULES: tuple[Callable[[_Chosen], str | None], ...] = (
    _plateau_without_validation,
    _threshold_without_validation,
    _clip_that_clips_nothing,
    _batch_norm_of_one,
    _scores_that_are_decided_as_probabilities,
    _scores_that_are_monitored_as_probabilities,
    _two_that_select,
    _mining_beside_pairs,
    _mining_beside_mixtures,
    _mining_that_keeps_nothing,
    _mixtures_beside_pairs,
    _nothing_left_to_rebalance,
)


def reads_probabilities(threshold: type[Threshold]) -> bool:
    """Whether decisions believe the probabilities as they come."""
    return issubclass(threshold, FixedThreshold | CostThreshold)


def chosen_on_validation(threshold: type[Threshold]) -> str:
    """Why a threshold cannot be had, where there is no validation split."""
    return (
        f"threshold={threshold.name}: it is chosen on validation, and there is no validation split; "
        "use data.val_fraction=0.1, or threshold=none, threshold=fixed or threshold=cost"
    )


def has_batch_norm(plain: dict[str, Any]) -> bool:
    return bool(plain["model"].get("norm") == "batch")


def _selects(sampler: type[Sampler]) -> bool:
    return sampler.select is not Sampler.select


def _without(group: str) -> str:
    return "mining=none" if group == "mining" else "sampler=shuffle"
