"""Losses: one number a sample; weights and adjustments from counts of train rows only."""

from recipes.losses.adjusted import CDT, VS, BalancedSoftmax, LogitAdjusted
from recipes.losses.asymmetric import ASL
from recipes.losses.base import Loss
from recipes.losses.binary import BCE, WeightedBCE
from recipes.losses.dice import Dice
from recipes.losses.distribution import NTR, DistributionBalanced
from recipes.losses.focal import Focal
from recipes.losses.harmonized import GHM
from recipes.losses.hinge import Hinge, SquaredHinge
from recipes.losses.margin import LDAM, LMF
from recipes.losses.ranking import AUCMargin, PairwiseAUC
from recipes.losses.robust import GCE, Poly1
from recipes.losses.sampled import HierarchicalSoftmax, NegativeSampling
from recipes.losses.softmax import CrossEntropy, WeightedCE
from recipes.losses.weights import class_weights

__all__ = [
    "ASL",
    "BCE",
    "CDT",
    "GCE",
    "GHM",
    "LDAM",
    "LMF",
    "NTR",
    "VS",
    "AUCMargin",
    "BalancedSoftmax",
    "CrossEntropy",
    "Dice",
    "DistributionBalanced",
    "Focal",
    "HierarchicalSoftmax",
    "Hinge",
    "LogitAdjusted",
    "Loss",
    "NegativeSampling",
    "PairwiseAUC",
    "Poly1",
    "SquaredHinge",
    "WeightedBCE",
    "WeightedCE",
    "class_weights",
]
