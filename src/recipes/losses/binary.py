"""Losses on sigmoids: one logit a label, or one class against the rest.

B batch, C classes or labels. A binary task has two logits and one margin z = z_1 - z_0, on which these losses act: softmax over two logits
is the sigmoid of that margin, so they equal their one-logit form.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recipes.config.types import PositiveFloat
from recipes.data.facts import Task
from recipes.errors import ConfigError
from recipes.losses.base import Loss
from recipes.losses.weights import check_shapes, raised


def margins(logits_BC: Tensor, targets: Tensor, task: Task) -> tuple[Tensor, Tensor]:
    """Logits and 0/1 targets of the yes-or-no questions that a task asks: (B, 1) binary, (B, C) else."""
    check_shapes(logits_BC, targets)
    z_BC = raised(logits_BC)
    if task == "multilabel":
        return z_BC, targets.to(z_BC.dtype)
    if task == "binary":
        return z_BC[:, 1:] - z_BC[:, :1], targets[:, None].to(z_BC.dtype)
    return z_BC, F.one_hot(targets, z_BC.shape[1]).to(z_BC.dtype)


class BCE(Loss):
    """-[y log s(z) + (1 - y) log(1 - s(z))], the mean over labels (one, if binary). Multiclass: each class against the rest."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)

    def forward(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        z, y = margins(logits_BC, targets, self.task)
        return F.binary_cross_entropy_with_logits(z, y, reduction="none").mean(dim=1)


class WeightedBCE(BCE):
    """BCE whose positive term is multiplied by `pos_weight`, as torch's BCEWithLogitsLoss does.

    pos_weight: `auto` is negatives / positives of each label in train (of the positive class when binary), at most `cap`; or a number for
    all, or one a label. A label without positives gets 1.
    """

    def __init__(
        self,
        task: Task,
        class_counts: np.ndarray,
        train_rows: int,
        *,
        pos_weight: Literal["auto"] | PositiveFloat | list[PositiveFloat] = "auto",
        cap: PositiveFloat | None = None,
    ) -> None:
        super().__init__(task)
        positives = np.asarray(class_counts, dtype=np.float64)[1:] if task == "binary" else np.asarray(class_counts, dtype=np.float64)
        if isinstance(pos_weight, str):
            weights = np.where(positives > 0, (train_rows - positives) / np.maximum(positives, 1), 1.0)
            # A label that every row has would weigh 0 and never be learned; it has no negatives to balance.
            weights = np.where(weights > 0, weights, 1.0)
            weights = weights if cap is None else np.minimum(weights, cap)
        else:
            weights = np.array(pos_weight if isinstance(pos_weight, list) else [pos_weight] * len(positives), dtype=np.float64)
            if len(weights) != len(positives):
                raise ConfigError(f"loss.pos_weight: {len(weights)} weights for {len(positives)} labels; give one number, or one a label")
            if cap is not None:
                raise ConfigError("loss.cap bounds pos_weight=auto; with given weights, set it to null")
        self.pos_weight_C: Tensor
        self.register_buffer("pos_weight_C", torch.from_numpy(weights))

    def forward(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        z, y = margins(logits_BC, targets, self.task)
        return F.binary_cross_entropy_with_logits(z, y, pos_weight=self.pos_weight_C.to(z.dtype), reduction="none").mean(dim=1)

    def difficulty(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        return super().forward(logits_BC, targets)
