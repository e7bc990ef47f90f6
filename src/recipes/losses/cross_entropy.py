"""Softmax cross-entropy, with and without class weights. B batch, C classes."""

from __future__ import annotations

import numpy as np
from torch import Tensor
from torch.nn import functional

from recipes.config.types import Fraction
from recipes.data.facts import Task
from recipes.losses.base import Loss
from recipes.losses.common import checked, require_single_label
from recipes.losses.weights import Weights, class_weights


class CrossEntropy(Loss):
    """-log p_y. `label_smoothing` e trains towards 1 - e for the class and e / C more for every one (Szegedy et al. 2016)."""

    tasks = ("binary", "multiclass")

    def __init__(self, task: Task, *, label_smoothing: Fraction = 0.0) -> None:
        super().__init__()
        require_single_label(task, "cross_entropy")
        self.task: Task = task
        self.label_smoothing = label_smoothing

    def forward(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        logits_BC = checked(logits_BC, targets, self.task)
        return functional.cross_entropy(logits_BC, targets, reduction="none", label_smoothing=self.label_smoothing)


class WeightedCE(Loss):
    """-w_y log p_y. `weights` as `class_weights` defines them: from the counts of the train split, or given; mean 1 over its rows.

    With `label_smoothing`, each class's share of the smoothed target is weighted by its own weight, as torch does. The batch is not
    divided by the sum of its class weights: the same row counts the same in every batch.
    """

    tasks = ("binary", "multiclass")

    def __init__(
        self,
        task: Task,
        class_names: tuple[str, ...],
        class_counts: np.ndarray,
        *,
        weights: Weights = "balanced",
        beta: Fraction = 0.9999,
        label_smoothing: Fraction = 0.0,
    ) -> None:
        super().__init__()
        require_single_label(task, "weighted_ce")
        self.task: Task = task
        self.label_smoothing = label_smoothing
        self.weights_C: Tensor
        self.register_buffer("weights_C", class_weights(weights, class_counts, class_names, beta, "loss.weights"), persistent=False)

    def forward(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        logits_BC = checked(logits_BC, targets, self.task)
        weights_C = self.weights_C.to(logits_BC.dtype)
        return functional.cross_entropy(logits_BC, targets, weights_C, reduction="none", label_smoothing=self.label_smoothing)

    def difficulty(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        logits_BC = checked(logits_BC, targets, self.task)
        return functional.cross_entropy(logits_BC, targets, reduction="none", label_smoothing=self.label_smoothing)
