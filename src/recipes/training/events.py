"""What the loop tells whoever listens. Console, TensorBoard, files and plots are all listeners; the loop knows none of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from recipes.data.facts import Facts
from recipes.priors import Ledger


@dataclass(frozen=True)
class Audit:
    """What the recipe makes of the classes: the prior that the network fits, and the way back."""

    ledger: Ledger  # with every class weight and adjustment at work
    sampled_rows: np.ndarray  # (C,) samples of each class that an epoch deals
    seen: np.ndarray  # (C,) how often a train row of the class is dealt in an epoch, on average
    notes: list[str]  # what was adapted, and what the corrections cannot do
    starts_at: int = 0  # the update from which classes are rebalanced; 0: from the beginning


@dataclass(frozen=True)
class RunInfo:
    """Told once, before the first step."""

    run_dir: Path
    config: dict[str, Any]  # the composed config as plain values
    overrides: list[str]  # what the user typed
    facts: Facts
    split_rows: dict[str, int]  # {"train": 59788, "val": ..., "test": ...}
    split_counts: dict[str, np.ndarray]  # class counts of each split, (C,)
    sampled_counts: np.ndarray  # (C,) class counts of one epoch as the sampler deals it
    synthetic_rows: int
    audit: Audit
    notes: list[str]  # messages of the data room, with counts
    model: str  # one line, such as "TextCNN"
    parameters: int
    device: str
    precision: str
    batch_size: int
    accumulate: int
    steps_per_epoch: int
    total_steps: int
    max_epochs: float
    monitor: str
    resumed_from_step: int = 0
    step: str = ""  # which step trains and why, where the model has more than one


@dataclass(frozen=True)
class StepLog:
    """Told every `trainer.log_every` and at the end of each epoch; means are over the steps since the last one."""

    step: int  # optimizer updates done
    epoch: float  # epochs done, with fraction
    total_steps: int
    loss: float  # mean train loss
    lr: float
    grad_norm: float | None  # before clipping, of the last step; None where nothing measured it
    rows_per_second: float
    seconds_left: float


@dataclass(frozen=True)
class Evaluation:
    """A split scored as a whole, after training stopped or in between."""

    split: str  # "val" or "test" or "train"
    step: int
    epoch: float
    metrics: dict[str, float]  # without the split's prefix: {"f1_macro": ...}; NaN where undefined
    per_class: dict[str, dict[str, float]]  # class name -> {"precision": ..., "recall": ..., "f1": ..., "support": ..., "pr_auc": ...}
    logits: np.ndarray  # (N, C) float64: their softmax (multi-label: sigmoid) are the probabilities that prediction gives
    decided: np.ndarray  # (N,) int64 class of each row, or (N, C) bool for multi-label
    targets: np.ndarray  # (N,) int64 or (N, C) float32
    improved: bool = False  # the monitored value is the best so far
    seconds: float = 0.0
    weights: np.ndarray | None = None  # (N,) sample weights, None where the data has none


@dataclass(frozen=True)
class Result:
    """Told once, at the end; the splits are scored with the best weights."""

    reason: str  # why training stopped: a sentence
    steps: int
    epochs: float
    seconds: float
    best_step: int
    best_metrics: dict[str, float]  # of the evaluation that was best, with the prefix "val/"
    monitor: str
    monitored: float  # the best monitored value; NaN when nothing was evaluated
    evaluations: dict[str, Evaluation] = field(default_factory=dict)  # final: "val", "test"
    calibration: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)  # split -> "before" and "after" -> metric -> value
    decision: str = ""  # the rule by which classes are given, with its interval, in one line
    calibrated: str = ""  # how probabilities were corrected, in one line


class Listener:
    """Hears a run; every method may be left as it is."""

    def start(self, run: RunInfo) -> None: ...

    def log(self, log: StepLog) -> None: ...

    def evaluated(self, evaluation: Evaluation) -> None: ...

    def end(self, result: Result) -> None: ...

    def close(self) -> None:
        """Called always, after an error as well."""


class Listeners(Listener):
    """Tells several listeners in turn."""

    def __init__(self, listeners: list[Listener]) -> None:
        self.listeners = listeners

    def start(self, run: RunInfo) -> None:
        for listener in self.listeners:
            listener.start(run)

    def log(self, log: StepLog) -> None:
        for listener in self.listeners:
            listener.log(log)

    def evaluated(self, evaluation: Evaluation) -> None:
        for listener in self.listeners:
            listener.evaluated(evaluation)

    def end(self, result: Result) -> None:
        for listener in self.listeners:
            listener.end(result)

    def close(self) -> None:
        for listener in self.listeners:
            listener.close()
