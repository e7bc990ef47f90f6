"""Cross-entropy reshaped: its first Taylor coefficient raised, or its tail flattened against wrong labels.

B batch, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recipes.config.types import Fraction, NonNegativeFloat, Range
from recipes.data.facts import Task
from recipes.losses.softmax import ClassWeighted, log_p_and_rest
from recipes.losses.weights import Weights
from recipes.priors import Declaration


class Poly1(ClassWeighted):
    """(1 - p_y)^gamma [-log p_y + epsilon (1 - p_y)] (Leng et al. 2022).

    epsilon is what is added to the first coefficient of cross-entropy as a polynomial in 1 - p: 1 to 2 for classification, and -1, the
    least that leaves a loss at least 0, where over-confidence is the trouble. With epsilon other than 0 the optimum is not the posterior.
    gamma = 0 is Poly-1 of cross-entropy, above 0 that of focal loss.
    """

    def __init__(
        self,
        task: Task,
        sampled_counts: np.ndarray,
        class_names: Sequence[str],
        *,
        epsilon: Annotated[float, Range(ge=-1)] = 1.0,
        gamma: NonNegativeFloat = 0.0,
        weights: Weights = "none",
        beta: Fraction = 0.9999,
    ) -> None:
        super().__init__(task, sampled_counts, class_names, weights, beta)
        self.epsilon, self.gamma = epsilon, gamma

    def unweighted(self, z_BC: Tensor, targets: Tensor) -> Tensor:
        log_p_B, log_rest_B = log_p_and_rest(z_BC, targets)
        return torch.exp(self.gamma * log_rest_B) * (self.epsilon * torch.exp(log_rest_B) - log_p_B)

    def declares(self) -> Declaration:
        reason = f"loss=poly1 with loss.epsilon={self.epsilon:g} has its least beside the posterior" if self.epsilon else None
        return Declaration(weights_C=self.declared_weights, focus=self.gamma, approximate=reason)


class GCE(ClassWeighted):
    """(1 - p_y^q) / q (generalised cross-entropy; Zhang and Sabuncu 2018): between CE (q -> 0) and 1 - p_y (q = 1).

    The loss of a row is at most 1/q, so a wrong label cannot pull without bound. Below q = 1 the optimum is a sharpened posterior,
    p proportional to eta^(1 / (1 - q)), and so has a closed form.
    """

    def __init__(
        self,
        task: Task,
        sampled_counts: np.ndarray,
        class_names: Sequence[str],
        *,
        q: Annotated[float, Range(gt=0, le=1)] = 0.7,
        weights: Weights = "none",
        beta: Fraction = 0.9999,
    ) -> None:
        super().__init__(task, sampled_counts, class_names, weights, beta)
        self.q = q

    def unweighted(self, z_BC: Tensor, targets: Tensor) -> Tensor:
        log_p_B = -F.cross_entropy(z_BC, targets, reduction="none")
        return -torch.expm1(self.q * log_p_B) / self.q

    def declares(self) -> Declaration:
        """The optimum has a closed form for q < 1, and training seldom comes near: rows that look wrong hardly move the weights."""
        reason = "loss=gce hardly learns from rows that look wrong, rare ones among them"
        temper_C = None if self.q == 1 else np.full(len(self.weights_C), 1 / (1 - self.q))
        return Declaration(weights_C=self.declared_weights, temper_C=temper_C, approximate=reason)
