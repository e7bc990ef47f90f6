"""The whole config, checked before any data is read: every group against its kind, every key against a signature."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from recipes.augmentation import Augment
from recipes.cli.compatibility import adapt, check_together
from recipes.config import Duration, build_plain, check, check_settings, check_value, fail
from recipes.config.types import NonNegativeInt
from recipes.data import Features, Source, Task
from recipes.errors import ConfigError, did_you_mean
from recipes.evaluation import Calibration, Threshold, check_monitor, direction
from recipes.losses import Loss
from recipes.models import Model
from recipes.optim import Schedule, optimizer_problems
from recipes.sampling import Sampler
from recipes.training.events import Listener
from recipes.training.precision import check_precision, resolve_device
from recipes.training.settings import Trainer

GROUPS: dict[str, type] = {
    "data": Source,
    "features": Features,
    "model": Model,
    "sampler": Sampler,
    "mining": Sampler,
    "loss": Loss,
    "scheduler": Schedule,
    "augment": Augment,
    "calibration": Calibration,
    "threshold": Threshold,
    "logger": Listener,
}
# Keys that do not change what is learned: they may differ when a run is resumed.
_FREE_IN_TRAINER = ("progress", "device", "log_every", "threads", "checkpoint")
FREE_KEYS = ("resume", "logger", "data.cache", *(f"trainer.{key}" for key in _FREE_IN_TRAINER))
_BETTER = {"max": "larger", "min": "smaller"}


@dataclass(frozen=True)
class Reweight:
    """From when on classes are rebalanced (Cao et al. 2019): by the loss's weights and adjustments, and by the sampler."""

    start: Duration | None = None  # null: from the beginning


@dataclass(frozen=True)
class Init:
    """Which weights training starts from."""

    run: str | None = None  # a finished run, whose data and model are the same
    train: Literal["all", "head", "scale"] = "all"  # head: the encoder stays; scale: one factor a class is learned
    reset_head: bool = False  # the last layer starts anew


@dataclass(frozen=True)
class Top:
    """Keys that stand beside the groups."""

    seed: NonNegativeInt = 0
    task: Task | None = None
    monitor: str = "val/f1_macro"
    resume: str | None = None
    trust: list[str] = dataclasses.field(default_factory=list)
    reweight: Reweight = dataclasses.field(default_factory=Reweight)
    init: Init = dataclasses.field(default_factory=Init)
    allow_double_correction: bool = False


@dataclass(frozen=True)
class Settings:
    """A checked config. Groups stay mappings until their component is built; the rest is typed."""

    plain: dict[str, Any]
    trainer: Trainer
    top: Top
    device: torch.device
    notes: list[str] = dataclasses.field(default_factory=list)  # what was adapted

    def group(self, name: str) -> dict[str, Any]:
        return self.plain[name]

    def identity(self) -> dict[str, Any]:
        """The part of the config that a resumed run must share with its checkpoint."""
        flat = dict(_flatten(self.plain))
        return {k: v for k, v in flat.items() if not any(k == free or k.startswith(f"{free}.") for free in FREE_KEYS)}


def read_settings(config: DictConfig | Mapping[str, Any]) -> Settings:
    """Plain, checked settings from a composed config. One ConfigError lists every problem."""
    plain = _to_plain(config)
    top_values = {k: v for k, v in plain.items() if k not in GROUPS and k not in ("trainer", "optimizer")}
    known = [*GROUPS, "optimizer", "trainer", *(f.name for f in dataclasses.fields(Top))]
    problems = [f"{k}: unknown setting; {did_you_mean(k, known)}" for k in top_values if k not in known]
    for f in dataclasses.fields(Top):
        if f.name in top_values:
            problems += check_value(top_values[f.name], _top_type(f.name), f.name)
    trust = top_values.get("trust") or []
    for name, kind in GROUPS.items():
        problems += check(kind, plain.get(name), name, trust=trust)
    problems += optimizer_problems(plain.get("optimizer"), trust)
    problems += check_settings(Trainer, plain.get("trainer"), "trainer")
    fail(problems)
    top = build_plain(Top, top_values, "config")
    trainer = build_plain(Trainer, plain["trainer"], "trainer")
    device = resolve_device(trainer.device)
    check_precision(trainer.precision, device)
    check_monitor(top.monitor, top.task)
    stopping = trainer.early_stopping
    if stopping.monitor is not None:
        check_monitor(stopping.monitor, top.task)
    follows = stopping.monitor or top.monitor
    if stopping.mode not in ("auto", direction(follows)):
        raise ConfigError(f"trainer.early_stopping.mode: {follows} is better when it is {_BETTER[direction(follows)]}; use mode=auto")
    notes = adapt(plain, top)
    check_together(plain, top, trainer)
    return Settings(plain, trainer, top, device, notes)


def _to_plain(config: DictConfig | Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(config, DictConfig):
        return dict(config)
    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        where = f"{error.full_key}: " if getattr(error, "full_key", None) else ""
        hint = "; between the braces stands the whole name of a setting: ${trainer.batch_size}" if "nterpolation" in str(error) else ""
        raise ConfigError(f"{where}{str(error).splitlines()[0]}{hint}") from error
    assert isinstance(plain, dict)
    return {str(k): v for k, v in plain.items()}


def _top_type(name: str) -> Any:
    return typing.get_type_hints(Top, include_extras=True)[name]


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Any:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
