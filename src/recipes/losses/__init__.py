"""(logits_BC, targets) -> loss_B: the losses, and the base that a new one derives from."""

from recipes.losses.base import Loss
from recipes.losses.bce import BCE, WeightedBCE
from recipes.losses.cross_entropy import CrossEntropy, WeightedCE
from recipes.losses.focal import Focal

__all__ = ["BCE", "CrossEntropy", "Focal", "Loss", "WeightedBCE", "WeightedCE"]
