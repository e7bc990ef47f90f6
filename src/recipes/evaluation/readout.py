"""From a network's raw logits to probabilities and decisions: what travels with the model. N rows, C classes or labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from recipes.evaluation.calibrators import Calibrator, Closed
from recipes.evaluation.rules import Rule

if TYPE_CHECKING:
    from recipes.priors import Ledger


@dataclass(frozen=True, eq=False)
class Readout:
    """Ledger, calibrator and decision, in the order they are applied. By default the ledger's closed form and the network's decision."""

    ledger: Ledger
    calibrator: Calibrator = field(default_factory=Closed)
    rule: Rule = field(default_factory=Rule)

    def logits(self, raw_NC: np.ndarray, shift_C: np.ndarray | None = None) -> np.ndarray:
        """(N, C) float64: their softmax, or for multi-label their sigmoid, are the probabilities.

        shift_C: what `Ledger.deployed` gives for another prevalence; added after calibration, which is fitted at the natural one.
        """
        natural_NC = self.calibrator(raw_NC, self.ledger)
        return natural_NC if shift_C is None else natural_NC + shift_C

    def decide(self, raw_NC: np.ndarray, shift_C: np.ndarray | None = None) -> np.ndarray:
        """(N,) int64 classes, or (N, C) booleans for multi-label. A rule that reads raw logits sees the shift as well."""
        moved_NC = raw_NC if shift_C is None else self.ledger.as_trained(raw_NC, shift_C)
        natural_NC = moved_NC if self.rule.as_trained else self.logits(raw_NC, shift_C)
        return self.rule.decide(natural_NC, moved_NC, self.ledger.task)

    def describe(self) -> str:
        """How probabilities and decisions are made, in two lines."""
        return f"calibration {self.calibrator.describe()}\nthreshold {self.rule.describe(self.ledger.task)}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"ledger": self.ledger.as_dict(), "calibration": self.calibrator.as_dict(), "threshold": self.rule.as_dict()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Readout:
        """The readout that `as_dict` was asked of."""
        from recipes.priors import Ledger

        return cls(Ledger.from_dict(plain["ledger"]), Calibrator.from_dict(plain["calibration"]), Rule.from_dict(plain["threshold"]))
