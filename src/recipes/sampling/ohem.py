"""Online hard example mining: only the hardest samples of a batch count."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor

from recipes.config.types import Fraction, NonNegativeInt, Range
from recipes.errors import ConfigError
from recipes.sampling.base import Sampler

_ROUNDING = 1e-9  # 100 * 0.07 is a little more than 7; that must not make 8 of it


class OHEM(Sampler):
    """Keeps the `keep_ratio` hardest samples of each update (Shrivastava et al. 2016); the loss is their mean, not the batch's.

    As a sampler it deals shuffled batches; as `mining=ohem` it goes with any other sampler. Samples are ranked by their loss without class
    weights, over all micro-batches of the update. At least one is kept. Wrong labels are always hard: `drop_top` leaves out that share of
    the batch from the hard end before the hardest of the rest are kept. Raises ConfigError where both together exceed the batch.
    """

    def __init__(
        self, *, keep_ratio: Annotated[float, Range(gt=0, le=1)] = 0.7, drop_top: Fraction = 0.0, warmup_epochs: NonNegativeInt = 0
    ) -> None:
        if keep_ratio + drop_top > 1 + _ROUNDING:
            raise ConfigError(
                f"ohem: keep_ratio={keep_ratio:g} and drop_top={drop_top:g} add up to more than the whole batch; "
                f"with this drop_top, keep_ratio is at most {1 - drop_top:g}"
            )
        self.keep_ratio = keep_ratio
        self.drop_top = drop_top
        self.warmup_epochs = warmup_epochs

    def select(self, difficulty_B: Tensor, epoch: int) -> Tensor | None:
        if epoch < self.warmup_epochs:
            return None
        size = len(difficulty_B)
        dropped = math.floor(size * self.drop_top + _ROUNDING)
        kept = max(1, math.ceil(size * self.keep_ratio - _ROUNDING))
        # Both counts are known on the host and the fill takes a plain value, so a CUDA device is never waited for.
        hardest = difficulty_B.topk(min(size, dropped + kept)).indices[dropped:]
        return torch.zeros_like(difficulty_B, dtype=torch.bool).scatter_(0, hardest, True)
