"""Cross-entropy over classes, plain and weighted.

B batch, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from recipes.config.types import Fraction, Range
from recipes.data.facts import Task
from recipes.losses.base import Loss
from recipes.losses.weights import Scheme, check_shapes, class_weights, raised


class CrossEntropy(Loss):
    """-log softmax(logits)_y. With `label_smoothing` e the target is 1 - e + e/C for y and e/C elsewhere (Szegedy et al. 2016)."""

    tasks: ClassVar[tuple[Task, ...]] = ("binary", "multiclass")

    def __init__(self, task: Task, *, label_smoothing: Fraction = 0.0) -> None:
        super().__init__(task)
        self.label_smoothing = label_smoothing

    def forward(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        check_shapes(logits_BC, targets)
        return F.cross_entropy(raised(logits_BC), targets, reduction="none", label_smoothing=self.label_smoothing)


class WeightedCE(CrossEntropy):
    """w_y times cross-entropy, with weights of mean 1 over the train rows.

    torch's own weighted mean divides by the weights that happen to be in the batch; here the step's denominator is the number of samples,
    so a batch's scale does not depend on its classes and micro-batches add up exactly. `beta` is that of `effective_number`.
    """

    def __init__(
        self,
        task: Task,
        class_counts: np.ndarray,
        class_names: Sequence[str],
        *,
        weights: Scheme | list[float] | dict[str, float] = "balanced",
        beta: Annotated[float, Range(ge=0, lt=1)] = 0.999,
        label_smoothing: Fraction = 0.0,
    ) -> None:
        super().__init__(task, label_smoothing=label_smoothing)
        self.weights_C: Tensor
        self.register_buffer("weights_C", class_weights(weights, class_counts, class_names, beta))

    def forward(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        loss_B = super().forward(logits_BC, targets)
        return self.weights_C.to(loss_B.dtype)[targets] * loss_B

    def difficulty(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        return super().forward(logits_BC, targets)
