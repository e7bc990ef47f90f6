"""Cross-entropy with a margin that is the wider, the rarer the class.

B batch, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recipes.config.types import Fraction, NonNegativeFloat, PositiveFloat
from recipes.data.facts import Task
from recipes.errors import ConfigError
from recipes.losses.softmax import ClassWeighted, log_p_and_rest
from recipes.losses.weights import Weights, at_least_the_rarest, check_shapes, raised
from recipes.priors import Declaration

SCALE = 30.0


class LDAM(ClassWeighted):
    """CE of s (cos_c - m_y [c = y]), m_y = max_margin n_y^(-1/4) / max_c n_c^(-1/4) (Cao et al. 2019).

    The logits that it receives are s cos_c already: margins mean something between cosines only, so the loss asks the model for a head of
    cosines with this `scale`. The margins come from the train rows; a class without any has the widest. Reference recipes weigh classes by
    their effective number, late in training.
    """

    option = "ldam"

    def __init__(
        self,
        task: Task,
        class_counts: np.ndarray,
        sampled_counts: np.ndarray,
        class_names: Sequence[str],
        *,
        max_margin: NonNegativeFloat = 0.5,
        scale: PositiveFloat = SCALE,
        weights: Weights = "none",
        beta: Fraction = 0.9999,
    ) -> None:
        super().__init__(task, sampled_counts, class_names, weights, beta)
        self.scale = scale
        raw_C = at_least_the_rarest(class_counts) ** -0.25
        self.margins_C: Tensor
        self.register_buffer("margins_C", torch.from_numpy(max_margin * raw_C / raw_C.max()))

    def unweighted(self, z_BC: Tensor, targets: Tensor) -> Tensor:
        taken_B = self.scale * self.margins_C.to(z_BC.dtype)[targets]
        return F.cross_entropy(z_BC.scatter_add(1, targets[:, None], -taken_B[:, None]), targets, reduction="none")

    def difficulty(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy without margins, which would call every rare row hard."""
        check_shapes(logits_BC, targets)
        return F.cross_entropy(raised(logits_BC), targets, reduction="none")

    def declares(self) -> Declaration:
        return Declaration(weights_C=self.declared_weights, approximate=f"loss={self.option} has margins, which no decision has")

    @classmethod
    def asks_of_model(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {"head": "cosine", "scale": settings.get("scale", SCALE)}


class LMF(LDAM):
    """margin_part times LDAM + focal_part times focal loss (Sadi et al. 2022, whose alpha and beta these are).

    Both see the same scaled cosines, the focal part without margins. Class weights multiply the sum.
    """

    option = "lmf"

    def __init__(
        self,
        task: Task,
        class_counts: np.ndarray,
        sampled_counts: np.ndarray,
        class_names: Sequence[str],
        *,
        margin_part: NonNegativeFloat = 1.0,
        focal_part: NonNegativeFloat = 1.0,
        gamma: NonNegativeFloat = 2.0,
        max_margin: NonNegativeFloat = 0.5,
        scale: PositiveFloat = SCALE,
        weights: Weights = "none",
        beta: Fraction = 0.9999,
    ) -> None:
        super().__init__(task, class_counts, sampled_counts, class_names, max_margin=max_margin, scale=scale, weights=weights, beta=beta)
        if margin_part == focal_part == 0:
            raise ConfigError("loss: margin_part=0 and focal_part=0 leave no loss; set one of them above 0")
        self.margin_part, self.focal_part, self.gamma = margin_part, focal_part, gamma

    def unweighted(self, z_BC: Tensor, targets: Tensor) -> Tensor:
        return self.margin_part * super().unweighted(z_BC, targets) + self.focal_part * self._focal(z_BC, targets)

    def difficulty(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        """The same sum without margins."""
        return self.margin_part * super().difficulty(logits_BC, targets) + self.focal_part * self._focal(raised(logits_BC), targets)

    def _focal(self, z_BC: Tensor, targets: Tensor) -> Tensor:
        log_p_B, log_rest_B = log_p_and_rest(z_BC, targets)
        return -torch.exp(self.gamma * log_rest_B) * log_p_B
