"""Losses: one number a sample, class weights from train counts only."""

from recipes.losses.base import Loss
from recipes.losses.binary import BCE, WeightedBCE
from recipes.losses.focal import Focal
from recipes.losses.softmax import CrossEntropy, WeightedCE
from recipes.losses.weights import class_weights

__all__ = ["BCE", "CrossEntropy", "Focal", "Loss", "WeightedBCE", "WeightedCE", "class_weights"]
