"""Focal loss (Lin et al. 2017, "Focal Loss for Dense Object Detection"). B batch, C classes or labels."""

from __future__ import annotations

import logging
import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from recipes.config.types import Fraction, NonNegativeFloat, Probability
from recipes.data.facts import Task
from recipes.errors import ConfigError
from recipes.losses.base import Loss
from recipes.losses.common import checked
from recipes.losses.weights import class_weights

_log = logging.getLogger(__name__)


class Focal(Loss):
    """-alpha_t (1 - p_t)^gamma log p_t, where p_t is the probability of what is true.

    On binary and multiclass tasks p_t is the softmax's; on multilabel ones each label has a logistic of its own, and a sample's loss is
    the mean over labels. gamma 0 is cross-entropy.

    alpha: null is 1. A number weights the positive class (class 1, or each label), and 1 - alpha the rest; the paper's .25 goes with
    gamma 2 and makes positives count *less*, since gamma has already quietened the easy negatives. On a multiclass task one number would
    only rescale the loss and is refused: give a scheme, a list or a dict of class weights, which are scaled as in `class_weights`.
    Those are also taken on binary tasks; multilabel ones take a number, or a list with one for each label.
    """

    def __init__(
        self,
        task: Task,
        class_names: tuple[str, ...],
        class_counts: np.ndarray,
        *,
        gamma: NonNegativeFloat = 2.0,
        alpha: Probability
        | Literal["balanced", "sqrt", "effective_number"]
        | list[NonNegativeFloat]
        | dict[str, NonNegativeFloat]
        | None = None,
        beta: Fraction = 0.9999,
    ) -> None:
        super().__init__()
        self.task: Task = task
        self.gamma = gamma
        self.alpha_C: Tensor | None
        number = isinstance(alpha, int | float)
        if alpha is None:
            weights_C = None
        elif task == "multilabel":
            weights_C = _label_alpha(alpha, class_names)
        elif not number:
            weights_C = class_weights(alpha, class_counts, class_names, beta, "loss.alpha")  # type: ignore[arg-type]
        elif task == "multiclass":
            raise ConfigError(
                f"loss.alpha: one number, {alpha}, for {len(class_names)} classes would only rescale the loss; give class weights: "
                "balanced, sqrt, effective_number, a list with one for each class, {class: weight}, or null"
            )
        else:
            weights_C = torch.tensor([1 - alpha, alpha], dtype=torch.float64)  # type: ignore[operator]
        if number and alpha < 0.5 and gamma == 0:  # type: ignore[operator]
            _log.warning("loss.alpha=%s with loss.gamma=0 makes the positive class count less than the rest; was %s meant?", alpha, 1 - alpha)  # type: ignore[operator]
        self.register_buffer("alpha_C", weights_C, persistent=False)

    def forward(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        return self._loss(logits_BC, targets, self.alpha_C)

    def difficulty(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        return self._loss(logits_BC, targets, None)

    def _loss(self, logits_BC: Tensor, targets: Tensor, alpha_C: Tensor | None) -> Tensor:
        logits_BC = checked(logits_BC, targets, self.task)
        alpha_C = None if alpha_C is None else alpha_C.to(logits_BC.dtype)
        if self.task != "multilabel":
            loss_B = self._of_margin(_softmax_margin(logits_BC, targets))
            return loss_B if alpha_C is None else alpha_C[targets] * loss_B
        targets = targets.to(logits_BC.dtype)
        positive_BC, negative_BC = targets * self._of_margin(logits_BC), (1 - targets) * self._of_margin(-logits_BC)
        if alpha_C is not None:
            positive_BC, negative_BC = alpha_C * positive_BC, (1 - alpha_C) * negative_BC
        return (positive_BC + negative_BC).mean(1)

    def _of_margin(self, margin: Tensor) -> Tensor:
        """(1 - p)^gamma * -log p for p = s(margin).

        In logs there is no cancellation, and no power of 0, whose gradient is infinite for gamma below 1.
        """
        return torch.exp(self.gamma * functional.logsigmoid(-margin)) * -functional.logsigmoid(margin)


def _softmax_margin(logits_BC: Tensor, targets_B: Tensor) -> Tensor:
    """(B,): the log-odds of the true class, so that p_t = s(margin) and 1 - p_t = s(-margin) keep their digits near 1 and 0."""
    true_B1 = targets_B[:, None]
    rest_B = logits_BC.scatter(1, true_B1, -math.inf).logsumexp(1)
    return logits_BC.gather(1, true_B1).squeeze(1) - rest_B


def _label_alpha(alpha: object, labels: tuple[str, ...]) -> Tensor:
    """(C,) float64 in [0, 1]: the weight of each label's positives."""
    values = [alpha] * len(labels) if isinstance(alpha, int | float) else alpha
    if not isinstance(values, list | tuple) or len(values) != len(labels) or max(values) > 1:
        raise ConfigError(
            f"loss.alpha: {alpha!r} does not fit a multilabel task; give a number from 0 to 1 for all labels, or a list of {len(labels)}, "
            "or choose loss=weighted_bce, whose pos_weight=auto weights labels by their counts"
        )
    return torch.tensor(values, dtype=torch.float64)
