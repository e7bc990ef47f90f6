"""Online hard example mining: only the hardest samples of a batch count."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from recipes.config.types import Fraction, NonNegativeInt, PositiveInt, Range
from recipes.data.facts import Task
from recipes.errors import ConfigError
from recipes.sampling.base import Sampler

_ROUNDING = 1e-9  # 100 * 0.07 is a little more than 7; that must not make 8 of it


class OHEM(Sampler):
    """Keeps the `keep_ratio` hardest samples of each update (Shrivastava et al. 2016); the loss is their mean, not the batch's.

    As a sampler it deals shuffled batches; as `mining=ohem` it goes with any other sampler. Samples are ranked by their loss without class
    weights, over all micro-batches of the update. At least one is kept. Wrong labels are always hard: `drop_top` leaves out that share of
    the batch from the hard end before the hardest of the rest are kept. Raises ConfigError where both together exceed the batch.

    negatives_per_positive: keeps all positives instead and, for each, so many of the hardest negatives (SSD, Liu et al. 2016: 3);
    keep_ratio has no say then, and `drop_top` is a share of the negatives. A batch without a positive keeps negatives as if it had one.
    Positive are the rows of the positive class (binary), of all classes but the largest (multi-class), with any label (multi-label).
    """

    approximate = "which samples count depends on how hard they are"

    def __init__(
        self,
        task: Task = "binary",
        class_counts: np.ndarray | None = None,
        *,
        keep_ratio: Annotated[float, Range(gt=0, le=1)] = 0.7,
        negatives_per_positive: PositiveInt | None = None,
        drop_top: Fraction = 0.0,
        warmup_epochs: NonNegativeInt = 0,
    ) -> None:
        if negatives_per_positive is None and keep_ratio + drop_top > 1 + _ROUNDING:
            raise ConfigError(
                f"ohem: keep_ratio={keep_ratio:g} and drop_top={drop_top:g} add up to more than the whole batch; "
                f"with this drop_top, keep_ratio is at most {1 - drop_top:g}"
            )
        # Of two classes the positive one is the last, whichever is larger.
        self.negative = 0 if task == "binary" or class_counts is None else int(np.argmax(class_counts))
        self.keep_ratio = keep_ratio
        self.negatives_per_positive = negatives_per_positive
        self.drop_top = drop_top
        self.warmup_epochs = warmup_epochs

    def select(self, difficulty_B: Tensor, targets: Tensor, epoch: int) -> Tensor | None:
        if epoch < self.warmup_epochs:
            return None
        if self.negatives_per_positive is not None:
            positive_B = targets != self.negative if targets.dim() == 1 else (targets > 0).any(dim=1)
            return self._beside(positive_B, difficulty_B, self.negatives_per_positive)
        size = len(difficulty_B)
        dropped = math.floor(size * self.drop_top + _ROUNDING)
        kept = max(1, math.ceil(size * self.keep_ratio - _ROUNDING))
        # Both counts are known on the host and the fill takes a plain value, so a CUDA device is never waited for.
        hardest = difficulty_B.topk(min(size, dropped + kept)).indices[dropped:]
        return torch.zeros_like(difficulty_B, dtype=torch.bool).scatter_(0, hardest, True)

    def _beside(self, positive_B: Tensor, difficulty_B: Tensor, each: int) -> Tensor:
        """All positives and `each` times as many negatives. How many these are only the device knows, so ranks are compared there."""
        order_B = difficulty_B.masked_fill(positive_B, -math.inf).argsort(descending=True)
        rank_B = torch.empty_like(order_B).scatter_(0, order_B, torch.arange(len(order_B), device=order_B.device))
        positives = positive_B.sum()
        dropped = ((len(difficulty_B) - positives).double() * self.drop_top + _ROUNDING).floor()
        hard_B = (rank_B >= dropped) & (rank_B < dropped + each * positives.clamp(min=1))
        return positive_B | hard_B & ~positive_B
