"""The one schedule that looks at the scores."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

from recipes.config.types import NonNegativeFloat, NonNegativeInt, Probability
from recipes.optim.schedule import Better, Schedule, Span


class Plateau(Schedule):
    """Multiplied by `factor` when more than `patience` evaluations in a row brought no improvement.

    An improvement is a value better than the best so far by more than `threshold`: a share of the best (`rel`) or an amount (`abs`).
    NaN and infinity never are one. After a reduction the next `cooldown` evaluations do not count. The product of factors stays at
    least `min_factor`. The rules are those of torch's ReduceLROnPlateau, less its `eps`. The monitor should be of validation: the
    training loss of rebalanced data says little.
    """

    observes: ClassVar[bool] = True

    def __init__(
        self,
        steps_per_epoch: int,
        total_steps: int,
        *,
        factor: Probability = 0.1,
        patience: NonNegativeInt = 1,
        threshold: NonNegativeFloat = 0.0001,
        threshold_mode: Literal["rel", "abs"] = "rel",
        cooldown: NonNegativeInt = 0,
        min_factor: Probability = 0.0,
        warmup: Span = "0 steps",
        warmup_start: Probability = 0.0,
    ) -> None:
        super().__init__(steps_per_epoch, total_steps, warmup, warmup_start, "step")
        self.by = factor
        self.patience = patience
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.cooldown = cooldown
        self.min_factor = min_factor
        self.scale = 1.0
        self.best = math.nan  # NaN: no value so far
        self.bad = 0  # evaluations without improvement in a row
        self.cooling = 0  # evaluations that do not count yet

    def shape(self, t: int) -> float:
        return self.scale

    def observe(self, value: float, better: Better) -> None:
        if self._improves(value, better):
            self.best, self.bad = value, 0
        else:
            self.bad += 1
        if self.cooling > 0:
            self.cooling -= 1
            self.bad = 0
        if self.bad > self.patience:
            self.scale = max(self.scale * self.by, self.min_factor)
            self.cooling, self.bad = self.cooldown, 0

    def _improves(self, value: float, better: Better) -> bool:
        if not math.isfinite(value) or math.isnan(self.best):
            return math.isfinite(value)
        gain = self.best - value if better == "min" else value - self.best
        return gain > (self.threshold if self.threshold_mode == "abs" else self.threshold * abs(self.best))

    def state_dict(self) -> dict[str, Any]:
        return {"scale": self.scale, "best": self.best, "bad": self.bad, "cooling": self.cooling}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.scale, self.best, self.bad, self.cooling = state["scale"], state["best"], state["bad"], state["cooling"]
