"""Hinge losses: a row that is right by more than the margin costs nothing. B batch, C classes or labels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from recipes.data.facts import Task
from recipes.losses.base import Loss
from recipes.losses.binary import margins
from recipes.priors import Declaration


class Hinge(Loss):
    """max(0, 1 - z) for positives and max(0, 1 + z) for negatives, the mean over labels (one, if binary; Cortes and Vapnik 1995).

    Multiclass: each class against the rest, as scikit-learn's LinearSVC does by default.
    """

    scores = True
    option = "hinge"

    def __init__(self, task: Task) -> None:
        super().__init__(task)

    def forward(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        z, y = margins(logits_BC, targets, self.task)
        return (y * self._cost(1 - z) + (1 - y) * self._cost(1 + z)).mean(dim=1)

    def declares(self) -> Declaration:
        return Declaration(approximate=f"loss={self.option} fits margins and no probabilities")

    def _cost(self, lack: Tensor) -> Tensor:
        return F.relu(lack)


class SquaredHinge(Hinge):
    """The square of the hinge loss of each label: smooth at the margin, harder on rows far on the wrong side."""

    option = "squared_hinge"

    def _cost(self, lack: Tensor) -> Tensor:
        return torch.square(F.relu(lack))
