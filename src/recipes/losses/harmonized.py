"""Gradient harmonising: rows count the less, the more others are just as hard. B batch, C classes or labels, K bins."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from recipes.config.types import Fraction, PositiveInt
from recipes.data.facts import Task
from recipes.losses.binary import BCE, margins
from recipes.priors import Declaration


class GHM(BCE):
    """BCE / density of its gradient norm g = |s(z) - y| (GHM-C; Li et al. 2019).

    [0, 1] is cut into `bins`; a yes-or-no question whose g is in a bin with a share d of all those of the window weighs 1 / (d K'), with K'
    the bins that are not empty. So a window's weights have mean 1, the many easy rows share one voice, and so do outliers. `momentum` is
    that of the moving average of the shares over windows, which begins with the first one and moves in training mode only, once a call.
    The mean over labels (one, if binary). Multiclass: each class against the rest.
    """

    batchwise = True
    option = "ghm"

    def __init__(self, task: Task, *, bins: PositiveInt = 10, momentum: Fraction = 0.75) -> None:
        super().__init__(task)
        self.bins, self.momentum = bins, momentum
        self.share_K: Tensor
        self.begun: Tensor
        self.register_buffer("share_K", torch.zeros(bins, dtype=torch.float64))
        self.register_buffer("begun", torch.zeros((), dtype=torch.bool))

    def forward(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        z, y = margins(logits_BC, targets, self.task)
        with torch.no_grad():
            weights = self._weights((torch.sigmoid(z) - y).abs())
        return (weights.to(z.dtype) * F.binary_cross_entropy_with_logits(z, y, reduction="none")).mean(dim=1)

    def difficulty(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        """BCE: without the weights, and without moving the average."""
        return super().forward(logits_BC, targets)

    def declares(self) -> Declaration:
        link = super().declares().link
        return Declaration(link=link, approximate="loss=ghm weighs rows by how many are as hard")

    def _weights(self, norms: Tensor) -> Tensor:
        # Logits that are not numbers must show in the loss, where the loop names the step, and not as an index that no bin has.
        bin_of = (norms.nan_to_num() * self.bins).long().clamp(max=self.bins - 1)
        now_K = torch.bincount(bin_of.flatten(), minlength=self.bins).to(self.share_K.dtype) / norms.numel()
        share_K = torch.where(self.begun, torch.lerp(now_K, self.share_K, self.momentum), now_K)
        if self.training:
            self.share_K.copy_(share_K)
            self.begun.fill_(True)
        return 1 / (share_K[bin_of] * (now_K > 0).sum())
