"""Settings of the loop: what stands under `trainer` in the config."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from recipes.config import Duration
from recipes.config.types import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Range

USUAL_EPOCHS, USUAL_STEPS = 10, 1000


@dataclass(frozen=True)
class EarlyStopping:
    """When to stop because validation no longer improves."""

    monitor: str | None = None  # null: the config's `monitor`
    mode: Literal["auto", "min", "max"] = "auto"  # auto: the direction of the metric
    patience: PositiveInt | None = 5  # evaluations without improvement; null: never stop early
    min_steps: NonNegativeInt = 1000  # updates before which nothing stops early: at first a rare class may not be predicted at all
    min_delta: NonNegativeFloat = 0.0  # a smaller gain than this is not an improvement


@dataclass(frozen=True)
class Checkpointing:
    """When `checkpoints/last.pt` is written, and how many older ones stay beside it."""

    every: Duration | None = None  # null: with each evaluation
    keep: PositiveInt = 1  # 1: last.pt only; n: also the n - 1 before it, as step-<n>.pt


@dataclass(frozen=True)
class Trainer:
    """The loop's settings. Strings of durations are parsed by the loop, which knows the steps of an epoch."""

    max_epochs: PositiveInt | None = None  # null: 10, and on small data as many as 1,000 updates take
    max_steps: PositiveInt | None = None  # optimizer updates; the smaller of the two limits holds
    batch_size: PositiveInt = 128  # rows of a forward pass
    eval_batch_size: PositiveInt = 1024
    accumulate: PositiveInt = 1  # forward passes to one update: the effective batch is batch_size x accumulate
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"  # of the products in training; the scores at its end are computed in fp32
    device: str = "auto"  # auto | cpu | cuda | cuda:N
    clip: Literal["norm", "value", "agc", "none"] = "norm"
    clip_value: PositiveFloat = 1.0
    ema: Annotated[float, Range(gt=0, lt=1)] | None = None  # decay of the averaged weights; null: none
    compile: bool = False
    deterministic: bool = False
    fused: bool = True  # models that have a step without autograd train in it, where the settings allow it
    eval_every: Duration | None = None  # null: each epoch, or where epochs are short every 50 updates (25 times in a run below 1,250)
    log_every: PositiveInt = 50  # updates between two log points
    bn_recalibrate: Literal["auto"] | bool = "auto"  # batch norm's statistics from natural rows; auto: where training sees others
    threads: PositiveInt | None = None  # CPU threads; null: torch's choice
    progress: Literal["auto", "bar", "log", "off"] = "auto"
    early_stopping: EarlyStopping = field(default_factory=EarlyStopping)
    checkpoint: Checkpointing = field(default_factory=Checkpointing)

    @property
    def window(self) -> int:
        """Samples of one update."""
        return self.batch_size * self.accumulate


def total_steps(settings: Trainer, steps_per_epoch: int) -> int:
    """Optimizer updates of the whole run: the smaller of the two limits. Without any, 10 epochs, or 1,000 updates where these are more."""
    if settings.max_epochs is None:
        return settings.max_steps or max(USUAL_EPOCHS * steps_per_epoch, USUAL_STEPS)
    by_epochs = settings.max_epochs * steps_per_epoch
    return by_epochs if settings.max_steps is None else min(by_epochs, settings.max_steps)
