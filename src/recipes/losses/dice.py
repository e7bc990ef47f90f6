"""Dice loss: the overlap of what is said and what is true. B batch, C classes or labels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from recipes.config.types import NonNegativeFloat, PositiveFloat
from recipes.data.facts import Task
from recipes.losses.base import Loss
from recipes.losses.binary import margins
from recipes.losses.weights import check_shapes, raised
from recipes.priors import Declaration


class Dice(Loss):
    """1 - (2 s y + smooth) / (s + y + smooth), s = (1 - p)^alpha p: self-adjusting dice loss (Li et al. 2020).

    p is the sigmoid's of the positive class (binary) or of each label, and the softmax's of each class (multiclass); the mean over labels
    or classes. (1 - p)^alpha quiets easy rows, but s falls again above p = 1 / (1 + alpha): a positive that is surer is pulled back, and a
    wrong negative that is surer is let go. With the default that is p above .99; alpha = 1 would turn at one half, alpha = 0 never does.
    """

    def __init__(self, task: Task, *, alpha: NonNegativeFloat = 0.01, smooth: PositiveFloat = 1.0) -> None:
        super().__init__(task)
        self.alpha, self.smooth = alpha, smooth

    def forward(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        if self.task == "multiclass":
            check_shapes(logits_BC, targets)
            p_BC = torch.softmax(raised(logits_BC), dim=1)
            rest_BC, y_BC = 1 - p_BC, F.one_hot(targets, p_BC.shape[1]).to(p_BC.dtype)
        else:
            z, y_BC = margins(logits_BC, targets, self.task)
            p_BC, rest_BC = torch.sigmoid(z), torch.sigmoid(-z)
        # The power of a rounded 0 would have an infinite slope.
        said_BC = rest_BC.clamp_min(torch.finfo(p_BC.dtype).eps) ** self.alpha * p_BC
        return (1 - (2 * said_BC * y_BC + self.smooth) / (said_BC + y_BC + self.smooth)).mean(dim=1)

    def declares(self) -> Declaration:
        return Declaration(approximate="loss=dice fits an overlap and no probabilities")
