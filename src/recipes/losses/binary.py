"""Losses on sigmoids: one logit a label, or one class against the rest.

B batch, C classes or labels. A binary task has two logits and one margin z = z_1 - z_0, on which these losses act: softmax over two logits
is the sigmoid of that margin, so they equal their one-logit form.
"""

from __future__ import annotations

import logging
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recipes.config.types import PositiveFloat
from recipes.data.facts import Task
from recipes.errors import ConfigError
from recipes.losses.base import Loss
from recipes.losses.weights import check_shapes, plain, raised, uneven
from recipes.models.fused import Objective
from recipes.priors import Declaration

log = logging.getLogger(__name__)


def margins(logits_BC: Tensor, targets: Tensor, task: Task) -> tuple[Tensor, Tensor]:
    """Logits and 0/1 targets of the yes-or-no questions that a task asks: (B, 1) binary, (B, C) else."""
    check_shapes(logits_BC, targets)
    z_BC = raised(logits_BC)
    if task == "multilabel":
        return z_BC, targets.to(z_BC.dtype)
    if task == "binary":
        return z_BC[:, 1:] - z_BC[:, :1], targets[:, None].to(z_BC.dtype)
    return z_BC, F.one_hot(targets, z_BC.shape[1]).to(z_BC.dtype)


def warn_one_vs_rest(task: Task, option: str) -> None:
    """Rows of one class need one distribution over the classes; a loss that asks of each class by itself says that it does."""
    if task == "multiclass":
        log.warning(
            "loss=%s takes each class against the rest, and this task has one class a row; loss=cross_entropy fits one distribution", option
        )


class BCE(Loss):
    """-[y log s(z) + (1 - y) log(1 - s(z))], the mean over labels (one, if binary). Multiclass: each class against the rest."""

    option = "bce"

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        warn_one_vs_rest(task, self.option)

    def forward(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        z, y = margins(logits_BC, targets, self.task)
        return F.binary_cross_entropy_with_logits(z, y, reduction="none").mean(dim=1)

    def objective(self) -> Objective | None:
        # The sigmoid of the margin is the softmax over the two logits.
        return Objective("softmax" if self.task == "binary" else "sigmoid")

    def declares(self) -> Declaration:
        return Declaration(link="sigmoid" if self.task == "multiclass" else "softmax")


class WeightedBCE(BCE):
    """BCE whose positive term is multiplied by `pos_weight`, as torch's BCEWithLogitsLoss does.

    pos_weight: `auto` is negatives / positives of each label in the rows that an epoch deals (of the positive class when binary), at most
    `cap`; or a number for all, or one a label. A label without positives gets 1.
    """

    option = "weighted_bce"

    def __init__(
        self,
        task: Task,
        sampled_counts: np.ndarray,
        sampled_rows: float,
        *,
        pos_weight: Literal["auto"] | PositiveFloat | list[PositiveFloat] = "auto",
        cap: PositiveFloat | None = None,
    ) -> None:
        super().__init__(task)
        positives = np.asarray(sampled_counts, dtype=np.float64)[1 if task == "binary" else 0 :]
        self._given = not isinstance(pos_weight, str)
        if isinstance(pos_weight, str):
            weights = np.where(positives > 0, (sampled_rows - positives) / np.maximum(positives, 1e-300), 1.0)
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
        if not self.active:
            return super().forward(logits_BC, targets)
        z, y = margins(logits_BC, targets, self.task)
        return F.binary_cross_entropy_with_logits(z, y, pos_weight=self.pos_weight_C.to(z.dtype), reduction="none").mean(dim=1)

    def difficulty(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        return super().forward(logits_BC, targets)

    def objective(self) -> Objective | None:
        if not self.active:
            return super().objective()
        weights_C = plain(self.pos_weight_C)
        if self.task == "binary":
            return Objective("softmax", weights_C=np.array([1.0, weights_C[0]]))
        return Objective("sigmoid", positive_C=weights_C)

    def declares(self) -> Declaration:
        if not self.active:
            return super().declares()
        weights_C = plain(self.pos_weight_C)
        if self.task == "binary":
            weights_C = np.array([1.0, weights_C[0]])
        return Declaration(weights_C=weights_C, link="sigmoid" if self.task == "multiclass" else "softmax")

    @property
    def rebalances(self) -> bool:
        return uneven(self.pos_weight_C)

    @property
    def explicit_weights(self) -> bool:
        return self._given
