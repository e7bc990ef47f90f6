"""Focal loss (Lin et al. 2017, equation 5): cross-entropy, less of it where the model is right already.

B batch, C classes or labels.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recipes.config.types import Fraction, NonNegativeFloat, Probability
from recipes.data.facts import Task
from recipes.errors import ConfigError
from recipes.losses.base import Loss
from recipes.losses.binary import margins
from recipes.losses.softmax import log_p_and_rest
from recipes.losses.weights import Weights, check_shapes, class_weights, label_weights, plain, raised, uneven
from recipes.priors import Declaration

log = logging.getLogger(__name__)


class Focal(Loss):
    """-alpha_t (1 - p_t)^gamma log p_t.

    Multiclass: p_t is the softmax of the true class, unweighted, and `alpha` a class-weight scheme or one weight a class (of mean 1 over
    the rows that an epoch deals); a single number would only scale the learning rate and is refused. Binary and multi-label: p_t is the
    sigmoid's, and `alpha` in [0, 1] is the weight of the positive side, 1 - alpha that of the negative one. The paper's .25 weighs
    positives *down*, because gamma = 2 has already silenced the easy negatives; without gamma its best alpha was .75. A scheme weighs the
    two sides by their rows, for each label. null: no alpha. `beta` is that of `effective_number`.
    """

    def __init__(
        self,
        task: Task,
        sampled_counts: np.ndarray,
        class_names: Sequence[str],
        sampled_rows: float,
        *,
        gamma: NonNegativeFloat = 2.0,
        alpha: Probability | Weights | None = None,
        beta: Fraction = 0.999,
    ) -> None:
        super().__init__(task)
        self.gamma = gamma
        self._given = isinstance(alpha, list | tuple | dict)
        if task == "multiclass" and isinstance(alpha, int | float):
            raise ConfigError(
                f"loss.alpha: {alpha:g} for {len(class_names)} classes would only scale the learning rate; give one weight a class, or a "
                "scheme such as alpha=balanced, or null"
            )
        if isinstance(alpha, int | float) and alpha < 0.5 and gamma == 0:
            log.warning("loss.alpha=%g with gamma=0 weighs the positive class down; above 0.5 weighs it up", alpha)
        # (C,) weights of the classes, or (2, C) of the negative and the positive side of each label; a binary task has one label
        weights = None if alpha is None else _weights(task, alpha, sampled_counts, class_names, sampled_rows, beta)
        self.weights: Tensor | None
        self.register_buffer("weights", weights)

    def forward(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        return self._focal(logits_BC, targets, self.weights if self.active else None)

    def difficulty(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        return self._focal(logits_BC, targets, None)

    def declares(self) -> Declaration:
        if self.weights is None or not self.active:
            return Declaration(focus=self.gamma)
        weights = plain(self.weights)
        if self.task == "multilabel":
            weights = weights[1] / np.maximum(weights[0], 1e-300)
        return Declaration(weights_C=weights.reshape(-1), focus=self.gamma)

    @property
    def rebalances(self) -> bool:
        return self.weights is not None and uneven(self.weights)

    @property
    def explicit_weights(self) -> bool:
        """Weights of classes. A number is no such weight: it goes with gamma, as in the paper."""
        return self._given

    def _focal(self, logits_BC: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
        if self.task == "multiclass":
            check_shapes(logits_BC, targets)
            log_p_B, log_rest_B = log_p_and_rest(raised(logits_BC), targets)
            loss_B = -self._modulation(log_rest_B) * log_p_B
            return loss_B if weights is None else weights.to(loss_B.dtype)[targets] * loss_B
        z, y = margins(logits_BC, targets, self.task)
        signed = torch.where(y > 0.5, z, -z)
        loss = -self._modulation(F.logsigmoid(-signed)) * F.logsigmoid(signed)
        if weights is not None:
            negative_C, positive_C = weights.to(loss.dtype)
            loss = torch.where(y > 0.5, positive_C, negative_C) * loss
        return loss.mean(dim=1)

    def _modulation(self, log_rest: Tensor) -> Tensor:
        """(1 - p_t)^gamma from log(1 - p_t); the power of a rounded 0 would have an infinite slope for gamma below 1."""
        return torch.exp(self.gamma * log_rest)


def _weights(
    task: Task, alpha: float | Weights, sampled_counts: np.ndarray, class_names: Sequence[str], sampled_rows: float, beta: float
) -> Tensor:
    if isinstance(alpha, int | float):
        labels = 1 if task == "binary" else len(class_names)
        return torch.tensor([[1.0 - alpha] * labels, [float(alpha)] * labels], dtype=torch.float64)
    if task != "multilabel":
        weights_C = class_weights(alpha, sampled_counts, class_names, beta, "loss.alpha")
        return weights_C if task == "multiclass" else weights_C[:, None]
    if not isinstance(alpha, str):
        raise ConfigError(
            "loss.alpha: on a multilabel task it is one number in [0, 1], for the positive side of every label, a scheme such as "
            f"alpha=balanced, or null; got {alpha!r}; loss=weighted_bce takes one weight a label"
        )
    return label_weights(alpha, sampled_counts, sampled_rows, beta)
