"""From the raw logits of a network to logits whose probabilities may be believed: plain data that travels with the model.

N rows, C classes or labels, M margins (see `decisions.margins`), K knots of a step function.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from recipes.evaluation.decisions import from_margins, log_probabilities, margins

if TYPE_CHECKING:
    from recipes.priors import Ledger


class Calibrator:
    """(N, C) raw logits and the ledger -> (N, C) float64 logits: their softmax, or for multi-label their sigmoid, are the probabilities.

    Each row's depend on that row alone. The subclasses are all there are; each is a frozen dataclass of numbers and arrays.
    """

    kind: ClassVar[str]

    def __call__(self, raw_NC: np.ndarray, ledger: Ledger) -> np.ndarray:
        raise NotImplementedError

    def describe(self) -> str:
        """What is done to the logits, in one line."""
        raise NotImplementedError

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        own = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        return {"kind": self.kind} | {name: _plain(value) for name, value in own.items()}

    @staticmethod
    def from_dict(plain: Mapping[str, Any]) -> Calibrator:
        """The calibrator that `as_dict` was asked of."""
        cls = _KINDS[plain["kind"]]
        return cls(**{name: _array(value) for name, value in plain.items() if name != "kind"})


@dataclass(frozen=True, eq=False)
class Raw(Calibrator):
    """The network's own logits, whatever prior they fit."""

    kind = "none"

    def __call__(self, raw_NC: np.ndarray, ledger: Ledger) -> np.ndarray:
        return np.asarray(raw_NC, dtype=np.float64)

    def describe(self) -> str:
        return "none: the network's own probabilities"


@dataclass(frozen=True, eq=False)
class Closed(Calibrator):
    """The ledger's closed form and nothing fitted."""

    kind = "prior"

    def __call__(self, raw_NC: np.ndarray, ledger: Ledger) -> np.ndarray:
        return ledger.natural(raw_NC)

    def describe(self) -> str:
        return "prior: closed form of the loss and the sampler"


@dataclass(frozen=True, eq=False)
class Temperature(Calibrator):
    """Natural logits / T (Guo et al. 2017)."""

    kind = "temperature"
    temperature: float

    def __call__(self, raw_NC: np.ndarray, ledger: Ledger) -> np.ndarray:
        return np.asarray(ledger.natural(raw_NC) / self.temperature)

    def describe(self) -> str:
        return f"temperature: natural logits / {self.temperature:.3f}"


@dataclass(frozen=True, eq=False)
class Vector(Calibrator):
    """scale_C * z + bias_C on the natural log-probabilities (single-label), or on the natural logit of each label."""

    kind = "vector"
    scale_C: np.ndarray
    bias_C: np.ndarray

    def __call__(self, raw_NC: np.ndarray, ledger: Ledger) -> np.ndarray:
        natural_NC = ledger.natural(raw_NC)
        own_NC = natural_NC if ledger.task == "multilabel" else log_probabilities(natural_NC)
        return np.asarray(own_NC * self.scale_C + self.bias_C)

    def describe(self) -> str:
        return f"vector: scales {_span(self.scale_C)}, biases {_span(self.bias_C)}"


@dataclass(frozen=True, eq=False)
class Platt(Calibrator):
    """slope_M * m + bias_M on each margin m."""

    kind = "platt"
    slope_M: np.ndarray
    bias_M: np.ndarray

    def __call__(self, raw_NC: np.ndarray, ledger: Ledger) -> np.ndarray:
        margins_NM = margins(ledger.natural(raw_NC), ledger.task)
        return from_margins(margins_NM * self.slope_M + self.bias_M, ledger.task)

    def describe(self) -> str:
        return f"platt: slope {_span(self.slope_M)}, bias {_span(self.bias_M)}"


@dataclass(frozen=True, eq=False)
class BetaMap(Calibrator):
    """log-odds a ln p - b ln(1 - p) + c for the probability p of each margin (Kull et al. 2017)."""

    kind = "beta"
    a_M: np.ndarray
    b_M: np.ndarray
    bias_M: np.ndarray

    def __call__(self, raw_NC: np.ndarray, ledger: Ledger) -> np.ndarray:
        log_p_NM, log_rest_NM = logs_of(margins(ledger.natural(raw_NC), ledger.task))
        return from_margins(self.a_M * log_p_NM - self.b_M * log_rest_NM + self.bias_M, ledger.task)

    def describe(self) -> str:
        return f"beta: a {_span(self.a_M)}, b {_span(self.b_M)}, c {_span(self.bias_M)}"


@dataclass(frozen=True, eq=False)
class Steps(Calibrator):
    """The log-odds of an increasing function of each margin: lines between K knots, level beyond them; a margin without knots stays."""

    kind = "isotonic"
    knots_M: tuple[np.ndarray, ...]  # (2, K) each: margins, rising, and their log-odds

    def __call__(self, raw_NC: np.ndarray, ledger: Ledger) -> np.ndarray:
        margins_NM = margins(ledger.natural(raw_NC), ledger.task)
        mapped_NM = margins_NM.copy()
        for m, (x_K, odds_K) in enumerate(self.knots_M):
            if len(x_K):
                share_N = np.interp(margins_NM[:, m], x_K, 1 / (1 + np.exp(-odds_K)))
                mapped_NM[:, m] = np.log(share_N) - np.log1p(-share_N)
        return from_margins(mapped_NM, ledger.task)

    def describe(self) -> str:
        return f"isotonic: {sum(knots.shape[1] for knots in self.knots_M)} knots for {len(self.knots_M)} margins"


_KINDS: dict[str, type[Calibrator]] = {cls.kind: cls for cls in (Raw, Closed, Temperature, Vector, Platt, BetaMap, Steps)}


def logs_of(margins_NM: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """log p and log(1 - p) of log-odds."""
    return -np.logaddexp(0.0, -margins_NM), -np.logaddexp(0.0, margins_NM)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [each.tolist() for each in value]
    return value.tolist() if isinstance(value, np.ndarray) else value


def _array(value: Any) -> Any:
    """A list of numbers is an array, a list of lists a tuple of arrays."""
    if not isinstance(value, list):
        return value
    if any(isinstance(each, list) for each in value):
        return tuple(np.array(each, dtype=np.float64) for each in value)
    return np.array(value, dtype=np.float64)


def _span(values: np.ndarray) -> str:
    low, high = float(np.min(values)), float(np.max(values))
    return f"{low:.3f}" if low == high else f"{low:.3f} to {high:.3f}"
