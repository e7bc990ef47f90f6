"""The learning rate as a pure function of the update's number, warm-up included."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from recipes.config.duration import Duration
from recipes.errors import ConfigError

if TYPE_CHECKING:
    Span = Duration | str  # signatures give a duration as text, the way YAML does, and the constructor parses it
else:
    Span = Duration  # what the check of settings looks for

Interval = Literal["step", "epoch"]
Better = Literal["min", "max"]

log = logging.getLogger(__name__)


class Schedule:
    """The learning rate of update `step` (from 0) is `factor(step)` times the optimizer's own.

    A run is a warm-up and then the schedule itself. The warm-up rises linearly, update by update, from `warmup_start` times the
    schedule's first value. The schedule's clock starts when the warm-up is over, and to it the run is what is left then: its
    percentages are of that, and the end that it runs to is the end of the run, after the last update. `interval="epoch"` moves the
    clock at the boundaries of epochs only.

    Nothing but `Plateau` has a state, so the number of updates done is all that a resumed run needs.
    """

    observes: ClassVar[bool] = False  # whether `observe` has an effect, so that the run needs validation scores

    def __init__(self, steps_per_epoch: int, total_steps: int, warmup: Span, warmup_start: float, interval: Interval) -> None:
        self.steps_per_epoch = steps_per_epoch
        self.interval = interval
        self.warmup_start = warmup_start
        self.warmup_steps = Duration.parse(warmup).steps(steps_per_epoch, total_steps)
        self.length = max(total_steps - self.warmup_steps, 1)  # updates after the warm-up
        if self.warmup_steps >= total_steps:
            log.warning("scheduler.warmup: %s are %d updates, and the run has only %d", warmup, self.warmup_steps, total_steps)

    def factor(self, step: int) -> float:
        """What the optimizer's learning rate is multiplied with for update `step`, counted from 0."""
        if step < self.warmup_steps:
            rise = self.warmup_start + (1 - self.warmup_start) * step / self.warmup_steps
            return rise * self.shape(0)
        if self.interval == "epoch":
            step -= step % self.steps_per_epoch
        return self.shape(max(step - self.warmup_steps, 0))

    def shape(self, t: int) -> float:
        """The schedule itself: the factor `t` updates after the warm-up."""
        raise NotImplementedError

    def observe(self, value: float, better: Better) -> None:
        """Told the monitored value after each evaluation, and whether less or more of it is better."""

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers; empty but for `Plateau`."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""

    def _updates(self, name: str, duration: Span) -> int:
        """A length of the schedule in updates, at least 1. Percentages are rounded up, so that n parts of 1/n never leave a rest."""
        parsed = Duration.parse(duration)
        if parsed.amount == 0:
            raise ConfigError(f"scheduler.{name}: '{duration}' has no length; give at least '1 steps'")
        if parsed.unit == "%":
            return math.ceil(parsed.amount / 100 * self.length - 1e-9)
        return max(parsed.steps(self.steps_per_epoch, self.length), 1)
