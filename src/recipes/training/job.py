"""Everything that one run trains with, and the part of it that a checkpoint holds."""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recipes.augmentation import Augment
from recipes.config import Duration
from recipes.data.batch import Batch
from recipes.data.facts import Facts
from recipes.data.split import Split
from recipes.evaluation import Readout
from recipes.losses.base import Loss
from recipes.models.base import Model
from recipes.optim import Schedule, set_lr
from recipes.priors import Ledger
from recipes.randomness import generator
from recipes.sampling.base import Moment, Sampler
from recipes.training import checkpoint
from recipes.training.balance import Balance
from recipes.training.batchnorm import recalibrated
from recipes.training.events import Listener
from recipes.training.fused import FusedStep, fused_step
from recipes.training.interrupt import Interrupt
from recipes.training.meter import Meter, all_finite, bad_weights
from recipes.training.precision import Precision
from recipes.training.scoring import score
from recipes.training.settings import Trainer
from recipes.training.sharpness import SharpnessAware
from recipes.training.state import Position, restore, state_of
from recipes.training.step import Ema, Gather, Step
from recipes.training.stopping import Stopper

log = logging.getLogger(__name__)


@dataclass
class Job:
    """One run, ready to train. `cli` puts it together; `fit` drives it."""

    run_dir: Path
    config: dict[str, Any]  # plain values; a checkpoint of another config is refused
    settings: Trainer
    seed: int
    facts: Facts
    model: Model
    loss: Loss
    sampler: Sampler
    miner: Sampler
    optimizer: Any
    schedule: Schedule
    clip: Callable[[], Tensor | None]  # bounds the gradients; returns their norm before that
    augment: Augment
    gather: Gather
    labels: np.ndarray  # targets of the plan's samples
    weighted: bool  # the rows' weights weigh the loss
    balance: Balance
    recalibrate: bool  # batch norm's statistics are made anew from natural rows before evaluation
    val: Split | None
    precision: Precision
    best: Stopper  # which weights are kept
    stopper: Stopper  # when to stop; it may follow another metric
    steps_per_epoch: int
    total_steps: int
    listener: Listener
    initial: Ledger | None = None  # what first weights were trained to fit, where they are those of a finished run
    starts_at: int = 0  # the update from which class weights, adjustments and the sampler are at work
    sam_rho: float | None = None  # radius of sharpness-aware minimisation
    sam_adaptive: bool = False
    notes: list[str] = field(default_factory=list)  # what was adapted, for the audit
    position: Position = field(default_factory=Position)

    def __post_init__(self) -> None:
        forward = torch.compile(self.model, dynamic=True) if self.settings.compile else self.model
        s = self.settings
        args = (self.miner, self.augment, self.gather, self.precision, s.batch_size, self.seed, self.weighted)
        self.step: Step | FusedStep | SharpnessAware = Step(forward, self.model, self.loss, *args)
        fused, self.how = fused_step(self)
        if fused is not None:
            self.step = fused
            self.clip = lambda: None  # there are no gradients whose norm could be told
            self.precision = Precision("fp32", self.gather.device)  # whatever `auto` would have chosen for autograd
        elif self.sam_rho is not None:
            self.step = SharpnessAware(self.step, self.model, self.sam_rho, self.sam_adaptive)
        self.ema = Ema(self.model, self.settings.ema) if self.settings.ema else None
        self.meter = Meter(self.gather.device, self.settings.log_every)
        # An epoch of small data is a few updates: to evaluate and save after each would take longer than to train.
        apart = min(50, math.ceil(self.total_steps / 25))
        self.eval_every = self._due(self.settings.eval_every, max(self.steps_per_epoch, apart))
        self.save_every = self._due(self.settings.checkpoint.every, self.eval_every)
        self.interrupt = Interrupt()
        self.parameters = list(self.model.parameters())
        self.evaluated_at = -1
        self._saved_at = -1
        self._clock = time.perf_counter()

    @property
    def fused(self) -> bool:
        """Whether the step updates the weights by itself."""
        return isinstance(self.step, FusedStep)

    @property
    def epoch(self) -> float:
        return self.position.step / self.steps_per_epoch

    def stop_reason(self) -> str | None:
        """Why to stop early, as of the last evaluation, or None. A resumed run asks before its first step, and must hear the same."""
        if self.starts_at and self.evaluated_at <= self.starts_at:  # nothing was evaluated yet of what the run is for
            return None
        return self.stopper.reason() if self.evaluated_at >= self.settings.early_stopping.min_steps else None

    @property
    def ledger(self) -> Ledger:
        """The prior that the weights of now fit."""
        return self.balance.ledger(self.loss)

    def ledger_at(self, step: int) -> Ledger:
        """The prior that the weights of a step fit: the first ones may have been trained otherwise."""
        return self.initial if step == 0 and self.initial is not None else self.ledger

    @property
    def readout(self) -> Readout:
        """From logits to probabilities and decisions, before anything is fitted on validation."""
        return Readout(self.ledger_at(self.position.step))

    @property
    def last_path(self) -> Path:
        return self.run_dir / "checkpoints" / "last.pt"

    @property
    def best_path(self) -> Path:
        return self.run_dir / "checkpoints" / "best.pt"

    def windows(self, epoch: int, skip: int) -> Iterator[np.ndarray]:
        """The windows of one epoch after the first `skip`: the stream depends on (seed, epoch) alone, so a resumed run sees the same."""
        if self.sampler.rescored and skip == 0:
            self.sampler.rescore(score(self.model, self.gather.train, self.settings.eval_batch_size, self.precision).cpu().numpy())
        moment = Moment(epoch * self.steps_per_epoch, self.total_steps)
        rng = generator(self.seed, "batches", epoch)
        stream = self.sampler.batches(self.gather.plan, self.labels, self.settings.window, rng, moment)
        dealt = skip
        for window in itertools.islice(stream, skip, self.steps_per_epoch):
            dealt += 1
            yield window
        if dealt < self.steps_per_epoch:  # the loop would ask for the rest of this epoch for ever
            name = type(self.sampler).__name__
            raise ValueError(f"{name}.steps_per_epoch says {self.steps_per_epoch} batches, and {name}.batches dealt {dealt}")

    def spans(self, epoch: int, skip: int) -> Iterator[list[np.ndarray]]:
        """The windows of one epoch after the first `skip`, as many at a time as the step takes, and nothing is due in between."""
        windows = self.windows(epoch, skip)
        while span := list(itertools.islice(windows, self._until_due())):
            yield span

    def _until_due(self) -> int:
        """Windows before the loop has something to do, as of the position."""
        if self.step.span == 1:
            return 1
        step, starts_at = self.position.step, self.starts_at
        periods = (self.settings.log_every, self.eval_every, self.save_every, self.steps_per_epoch)
        left = [period - step % period for period in periods] + [self.total_steps - step]
        return min(self.step.span, *left, starts_at - step if starts_at > step else self.step.span)

    def begin_update(self, windows: int = 1) -> float:
        """What changes with time: the learning rate (the first group's is returned; of several windows that of the last), what is trained,
        whether the loss rebalances."""
        if self.starts_at:
            self.loss.active = self.position.step >= self.starts_at
            if self.position.step == self.starts_at:  # scores under another aim do not compete with those to come
                self.best.forget()
                self.stopper.forget()
        self.model.before_step(self.position.step, self.steps_per_epoch, self.total_steps)
        set_lr(self.optimizer, self.schedule.factor(self.position.updates + windows - 1))
        return float(self.optimizer.param_groups[0]["lr"])

    def pace(self) -> float:
        """Seconds since the last call."""
        now = time.perf_counter()
        elapsed, self._clock = now - self._clock, now
        return elapsed

    @contextlib.contextmanager
    def untimed(self) -> Iterator[None]:
        """What happens inside does not count for `pace`."""
        started = time.perf_counter()
        yield
        self._clock += time.perf_counter() - started

    @contextlib.contextmanager
    def as_kept(self) -> Iterator[None]:
        """Inside, the model has the weights and statistics that would be kept: averaged, and batch norm's of natural rows."""
        if self.ema is not None:
            self.ema.swap()
        with recalibrated(self.model, self._natural_batches()) if self.recalibrate else contextlib.nullcontext():
            yield
        if self.ema is not None:
            self.ema.swap()

    def _natural_batches(self) -> Iterator[Batch]:
        """A fixed sample of the train rows as they are; a hundred batches are enough for a mean and a variance."""
        train, size = self.gather.train, self.settings.batch_size
        rows = generator(self.seed, "batch norm").permutation(self.facts.train_rows)[: 100 * size]
        # What is left over after whole batches may be a single row, which has no variance.
        whole = max(len(rows) // size, 1)
        return (train.batch(np.sort(part)) for part in np.array_split(rows, whole))

    def save(self) -> None:
        """Write last.pt, unless this state is there already."""
        if self._saved_at == self.position.step:
            return
        state = self.state_dict()
        checkpoint.rotate(self.last_path, max(self._saved_at, 0), self.settings.checkpoint.keep)
        checkpoint.save(self.last_path, state)
        self._saved_at = self.position.step

    def save_best(self) -> None:
        """Write best.pt: the weights that were just evaluated."""
        checkpoint.save(self.best_path, {"model": self.model.state_dict(), "step": self.position.step})

    def load_best(self) -> None:
        """Put the best weights into the model; without an evaluation that improved, the last ones (averaged, with `ema`) stay."""
        if self.best.found:
            best = checkpoint.load(self.best_path, self.gather.device)
            if best["step"] != self.best.best_step:
                # A kill between the two files, and then other arithmetic (another device or thread count) on the way here again.
                log.warning("best.pt is of step %d, and the best evaluation was at step %d", best["step"], self.best.best_step)
            self.model.load_state_dict(best["model"])
        elif self.ema is not None or self.recalibrate:
            with self.as_kept():
                kept = {name: value.clone() for name, value in self.model.state_dict().items()}
            self.model.load_state_dict(kept)

    def state_dict(self) -> dict[str, Any]:
        """All that the rest of the run depends on: tensors, numbers, strings, lists and dicts of them."""
        return state_of(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave. Raises CheckpointError where the data is not what it was."""
        restore(self, state)
        self._saved_at = self.position.step

    def is_finite(self) -> bool:
        """Whether the weights and buffers are still numbers (batch norm's statistics may not be, after a bad forward pass)."""
        return all_finite(self.model)

    def refuse_bad_weights(self) -> None:
        """NonFiniteError where no gradient was looked at, and the weights are no numbers: no loss has shown that yet."""
        if (self.fused or self.settings.clip == "none") and not self.is_finite():
            raise bad_weights(self.position.step, float(self.optimizer.param_groups[0]["lr"]))

    def _due(self, duration: Duration | str | None, default: int) -> int:
        if duration is None:
            return default
        return max(1, Duration.parse(duration).steps(self.steps_per_epoch, self.total_steps))
