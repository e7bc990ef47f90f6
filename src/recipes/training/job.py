"""Everything that one run trains with, and the part of it that a checkpoint holds."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from recipes.config import Duration
from recipes.data.facts import Facts
from recipes.data.split import Split
from recipes.errors import CheckpointError
from recipes.losses.base import Loss
from recipes.models.base import Model
from recipes.optim import Schedule, set_lr
from recipes.randomness import generator
from recipes.sampling.base import Sampler
from recipes.training import checkpoint
from recipes.training.events import Listener
from recipes.training.meter import Meter
from recipes.training.precision import Precision
from recipes.training.seeding import rng_state, set_rng_state
from recipes.training.settings import Trainer
from recipes.training.step import Ema, Gather, Step
from recipes.training.stopping import Stopper

log = logging.getLogger(__name__)
USUAL_EPOCHS, USUAL_STEPS = 10, 1000


@dataclass
class Position:
    """How far training is. A step is one window of the sampler; an update is a step that fp16's scaler did not skip."""

    step: int = 0
    updates: int = 0


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
    clip: Callable[[], Tensor]  # bounds the gradients; returns their norm before that
    gather: Gather
    labels: np.ndarray  # targets of the plan's samples
    val: Split | None
    precision: Precision
    best: Stopper  # which weights are kept
    stopper: Stopper  # when to stop; it may follow another metric
    steps_per_epoch: int
    total_steps: int
    listener: Listener
    position: Position = field(default_factory=Position)

    def __post_init__(self) -> None:
        forward = torch.compile(self.model, dynamic=True) if self.settings.compile else self.model
        self.step = Step(forward, self.model, self.loss, self.miner, self.gather, self.precision, self.settings.batch_size)
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
    def epoch(self) -> float:
        return self.position.step / self.steps_per_epoch

    def stop_reason(self) -> str | None:
        """Why to stop early, as of the last evaluation, or None. A resumed run asks before its first step, and must hear the same."""
        return self.stopper.reason() if self.evaluated_at >= self.settings.early_stopping.min_steps else None

    @property
    def last_path(self) -> Path:
        return self.run_dir / "checkpoints" / "last.pt"

    @property
    def best_path(self) -> Path:
        return self.run_dir / "checkpoints" / "best.pt"

    def windows(self, epoch: int, skip: int) -> Iterator[np.ndarray]:
        """The windows of one epoch after the first `skip`: the stream depends on (seed, epoch) alone, so a resumed run sees the same."""
        stream = self.sampler.batches(self.gather.plan, self.labels, self.settings.window, generator(self.seed, "batches", epoch))
        dealt = skip
        for window in itertools.islice(stream, skip, self.steps_per_epoch):
            dealt += 1
            yield window
        if dealt < self.steps_per_epoch:  # the loop would ask for the rest of this epoch for ever
            name = type(self.sampler).__name__
            raise ValueError(f"{name}.steps_per_epoch says {self.steps_per_epoch} batches, and {name}.batches dealt {dealt}")

    def set_lr(self) -> float:
        """Put the schedule's value for the coming update into the optimizer; returns that of the first group."""
        set_lr(self.optimizer, self.schedule.factor(self.position.updates))
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
        if self.best.best_step:
            best = checkpoint.load(self.best_path, self.gather.device)
            if best["step"] != self.best.best_step:
                # A kill between the two files, and then other arithmetic (another device or thread count) on the way here again.
                log.warning("best.pt is of step %d, and the best evaluation was at step %d", best["step"], self.best.best_step)
            self.model.load_state_dict(best["model"])
        elif self.ema is not None:
            self.ema.swap()

    def state_dict(self) -> dict[str, Any]:
        """All that the rest of the run depends on: tensors, numbers, strings, lists and dicts of them."""
        return {
            "config": json.dumps(self.config),
            "data": self._data(),
            "step": self.position.step,
            "updates": self.position.updates,
            "evaluated_at": self.evaluated_at,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "best": self.best.state_dict(),
            "stopper": self.stopper.state_dict(),
            "ema": self.ema.state_dict() if self.ema else [],
            "scaler": self.precision.state_dict(),
            "meter": self.meter.state_dict(),
            "rng": rng_state(self.gather.device),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["data"] != self._data():
            raise CheckpointError(
                f"resume: the data is not what it was when {self.run_dir} was trained: other rows, labels or features; "
                "bring back the old data, or start a new run without resume"
            )
        self.position = Position(state["step"], state["updates"])
        self.evaluated_at = state["evaluated_at"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.best.load_state_dict(state["best"])
        self.stopper.load_state_dict(state["stopper"])
        if self.ema:
            self.ema.load_state_dict(state["ema"])
        self.precision.load_state_dict(state["scaler"])
        self.meter.load_state_dict(state["meter"])
        set_rng_state({name: value.cpu() for name, value in state["rng"].items()}, self.gather.device)
        self._saved_at = self.position.step

    def is_finite(self) -> bool:
        """Whether the weights and buffers are still numbers (batch norm's statistics may not be, after a bad forward pass)."""
        tensors: list[Tensor] = [*self.model.parameters(), *self.model.buffers()]
        return all(bool(torch.isfinite(t).all()) for t in tensors if t.is_floating_point())

    def _data(self) -> list[int]:
        """What tells other data under the same config: sizes, and checksums of targets and words."""
        facts, words = self.facts, "\0".join((*self.facts.class_names, *self.facts.vocabulary)).encode()
        return [facts.train_rows, facts.vocab_size, facts.num_features, len(self.labels), crc32(self.labels.tobytes()), crc32(words)]

    def _due(self, duration: Duration | str | None, default: int) -> int:
        if duration is None:
            return default
        return max(1, Duration.parse(duration).steps(self.steps_per_epoch, self.total_steps))


def total_steps(settings: Trainer, steps_per_epoch: int) -> int:
    """Optimizer updates of the whole run: the smaller of the two limits. Without any, 10 epochs, or 1,000 updates where these are more."""
    if settings.max_epochs is None:
        return settings.max_steps or max(USUAL_EPOCHS * steps_per_epoch, USUAL_STEPS)
    by_epochs = settings.max_epochs * steps_per_epoch
    return by_epochs if settings.max_steps is None else min(by_epochs, settings.max_steps)


class Interrupt:
    """Turns the first Ctrl-C, or a cluster's SIGTERM, into a request that the loop honours after the step; a second Ctrl-C is immediate."""

    def __init__(self) -> None:
        self.requested: str | None = None
        self._old: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._old[number] = signal.signal(number, self._request)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        self._old.clear()

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.requested is not None:
            raise KeyboardInterrupt
        self.requested = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
