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
from recipes.losses.weights import Scheme, check_shapes, class_weights, raised

log = logging.getLogger(__name__)


class Focal(Loss):
    """-alpha_t (1 - p_t)^gamma log p_t.

    Multiclass: p_t is the softmax of the true class, unweighted, and `alpha` a class-weight scheme or one weight a class (of mean 1 over
    the train rows); a single number would only scale the learning rate and is refused. Binary and multi-label: p_t is the sigmoid's, and
    `alpha` in [0, 1] is the weight of the positive side, 1 - alpha that of the negative one. The paper's .25 weighs positives *down*,
    because gamma = 2 has already silenced the easy negatives; without gamma its best alpha was .75. null: no alpha. `beta` is that of
    `effective_number`.
    """

    def __init__(
        self,
        task: Task,
        class_counts: np.ndarray,
        class_names: Sequence[str],
        *,
        gamma: NonNegativeFloat = 2.0,
        alpha: Probability | Scheme | list[NonNegativeFloat] | dict[str, NonNegativeFloat] | None = None,
        beta: Fraction = 0.999,
    ) -> None:
        super().__init__(task)
        self.gamma = gamma
        self.softmax = task == "multiclass"
        self.alpha: float | None = None
        self.weights_C: Tensor | None
        self.register_buffer("weights_C", None)
        if self.softmax and isinstance(alpha, int | float):
            raise ConfigError(
                f"loss.alpha: {alpha:g} for {len(class_names)} classes would only scale the learning rate; give one weight a class, or a "
                "scheme such as alpha=balanced, or null"
            )
        if self.softmax and alpha is not None:
            self.weights_C = class_weights(alpha, class_counts, class_names, beta, "loss.alpha")  # type: ignore[arg-type]
        elif alpha is not None:
            if not isinstance(alpha, int | float):
                raise ConfigError(
                    f"loss.alpha: on a {task} task it is one number in [0, 1], for the positive side, or null; got {alpha!r}"
                )
            self.alpha = float(alpha)
            if alpha < 0.5 and gamma == 0:
                log.warning("loss.alpha=%g with gamma=0 weighs the positive class down; above 0.5 weighs it up", alpha)

    def forward(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        loss_B = self._focal(logits_BC, targets, self.alpha)
        return loss_B if self.weights_C is None else self.weights_C.to(loss_B.dtype)[targets] * loss_B

    def difficulty(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        return self._focal(logits_BC, targets, None)

    def _focal(self, logits_BC: Tensor, targets: Tensor, alpha: float | None) -> Tensor:
        if self.softmax:
            check_shapes(logits_BC, targets)
            log_p_BC = F.log_softmax(raised(logits_BC), dim=1)
            log_p_B = log_p_BC.gather(1, targets[:, None]).squeeze(1)
            # log(1 - p_t) as the log-sum of the other classes: exact where 1 - p_t would cancel to 0
            others_BC = log_p_BC.masked_fill(F.one_hot(targets, log_p_BC.shape[1]).bool(), -torch.inf)
            return -self._modulation(torch.logsumexp(others_BC, dim=1)) * log_p_B
        z, y = margins(logits_BC, targets, self.task)
        signed = torch.where(y > 0.5, z, -z)
        loss = -self._modulation(F.logsigmoid(-signed)) * F.logsigmoid(signed)
        if alpha is not None:
            loss = torch.where(y > 0.5, alpha, 1 - alpha) * loss
        return loss.mean(dim=1)

    def _modulation(self, log_rest: Tensor) -> Tensor:
        """(1 - p_t)^gamma from log(1 - p_t); the power of a rounded 0 would have an infinite slope for gamma below 1."""
        return torch.exp(self.gamma * log_rest)
