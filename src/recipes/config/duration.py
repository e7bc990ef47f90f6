"""Lengths of training with their unit: `10 epochs`, `500 steps`, `5%`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from recipes.errors import ConfigError

Unit = Literal["epochs", "steps", "%"]
_PATTERN = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*(epochs?|steps?|%)\s*")
_EXAMPLES = "'10 epochs', '500 steps' or '5%'"


@dataclass(frozen=True)
class Duration:
    """An amount and its unit. One step is one optimizer update, however many micro-batches it took."""

    amount: float
    unit: Unit

    @classmethod
    def parse(cls, text: str | Duration) -> Duration:
        """Read `10 epochs`, `1 step`, `5%`. A bare number is refused: its unit would be a guess."""
        if isinstance(text, Duration):
            return text
        match = _PATTERN.fullmatch(str(text))
        if match is None:
            raise ConfigError(f"'{text}' is not a duration: write a number with its unit, such as {_EXAMPLES}")
        amount, unit = float(match[1]), match[2]
        if unit == "%":
            if amount > 100:
                raise ConfigError(f"'{text}' is more than the whole run: give at most 100%")
            return cls(amount, "%")
        if unit.startswith("step"):
            if amount != int(amount):
                raise ConfigError(f"'{text}': a number of steps is whole")
            return cls(amount, "steps")
        return cls(amount, "epochs")

    def steps(self, steps_per_epoch: int, total_steps: int) -> int:
        """The number of optimizer updates, rounded to the nearest one; fractions of an epoch are allowed."""
        if self.unit == "steps":
            return int(self.amount)
        if self.unit == "epochs":
            return round(self.amount * steps_per_epoch)
        return round(self.amount / 100 * total_steps)

    def __str__(self) -> str:
        if self.unit == "%":
            return f"{self.amount:g}%"
        return f"{self.amount:g} {self.unit[:-1] if self.amount == 1 else self.unit}"
