"""Asymmetric loss for rows with few labels of many. B batch, C classes or labels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from recipes.config.types import Fraction, NonNegativeFloat
from recipes.data.facts import Task
from recipes.losses.base import Loss
from recipes.losses.binary import margins, warn_one_vs_rest
from recipes.priors import Declaration


class ASL(Loss):
    """y (1 - p)^gamma_pos [-log p] + (1 - y) p_m^gamma_neg [-log(1 - p_m)], p_m = max(p - clip, 0) (Ridnik et al. 2021).

    Negatives below `clip` count nothing at all. The mean over labels, where the authors' code sums over labels and rows, so the learning
    rate does not depend on their number. `detach_factor` leaves the two powers out of the gradient, as the authors' first version does.
    Where training diverges, begin with gamma_neg = gamma_pos = 0 and clip = 0, which is bce, and raise them. Multiclass: each class against
    the rest.
    """

    def __init__(
        self,
        task: Task,
        *,
        gamma_neg: NonNegativeFloat = 4.0,
        gamma_pos: NonNegativeFloat = 1.0,
        clip: Fraction = 0.05,
        detach_factor: bool = False,
    ) -> None:
        super().__init__(task)
        warn_one_vs_rest(task, "asl")
        self.gamma_neg, self.gamma_pos, self.clip, self.detach_factor = gamma_neg, gamma_pos, clip, detach_factor

    def forward(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        z, y = margins(logits_BC, targets, self.task)
        return (y * self._positive(z) + (1 - y) * self._negative(z)).mean(dim=1)

    def declares(self) -> Declaration:
        plain = self.gamma_neg == self.gamma_pos == self.clip == 0
        reason = None if plain else "loss=asl treats the two sides of a label differently"
        return Declaration(link="sigmoid" if self.task == "multiclass" else "softmax", approximate=reason)

    def _positive(self, z: Tensor) -> Tensor:
        return -self._held(torch.exp(self.gamma_pos * F.logsigmoid(-z))) * F.logsigmoid(z)

    def _negative(self, z: Tensor) -> Tensor:
        if self.clip == 0:
            return -self._held(torch.exp(self.gamma_neg * F.logsigmoid(z))) * F.logsigmoid(-z)
        p_m = F.relu(torch.sigmoid(z) - self.clip)
        # Where p_m is 0 so is the loss, whatever the power; the power's own slope at 0 is infinite for exponents below 1.
        power = torch.where(p_m > 0, p_m, 1.0) ** self.gamma_neg
        return -self._held(power) * torch.log((torch.sigmoid(-z) + self.clip).clamp(max=1.0))

    def _held(self, factor: Tensor) -> Tensor:
        return factor.detach() if self.detach_factor else factor
