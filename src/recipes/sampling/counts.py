"""What an epoch deals, sample by sample and class by class.

M samples of the plan, C classes or labels.
"""

from __future__ import annotations

import numpy as np

from recipes.sampling.base import START, Moment, Plan, Sampler


def times_dealt(
    sampler: Sampler, plan: Plan, labels: np.ndarray, size: int, rng: np.random.Generator, moment: Moment = START
) -> np.ndarray:
    """(M,) int64: how often each sample of the plan is dealt in one epoch of batches of `size`, which begins at `moment`.

    labels: the targets of the plan's samples, (M,) int64 or (M, C) for multi-label. A sampler that overrides `batches` deals one epoch
    for it, from `rng`.
    """
    if type(sampler).batches is Sampler.batches:
        return np.ones(len(plan), dtype=np.int64)
    return np.bincount(np.concatenate(list(sampler.batches(plan, labels, size, rng, moment))), minlength=len(plan))


def sampled_counts(
    sampler: Sampler,
    plan: Plan,
    labels: np.ndarray,
    size: int,
    rng: np.random.Generator,
    num_classes: int,
    weights: np.ndarray | None = None,
    moment: Moment = START,
) -> np.ndarray:
    """(C,) samples of each class (positives of each label) in one epoch, counted exactly, as `times_dealt` deals it.

    int64; with weights, (M,) of the plan's samples, float64 sums of these.
    """
    times = times_dealt(sampler, plan, labels, size, rng, moment).astype(np.float64)
    if weights is not None:
        times *= weights
    counts = np.bincount(labels, weights=times, minlength=num_classes) if labels.ndim == 1 else times @ (labels != 0)
    return np.rint(counts).astype(np.int64) if weights is None else np.asarray(counts, dtype=np.float64)
