"""Distribution-balanced losses for multi-label tasks with a long tail (Wu et al. 2020; for text Huang et al. 2021).

B batch, C labels.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recipes.config.types import Fraction, NonNegativeFloat, PositiveFloat, Probability
from recipes.data.facts import Task
from recipes.losses.base import Loss
from recipes.losses.weights import check_shapes, raised, uneven
from recipes.priors import Declaration


class NTR(Loss):
    """Focal loss on negative-tolerant logits, NTR-FL (Wu et al. 2020; Huang et al. 2021).

    With u = z + nu, nu_c = -kappa log(N / n_c - 1), a positive costs alpha (1 - s(u))^gamma [-log s(u)], and a negative
    (1 - alpha) s(lambda u)^gamma [-log(1 - s(lambda u))] / lambda, lambda = `neg_scale`: one that is told apart well pulls no further.
    The mean over labels, n_c and N from the train rows. weights=effective_number multiplies by 1 / (1 - beta^n_c), which makes it CB-NTR;
    the authors' ten times (1 - beta) is the same at their beta of .9. Their code drops the 1 / lambda of the formula unless it re-weighs.
    """

    tasks: ClassVar[tuple[Task, ...]] = ("multilabel",)
    option = "ntr"

    def __init__(
        self,
        task: Task,
        class_counts: np.ndarray,
        train_rows: int,
        *,
        weights: Literal["none", "effective_number"] = "none",
        beta: Fraction = 0.9,
        neg_scale: PositiveFloat = 2.0,
        kappa: NonNegativeFloat = 0.05,
        gamma: NonNegativeFloat = 2.0,
        alpha: Probability = 0.5,
    ) -> None:
        super().__init__(task)
        self.neg_scale, self.gamma, self.alpha = neg_scale, gamma, alpha
        # A label that no row or every row has counts as if half a row differed: the logarithms stay finite.
        counts = np.clip(np.asarray(class_counts, dtype=np.float64), 0.5, max(train_rows - 0.5, 0.5))
        weighs = weights == "effective_number" and beta > 0
        self.nu_C: Tensor
        self.inverse_C: Tensor
        self.weights_C: Tensor
        self.register_buffer("nu_C", torch.from_numpy(-kappa * np.log(max(train_rows, 1) / counts - 1)))
        self.register_buffer("inverse_C", torch.from_numpy(1 / counts))
        self.register_buffer("weights_C", torch.from_numpy(-1 / np.expm1(counts * np.log(beta)) if weighs else np.ones_like(counts)))

    def forward(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        check_shapes(logits_BC, targets)
        z_BC = raised(logits_BC)
        y_BC = targets.to(z_BC.dtype)
        if not self.active:
            return self._focal(z_BC, y_BC).mean(dim=1)
        return (self._weights(y_BC) * self._focal(z_BC + self.nu_C.to(z_BC.dtype), y_BC)).mean(dim=1)

    def difficulty(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        check_shapes(logits_BC, targets)
        z_BC = raised(logits_BC)
        return self._focal(z_BC, targets.to(z_BC.dtype)).mean(dim=1)

    def declares(self) -> Declaration:
        return Declaration(approximate=f"loss={self.option} tolerates negatives more than positives")

    @property
    def rebalances(self) -> bool:
        return uneven(self.nu_C, 0.0) or uneven(self.weights_C)

    def _weights(self, y_BC: Tensor) -> Tensor:
        """(B, C), or (C,) where it does not depend on the row."""
        return self.weights_C.to(y_BC.dtype)

    def _focal(self, u_BC: Tensor, y_BC: Tensor) -> Tensor:
        scaled_BC = self.neg_scale * u_BC
        positive_BC = -torch.exp(self.gamma * F.logsigmoid(-u_BC)) * F.logsigmoid(u_BC)
        negative_BC = -torch.exp(self.gamma * F.logsigmoid(scaled_BC)) * F.logsigmoid(-scaled_BC) / self.neg_scale
        return self.alpha * y_BC * positive_BC + (1 - self.alpha) * (1 - y_BC) * negative_BC


class DistributionBalanced(NTR):
    """NTR-FL times the re-balanced weights r^ = map_alpha + s(map_beta (r - map_gamma)) (Wu et al. 2020).

    r = (1 / n_c) / sum over the labels k of the row of 1 / n_k: how often class-balanced sampling would show label c, over how often it
    shows the row, whose other labels come along. A row without labels has the limit, r^ = 1 + map_alpha. The defaults are those for text.
    """

    option = "db"

    def __init__(
        self,
        task: Task,
        class_counts: np.ndarray,
        train_rows: int,
        *,
        map_alpha: NonNegativeFloat = 0.1,
        map_beta: NonNegativeFloat = 10.0,
        map_gamma: NonNegativeFloat = 0.9,
        neg_scale: PositiveFloat = 2.0,
        kappa: NonNegativeFloat = 0.05,
        gamma: NonNegativeFloat = 2.0,
        alpha: Probability = 0.5,
    ) -> None:
        super().__init__(task, class_counts, train_rows, neg_scale=neg_scale, kappa=kappa, gamma=gamma, alpha=alpha)
        self.map_alpha, self.map_beta, self.map_gamma = map_alpha, map_beta, map_gamma

    @property
    def rebalances(self) -> bool:
        return True

    def _weights(self, y_BC: Tensor) -> Tensor:
        inverse_C = self.inverse_C.to(y_BC.dtype)
        seen_B1 = (y_BC * inverse_C).sum(dim=1, keepdim=True)
        ratio_BC = inverse_C / seen_B1.clamp_min(torch.finfo(y_BC.dtype).tiny)
        mapped_BC = torch.sigmoid(self.map_beta * (ratio_BC.clamp(max=1e6) - self.map_gamma))
        return torch.where(seen_B1 > 0, mapped_BC, 1.0) + self.map_alpha
