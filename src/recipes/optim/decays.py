"""Schedules that fall, or stay. t: updates after the warm-up, T: updates that are left to the schedule."""

from __future__ import annotations

import bisect
import math

from recipes.config.duration import Duration
from recipes.config.types import NonNegativeFloat, PositiveFloat, Probability
from recipes.optim.schedule import Interval, Schedule, Span

_MILESTONES: list[Span] = ["50%", "75%"]


class Constant(Schedule):
    """1 after the warm-up."""

    def __init__(self, steps_per_epoch: int, total_steps: int, *, warmup: Span = "0 steps", warmup_start: Probability = 0.0) -> None:
        super().__init__(steps_per_epoch, total_steps, warmup, warmup_start, "step")

    def shape(self, t: int) -> float:
        return 1.0


class StepDecay(Schedule):
    """gamma ** floor(t / every)."""

    def __init__(
        self,
        steps_per_epoch: int,
        total_steps: int,
        *,
        every: Span = "30%",
        gamma: Probability = 0.1,
        warmup: Span = "0 steps",
        warmup_start: Probability = 0.0,
        interval: Interval = "step",
    ) -> None:
        super().__init__(steps_per_epoch, total_steps, warmup, warmup_start, interval)
        self.every = self._updates("every", every)
        self.gamma = gamma

    def shape(self, t: int) -> float:
        return float(self.gamma ** (t // self.every))


class MultiStep(Schedule):
    """gamma ** (number of milestones up to t)."""

    def __init__(
        self,
        steps_per_epoch: int,
        total_steps: int,
        *,
        milestones: list[Span] = _MILESTONES,
        gamma: Probability = 0.1,
        warmup: Span = "0 steps",
        warmup_start: Probability = 0.0,
        interval: Interval = "step",
    ) -> None:
        super().__init__(steps_per_epoch, total_steps, warmup, warmup_start, interval)
        self.milestones = sorted(Duration.parse(m).steps(steps_per_epoch, self.length) for m in milestones)
        self.gamma = gamma

    def shape(self, t: int) -> float:
        return float(self.gamma ** bisect.bisect_right(self.milestones, t))


class Exponential(Schedule):
    """gamma ** (t / every): falls by `gamma` in each `every`, smoothly, or at the boundaries of epochs with `interval="epoch"`."""

    def __init__(
        self,
        steps_per_epoch: int,
        total_steps: int,
        *,
        gamma: Probability = 0.9,
        every: Span = "1 epochs",
        warmup: Span = "0 steps",
        warmup_start: Probability = 0.0,
        interval: Interval = "step",
    ) -> None:
        super().__init__(steps_per_epoch, total_steps, warmup, warmup_start, interval)
        self.every = self._updates("every", every)
        self.gamma = gamma

    def shape(self, t: int) -> float:
        return float(self.gamma ** (t / self.every))


class TimeBased(Schedule):
    """1 / (1 + rate * t / every)."""

    def __init__(
        self,
        steps_per_epoch: int,
        total_steps: int,
        *,
        rate: NonNegativeFloat = 0.5,
        every: Span = "1 epochs",
        warmup: Span = "0 steps",
        warmup_start: Probability = 0.0,
        interval: Interval = "step",
    ) -> None:
        super().__init__(steps_per_epoch, total_steps, warmup, warmup_start, interval)
        self.every = self._updates("every", every)
        self.rate = rate

    def shape(self, t: int) -> float:
        return 1 / (1 + self.rate * t / self.every)


class Polynomial(Schedule):
    """end + (1 - end) * (1 - t / T) ** power, which is `end` at the end of the run."""

    def __init__(
        self,
        steps_per_epoch: int,
        total_steps: int,
        *,
        power: PositiveFloat = 2.0,
        end: Probability = 0.0,
        warmup: Span = "0 steps",
        warmup_start: Probability = 0.0,
        interval: Interval = "step",
    ) -> None:
        super().__init__(steps_per_epoch, total_steps, warmup, warmup_start, interval)
        self.power = power
        self.end = end

    def shape(self, t: int) -> float:
        left = max(1 - t / self.length, 0.0)
        return float(self.end + (1 - self.end) * left**self.power)


class Linear(Polynomial):
    """end + (1 - end) * (1 - t / T)."""

    def __init__(
        self,
        steps_per_epoch: int,
        total_steps: int,
        *,
        end: Probability = 0.0,
        warmup: Span = "0 steps",
        warmup_start: Probability = 0.0,
        interval: Interval = "step",
    ) -> None:
        super().__init__(steps_per_epoch, total_steps, power=1.0, end=end, warmup=warmup, warmup_start=warmup_start, interval=interval)


class Cosine(Schedule):
    """end + (1 - end) * (1 + cos(pi t / T)) / 2 (Loshchilov & Hutter 2017, equation 5, one cycle)."""

    def __init__(
        self,
        steps_per_epoch: int,
        total_steps: int,
        *,
        end: Probability = 0.0,
        warmup: Span = "0 steps",
        warmup_start: Probability = 0.0,
        interval: Interval = "step",
    ) -> None:
        super().__init__(steps_per_epoch, total_steps, warmup, warmup_start, interval)
        self.end = end

    def shape(self, t: int) -> float:
        return self.end + (1 - self.end) * (1 + math.cos(math.pi * min(t / self.length, 1.0))) / 2


class InverseSqrt(Schedule):
    """1 / sqrt(1 + t / timescale).

    With `timescale` as long as the warm-up, and a warm-up from 0, this is the Transformer's schedule
    min(s ** -0.5, s * w ** -1.5) at s = step (Vaswani et al. 2017, section 5.3), scaled to 1 at its peak.
    """

    def __init__(
        self,
        steps_per_epoch: int,
        total_steps: int,
        *,
        timescale: Span = "5%",
        warmup: Span = "5%",
        warmup_start: Probability = 0.0,
        interval: Interval = "step",
    ) -> None:
        super().__init__(steps_per_epoch, total_steps, warmup, warmup_start, interval)
        self.timescale = self._updates("timescale", timescale)

    def shape(self, t: int) -> float:
        return 1 / math.sqrt(1 + t / self.timescale)
