"""Cross-entropy over classes, and what losses for one class a row share: optional class weights.

B batch, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recipes.config.types import Fraction
from recipes.data.facts import Task
from recipes.losses.base import Loss
from recipes.losses.weights import Weights, check_shapes, class_weights, plain, raised, uneven
from recipes.models.fused import Objective
from recipes.priors import Declaration


def smoothing_reason(option: str, label_smoothing: float) -> str | None:
    """Why smoothed targets leave no closed form; None where they are not smoothed."""
    return f"loss={option} fits smoothed targets (loss.label_smoothing={label_smoothing:g})" if label_smoothing else None


class CrossEntropy(Loss):
    """-log softmax(logits)_y. With `label_smoothing` e the target is 1 - e + e/C for y and e/C elsewhere (Szegedy et al. 2016)."""

    tasks: ClassVar[tuple[Task, ...]] = ("binary", "multiclass")

    def __init__(self, task: Task, *, label_smoothing: Fraction = 0.0) -> None:
        super().__init__(task)
        self.label_smoothing = label_smoothing

    def forward(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        check_shapes(logits_BC, targets)
        return F.cross_entropy(raised(logits_BC), targets, reduction="none", label_smoothing=self.label_smoothing)

    def objective(self) -> Objective | None:
        return None if self.label_smoothing else Objective("softmax")

    def declares(self) -> Declaration:
        return Declaration(approximate=smoothing_reason("cross_entropy", self.label_smoothing))


class ClassWeighted(Loss):
    """w_y times `unweighted`, with weights of mean 1 over the rows that an epoch deals; 1 while the loss is not `active`.

    Subclasses give their settings `weights` and `beta` on: a scheme of `class_weights`, one weight a class or class -> weight, and beta of
    `effective_number`. Raises ConfigError where given weights do not fit the classes.
    """

    tasks: ClassVar[tuple[Task, ...]] = ("binary", "multiclass")

    def __init__(self, task: Task, sampled_counts: np.ndarray, class_names: Sequence[str], weights: Weights, beta: float) -> None:
        super().__init__(task)
        self._given = not isinstance(weights, str)
        self.weights_C: Tensor
        self.register_buffer("weights_C", class_weights(weights, sampled_counts, class_names, beta))
        self._uneven = uneven(self.weights_C)

    def unweighted(self, z_BC: Tensor, targets: Tensor) -> Tensor:
        """loss_B without class weights, from logits of single or double precision."""
        raise NotImplementedError

    def forward(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        check_shapes(logits_BC, targets)
        loss_B = self.unweighted(raised(logits_BC), targets)
        return self.weights_C.to(loss_B.dtype)[targets] * loss_B if self._weighs else loss_B

    def difficulty(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        check_shapes(logits_BC, targets)
        return self.unweighted(raised(logits_BC), targets)

    def declares(self) -> Declaration:
        return Declaration(weights_C=self.declared_weights)

    @property
    def declared_weights(self) -> np.ndarray | None:
        """The weights as they act now; None where they are all 1."""
        return plain(self.weights_C) if self._weighs else None

    @property
    def rebalances(self) -> bool:
        return self._uneven

    @property
    def explicit_weights(self) -> bool:
        return self._given

    @property
    def _weighs(self) -> bool:
        return self.active and self._uneven


class WeightedCE(ClassWeighted):
    """w_y times cross-entropy.

    torch's own weighted mean divides by the weights that happen to be in the batch; here the step's denominator is the number of samples,
    so a batch's scale does not depend on its classes and micro-batches add up exactly. `beta` is that of `effective_number`; with .9999
    the weights of Cui et al. (2019) for classes of up to some thousand rows are nearly balanced ones.
    """

    def __init__(
        self,
        task: Task,
        sampled_counts: np.ndarray,
        class_names: Sequence[str],
        *,
        weights: Weights = "balanced",
        beta: Fraction = 0.999,
        label_smoothing: Fraction = 0.0,
    ) -> None:
        super().__init__(task, sampled_counts, class_names, weights, beta)
        self.label_smoothing = label_smoothing

    def unweighted(self, z_BC: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(z_BC, targets, reduction="none", label_smoothing=self.label_smoothing)

    def objective(self) -> Objective | None:
        return None if self.label_smoothing else Objective("softmax", weights_C=self.declared_weights)

    def declares(self) -> Declaration:
        return Declaration(weights_C=self.declared_weights, approximate=smoothing_reason("weighted_ce", self.label_smoothing))


def log_p_and_rest(z_BC: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """log p_y and log(1 - p_y), (B,) each, of the softmax: the second is exact where 1 - p_y would cancel to 0."""
    log_p_BC = F.log_softmax(z_BC, dim=1)
    others_BC = log_p_BC.masked_fill(F.one_hot(targets, log_p_BC.shape[1]).bool(), -torch.inf)
    return log_p_BC.gather(1, targets[:, None]).squeeze(1), torch.logsumexp(others_BC, dim=1)
