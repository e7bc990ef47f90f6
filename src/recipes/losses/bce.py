"""Binary cross-entropy, with and without a weight on positives. B batch, C classes or labels, L binary decisions a sample."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from recipes.config.types import PositiveFloat
from recipes.data.facts import Task
from recipes.losses.base import Loss
from recipes.losses.common import binary_terms
from recipes.losses.weights import per_class


class BCE(Loss):
    """-[y log s(z) + (1 - y) log s(-z)] with the logistic s.

    On a binary task z is the margin z1 - z0, so this equals one logit's BCE, and the softmax's cross-entropy. On a multiclass task each
    class is told from the rest and on a multilabel one each label; a sample's loss is the mean over these.
    """

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task: Task = task

    def forward(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        logits_BL, targets_BL = binary_terms(logits_BC, targets, self.task)
        return functional.binary_cross_entropy_with_logits(logits_BL, targets_BL, reduction="none").mean(1)


class WeightedBCE(Loss):
    """BCE whose positive term is multiplied by `pos_weight`: -[w y log s(z) + (1 - y) log s(-z)].

    pos_weight: `auto` is n_neg / n_pos of the train split for each class or label (on a binary task: of class 1 only, whose margin the
    loss acts on), a class without rows, or without others, counting as one row; or a number for all, or one for each in their order, or
    by name with 1 for those not named. `cap` bounds it from above: weights of rare labels reach the thousands, and so do gradients.
    """

    def __init__(
        self,
        task: Task,
        class_names: tuple[str, ...],
        class_counts: np.ndarray,
        train_rows: int,
        *,
        pos_weight: Literal["auto"] | PositiveFloat | list[PositiveFloat] | dict[str, PositiveFloat] = "auto",
        cap: PositiveFloat | None = None,
    ) -> None:
        super().__init__()
        self.task: Task = task
        positives_L, names = class_counts.astype(np.float64), class_names
        if task == "binary":
            positives_L, names = positives_L[1:], class_names[1:]
        if pos_weight == "auto":
            weight_L = np.maximum(train_rows - positives_L, 1) / np.maximum(positives_L, 1)
        elif isinstance(pos_weight, int | float):
            weight_L = np.full(len(names), float(pos_weight))
        else:
            assert not isinstance(pos_weight, str)
            what = "label" if task == "multilabel" else "positive class" if task == "binary" else "class"
            weight_L = per_class(pos_weight, names, "loss.pos_weight", what)
        self.pos_weight_L: Tensor
        self.register_buffer("pos_weight_L", torch.from_numpy(np.minimum(weight_L, np.inf if cap is None else cap)), persistent=False)

    def forward(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        logits_BL, targets_BL = binary_terms(logits_BC, targets, self.task)
        weight_L = self.pos_weight_L.to(logits_BL.dtype)
        return functional.binary_cross_entropy_with_logits(logits_BL, targets_BL, pos_weight=weight_L, reduction="none").mean(1)

    def difficulty(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        logits_BL, targets_BL = binary_terms(logits_BC, targets, self.task)
        return functional.binary_cross_entropy_with_logits(logits_BL, targets_BL, reduction="none").mean(1)
