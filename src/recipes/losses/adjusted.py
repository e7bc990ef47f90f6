"""Cross-entropy whose logits are shifted or divided by class, so that plain argmax of the raw ones is balanced.

B batch, C classes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recipes.config.types import Fraction, NonNegativeFloat
from recipes.data.facts import Task
from recipes.losses.softmax import ClassWeighted
from recipes.losses.weights import Weights, at_least_the_rarest, check_shapes, log_prior, plain, raised, uneven
from recipes.priors import Declaration

log = logging.getLogger(__name__)


class LogitAdjusted(ClassWeighted):
    """CE(f + tau log q) (Menon et al. 2021, equation 10), q the prior that training presents.

    q are the class shares of what the sampler deals, times the class weights where there are some: with a balanced sampler or balanced
    weights nothing is left to adjust, instead of being balanced twice. A class without rows is adjusted as the rarest one. Argmax of f is
    then the decision for equal priors (tau = 1).
    """

    def __init__(
        self,
        task: Task,
        sampled_counts: np.ndarray,
        class_names: Sequence[str],
        *,
        tau: NonNegativeFloat = 1.0,
        weights: Weights = "none",
        beta: Fraction = 0.9999,
    ) -> None:
        super().__init__(task, sampled_counts, class_names, weights, beta)
        prior_C = np.asarray(sampled_counts, dtype=np.float64) * plain(self.weights_C)
        self.adjust_C: Tensor
        self.register_buffer("adjust_C", torch.from_numpy(tau * log_prior(prior_C)))
        if tau > 0 and weights != "none":
            log.warning("loss.weights and the adjusted logits both balance the classes: the logits are adjusted for what the weights leave")

    def unweighted(self, z_BC: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(z_BC + self.adjust_C.to(z_BC.dtype) if self.active else z_BC, targets, reduction="none")

    def difficulty(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        check_shapes(logits_BC, targets)
        return F.cross_entropy(raised(logits_BC), targets, reduction="none")

    def declares(self) -> Declaration:
        return Declaration(weights_C=self.declared_weights, adjust_C=plain(self.adjust_C) if self.active else None)

    @property
    def rebalances(self) -> bool:
        return super().rebalances or uneven(self.adjust_C, float(self.adjust_C[0]))


class BalancedSoftmax(LogitAdjusted):
    """CE(f + log q) (Ren et al. 2020): logit adjustment with tau = 1."""

    def __init__(
        self,
        task: Task,
        sampled_counts: np.ndarray,
        class_names: Sequence[str],
        *,
        weights: Weights = "none",
        beta: Fraction = 0.9999,
    ) -> None:
        super().__init__(task, sampled_counts, class_names, tau=1.0, weights=weights, beta=beta)


class VS(LogitAdjusted):
    """CE(f / Delta + tau log q), Delta_y = (n_max / n_y)^gamma from the train rows (vector scaling; Kini et al. 2021).

    The raw f decide. Delta makes rare classes grow larger logits in training, which a network that separates its train rows notices and
    an added constant alone does not. gamma = 0: logit adjustment.
    """

    option = "vs"

    def __init__(
        self,
        task: Task,
        class_counts: np.ndarray,
        sampled_counts: np.ndarray,
        class_names: Sequence[str],
        *,
        gamma: NonNegativeFloat = 0.3,
        tau: NonNegativeFloat = 1.0,
        weights: Weights = "none",
        beta: Fraction = 0.9999,
    ) -> None:
        super().__init__(task, sampled_counts, class_names, tau=tau, weights=weights, beta=beta)
        counts = at_least_the_rarest(class_counts)
        self.temper_C: Tensor
        self.register_buffer("temper_C", torch.from_numpy((counts.max() / counts) ** gamma))

    def unweighted(self, z_BC: Tensor, targets: Tensor) -> Tensor:
        return super().unweighted(z_BC / self.temper_C.to(z_BC.dtype) if self.active else z_BC, targets)

    def declares(self) -> Declaration:
        if not self.active:
            return super().declares()
        reason = f"loss={self.option} scales the logits by class in training, and the decision does not" if self._tempers else None
        return Declaration(self.declared_weights, plain(self.adjust_C), plain(self.temper_C), approximate=reason)

    @property
    def rebalances(self) -> bool:
        return super().rebalances or self._tempers

    @property
    def _tempers(self) -> bool:
        return uneven(self.temper_C)


class CDT(VS):
    """CE(f / Delta), Delta_y = (n_max / n_y)^gamma (class-dependent temperatures; Ye et al. 2020): VS without an added term."""

    option = "cdt"

    def __init__(
        self,
        task: Task,
        class_counts: np.ndarray,
        sampled_counts: np.ndarray,
        class_names: Sequence[str],
        *,
        gamma: NonNegativeFloat = 0.3,
        weights: Weights = "none",
        beta: Fraction = 0.9999,
    ) -> None:
        super().__init__(task, class_counts, sampled_counts, class_names, gamma=gamma, tau=0.0, weights=weights, beta=beta)
