"""Which evaluation was best, and when to stop waiting for a better one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass
class Stopper:
    """Follows one metric. NaN is never an improvement. `patience` counts evaluations; None never stops.

    Of equal values the one with the lower loss is kept: while a rare class is not predicted at all, a score of decisions stands still, and
    the network does not. Patience is not renewed by that.
    """

    monitor: str  # "val/<metric>"
    mode: Literal["min", "max"]
    patience: int | None = None
    min_delta: float = 0.0
    best: float = math.nan
    best_step: int = 0
    waited: int = 0
    loss: float = math.nan  # at the best evaluation

    def observe(self, metrics: Mapping[str, float], step: int) -> bool:
        """Take in one evaluation (metrics without their prefix); True when it is the best: by more than `min_delta`, or by the loss."""
        value = metrics[self.monitor.partition("/")[2]]
        gain = value - self.best if self.mode == "max" else self.best - value
        loss = metrics.get("loss", math.nan)
        improved = not math.isnan(value) and (math.isnan(self.best) or gain > self.min_delta)
        if improved:
            self.best, self.best_step, self.loss, self.waited = value, step, loss, 0
            return True
        self.waited += 1
        if value == self.best and loss < self.loss:
            self.best_step, self.loss = step, loss
            return True
        return False

    @property
    def found(self) -> bool:
        """Whether any evaluation was a number."""
        return not math.isnan(self.best)

    def forget(self) -> None:
        """Start anew: what was seen before does not count."""
        self.best, self.best_step, self.waited, self.loss = math.nan, 0, 0, math.nan

    def reason(self) -> str | None:
        """Why to stop now, or None."""
        if self.patience is None or self.waited < self.patience:
            return None
        best = "it was never a number" if math.isnan(self.best) else f"best {self.best:.4f} at step {self.best_step}"
        return f"early stopping: no better {self.monitor} in {self.waited} evaluations ({best})"

    def state_dict(self) -> dict[str, Any]:
        state = asdict(self)
        return {name: state[name] for name in ("best", "best_step", "waited", "loss")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.best_step, self.waited, self.loss = (state[name] for name in ("best", "best_step", "waited", "loss"))
