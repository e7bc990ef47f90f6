"""What an epoch deals, class by class."""

from __future__ import annotations

import numpy as np

from recipes.sampling.base import Plan, Sampler


def sampled_counts(sampler: Sampler, plan: Plan, labels: np.ndarray, size: int, rng: np.random.Generator, num_classes: int) -> np.ndarray:
    """(C,) int64: samples of each class (positives of each label) in one epoch of batches of `size`, counted exactly.

    labels: the targets of the plan's samples, (M,) int64 or (M, C) for multi-label. A sampler that overrides `batches` deals one epoch
    for it, from `rng`.
    """
    if type(sampler).batches is Sampler.batches:
        times = np.ones(len(plan))
    else:
        times = np.bincount(np.concatenate(list(sampler.batches(plan, labels, size, rng))), minlength=len(plan)).astype(np.float64)
    counts = np.bincount(labels, weights=times, minlength=num_classes) if labels.ndim == 1 else times @ (labels != 0)
    return np.rint(counts).astype(np.int64)
