"""Schedules that rise as well as fall. t: updates after the warm-up, T: updates that are left to the schedule."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from recipes.config.types import PositiveFloat, PositiveInt, Probability, Range
from recipes.errors import ConfigError
from recipes.optim.schedule import Interval, Schedule, Span


def _cosine(start: float, end: float, part: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * part)) / 2


class CosineRestarts(Schedule):
    """Cosine from 1 to `end` in each cycle; every cycle is `cycle_mult` times as long as the one before it.

    SGDR (Loshchilov & Hutter 2017, equation 5): `cycle` is its T_0 and `cycle_mult` its T_mult.
    """

    def __init__(
        self,
        steps_per_epoch: int,
        total_steps: int,
        *,
        cycle: Span = "25%",
        cycle_mult: PositiveInt = 1,
        end: Probability = 0.0,
        warmup: Span = "0 steps",
        warmup_start: Probability = 0.0,
        interval: Interval = "step",
    ) -> None:
        super().__init__(steps_per_epoch, total_steps, warmup, warmup_start, interval)
        self.cycle = self._updates("cycle", cycle)
        self.cycle_mult = cycle_mult
        self.end = end

    def shape(self, t: int) -> float:
        span = self.cycle
        if self.cycle_mult == 1:
            t %= span
        while t >= span:
            t -= span
            span *= self.cycle_mult
        return _cosine(1.0, self.end, t / span)


class Cyclical(Schedule):
    """Straight lines from `base` up to `max` and back (Smith 2017). Both are multiples of the optimizer's learning rate.

    The height above `base` stays in mode `triangular`, is halved after each cycle in `triangular2`, and is multiplied by
    gamma ** t in `exp_range`. Momentum is not cycled.
    """

    def __init__(
        self,
        steps_per_epoch: int,
        total_steps: int,
        *,
        base: Probability = 0.1,
        max: PositiveFloat = 1.0,
        up: Span = "5%",
        down: Span | None = None,
        mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
        gamma: Annotated[float, Range(gt=0, le=1)] = 0.9999,
        warmup: Span = "0 steps",
        warmup_start: Probability = 0.0,
        interval: Interval = "step",
    ) -> None:
        super().__init__(steps_per_epoch, total_steps, warmup, warmup_start, interval)
        if base > max:
            raise ConfigError(f"scheduler.base: {base:g} is above scheduler.max ({max:g}), and is the lower end of a cycle")
        self.up = self._updates("up", up)
        self.down = self.up if down is None else self._updates("down", down)
        self.base = base
        self.max = max
        self.mode = mode
        self.gamma = gamma

    def shape(self, t: int) -> float:
        cycle, at = divmod(t, self.up + self.down)
        height = at / self.up if at <= self.up else (self.up + self.down - at) / self.down
        scale = {"triangular": 1.0, "triangular2": 0.5**cycle, "exp_range": self.gamma**t}[self.mode]
        return float(self.base + (self.max - self.base) * height * scale)


class OneCycle(Schedule):
    """From 1 / div up to 1 in the first `pct_start` of the run, then down to 1 / (div * final_div) at its last update (Smith 2018).

    The optimizer's learning rate is the peak. Momentum is not cycled: beside the learning rate it would be a second thing that a
    schedule changes, and most optimizers here have none.
    """

    def __init__(
        self,
        steps_per_epoch: int,
        total_steps: int,
        *,
        pct_start: Probability = 0.3,
        div: Annotated[float, Range(ge=1)] = 25.0,
        final_div: Annotated[float, Range(ge=1)] = 10000.0,
        anneal: Literal["cos", "linear"] = "cos",
        warmup: Span = "0 steps",
        warmup_start: Probability = 0.0,
        interval: Interval = "step",
    ) -> None:
        super().__init__(steps_per_epoch, total_steps, warmup, warmup_start, interval)
        self.peak = pct_start * self.length - 1  # update of the highest rate, a fraction mostly
        self.first = 1 / div
        self.last = 1 / (div * final_div)
        self.anneal = anneal

    def shape(self, t: int) -> float:
        end = self.length - 1
        if t <= self.peak and self.peak > 0:
            return self._between(self.first, 1.0, t / self.peak)
        start = self.peak
        return self._between(1.0, self.last, min((t - start) / (end - start), 1.0) if end > start else 1.0)

    def _between(self, start: float, end: float, part: float) -> float:
        return _cosine(start, end, part) if self.anneal == "cos" else start + (end - start) * part
