"""Optimizers, clipping and schedules."""

from __future__ import annotations

from recipes.optim.clip import Clip, clip_agc, clip_norm, clip_value, grad_norm, last_layer, make_clip
from recipes.optim.cycles import CosineRestarts, Cyclical, OneCycle
from recipes.optim.decays import Constant, Cosine, Exponential, InverseSqrt, Linear, MultiStep, Polynomial, StepDecay, TimeBased
from recipes.optim.groups import parameter_groups
from recipes.optim.optimizers import GIVEN, OWN_SETTINGS, Combined, check_sam, is_plain_sgd, make_optimizer, optimizer_problems, set_lr
from recipes.optim.plateau import Plateau
from recipes.optim.schedule import Schedule

__all__ = [
    "GIVEN",
    "OWN_SETTINGS",
    "Clip",
    "Combined",
    "Constant",
    "Cosine",
    "CosineRestarts",
    "Cyclical",
    "Exponential",
    "InverseSqrt",
    "Linear",
    "MultiStep",
    "OneCycle",
    "Plateau",
    "Polynomial",
    "Schedule",
    "StepDecay",
    "TimeBased",
    "check_sam",
    "clip_agc",
    "clip_norm",
    "clip_value",
    "grad_norm",
    "is_plain_sgd",
    "last_layer",
    "make_clip",
    "make_optimizer",
    "optimizer_problems",
    "parameter_groups",
    "set_lr",
]
