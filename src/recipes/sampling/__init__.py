"""Which train rows are seen, in what order, and which of them count."""

from __future__ import annotations

from recipes.sampling.balanced import BalancedBatch
from recipes.sampling.base import START, Made, Moment, Plan, Sampler
from recipes.sampling.class_sampling import ClassSampling, EffectiveNumber, Progressive
from recipes.sampling.cleaning import ENN, NearMiss, TomekLinks
from recipes.sampling.clusters import ClusterCentroids, ClusterSBC
from recipes.sampling.counts import sampled_counts, times_dealt
from recipes.sampling.deferred import Deferred
from recipes.sampling.hard_negatives import HardNegatives
from recipes.sampling.nominal import SMOTEN, SMOTENC
from recipes.sampling.ohem import OHEM
from recipes.sampling.oversamplers import ADASYN, SVMSMOTE, BorderlineSMOTE, KMeansSMOTE
from recipes.sampling.resize import RandomOver, RandomUnder
from recipes.sampling.rose import ROSE
from recipes.sampling.shuffle import NoMining, Shuffle
from recipes.sampling.smote import SMOTE
from recipes.sampling.smote_cleaned import SMOTEENN, SMOTETomek
from recipes.sampling.stratified import StratifiedBatch
from recipes.sampling.weighted import RepeatFactor, Weighted

__all__ = [
    "ADASYN",
    "ENN",
    "OHEM",
    "ROSE",
    "SMOTE",
    "SMOTEENN",
    "SMOTEN",
    "SMOTENC",
    "START",
    "SVMSMOTE",
    "BalancedBatch",
    "BorderlineSMOTE",
    "ClassSampling",
    "ClusterCentroids",
    "ClusterSBC",
    "Deferred",
    "EffectiveNumber",
    "HardNegatives",
    "KMeansSMOTE",
    "Made",
    "Moment",
    "NearMiss",
    "NoMining",
    "Plan",
    "Progressive",
    "RandomOver",
    "RandomUnder",
    "RepeatFactor",
    "SMOTETomek",
    "Sampler",
    "Shuffle",
    "StratifiedBatch",
    "TomekLinks",
    "Weighted",
    "sampled_counts",
    "times_dealt",
]
