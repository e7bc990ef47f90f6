"""A fitted decision: plain data that travels with the model. N rows, C classes or labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from recipes.evaluation.decisions import probabilities

if TYPE_CHECKING:
    from recipes.data.facts import Task


@dataclass(frozen=True, eq=False)
class Rule:
    """How classes are decided: from natural logits with offsets or costs, or as the network was trained where both are None.

    name: the option of `threshold`. offsets_C: added to the natural logits; those of a threshold t are -logit(t). costs_CC: what deciding
    (across) costs for a true class (down). interval: 95 % of bootstrap resamples: (2,) thresholds, or (2, C) with
    one for each label, or (2, C) offsets of several classes. objective, value: what was maximised on validation (for costs: minimised),
    and how far. reason: why the option was not followed, or not in full.
    """

    name: str = "none"
    offsets_C: np.ndarray | None = None
    costs_CC: np.ndarray | None = None
    interval: np.ndarray | None = None
    objective: str | None = None
    value: float | None = None
    reason: str | None = None

    @property
    def as_trained(self) -> bool:
        """Whether the network decides by its raw logits."""
        return self.offsets_C is None and self.costs_CC is None

    def decide(self, natural_NC: np.ndarray, raw_NC: np.ndarray, task: Task) -> np.ndarray:
        """(N,) int64 class of each row; multi-label: (N, C) bool, which labels are given.

        As trained: the largest raw logit, the first of equals; for multi-label raw logits of at least 0. A probability that equals its
        threshold is positive. Of equal costs the first class is taken.
        """
        natural_NC = np.asarray(natural_NC, dtype=np.float64)
        if self.costs_CC is not None:
            return np.asarray((probabilities(natural_NC, task) @ self.costs_CC).argmin(axis=1))
        if self.offsets_C is None:
            return np.asarray(raw_NC) >= 0 if task == "multilabel" else np.asarray(raw_NC).argmax(axis=1)
        if task == "multilabel":
            return natural_NC >= -self.offsets_C
        if task == "binary":
            return (natural_NC[:, 1] - natural_NC[:, 0] >= self.offsets_C[0] - self.offsets_C[1]).astype(np.int64)
        return np.asarray((natural_NC + self.offsets_C).argmax(axis=1))

    def thresholds(self, task: Task) -> np.ndarray | None:
        """The probabilities from which on a row is positive: (1,) of class 1 (binary), (C,) of the labels; None where there are none."""
        if self.offsets_C is None or task == "multiclass":
            return None
        cuts = -self.offsets_C if task == "multilabel" else self.offsets_C[:1] - self.offsets_C[1:]
        return np.exp(-np.logaddexp(0.0, -cuts))

    def describe(self, task: Task) -> str:
        """One line: the rule, its interval, what it reached on validation, and why it is not what was asked for."""
        if self.as_trained:
            what = "raw logits of at least 0" if task == "multilabel" else "the largest raw logit"
        elif self.costs_CC is not None:
            what = "least expected cost"
        elif task == "multiclass":
            what = f"offsets {_span(self.offsets_C)} on the logits"
        else:
            what = f"positive from p >= {_span(self.thresholds(task))}"
        if self.interval is not None:
            over = f" over all {'classes' if task == 'multiclass' else 'labels'}" * (self.interval.ndim == 2)
            what += f" (95 % bootstrap {self.interval[0].min():.3f} to {self.interval[1].max():.3f}{over})"
        if self.value is not None:
            what += f"; {self.objective} on validation {self.value:.4g}"
        return f"{self.name}: {what}" + (f" ({self.reason})" if self.reason else "")

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in own.items()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Rule:
        """The rule that `as_dict` was asked of."""
        own: dict[str, Any] = {name: np.array(value, dtype=float) if isinstance(value, list) else value for name, value in plain.items()}
        return cls(**own)


def _span(values: np.ndarray | None) -> str:
    low, high = float(np.min(values)), float(np.max(values))  # type: ignore[arg-type]
    return f"{low:.3f}" if low == high else f"{low:.3f} to {high:.3f}"
