"""What samplers cost on a million rows of which one in a hundred is of the rare class; `python scripts/benchmark.py samplers` prints it.

M samples of an epoch.
"""

from __future__ import annotations

import statistics
import time

import numpy as np

from recipes.cli.compose import composed
from recipes.config import build
from recipes.data.split import TrainSplit
from recipes.data.stores import DenseStore
from recipes.sampling import Moment, Sampler

ROWS, RARE, FEATURES, BATCH = 1_000_000, 10_000, 30, 64
INDEX = (
    "shuffle", "class_balanced", "sqrt", "progressive", "effective_number", "balanced_batch", "stratified_batch", "repeat_factor",
    "weighted", "random_over", "random_under",
)  # fmt: skip
HALFWAY = Moment(50, 100)


def samplers(runs: int) -> None:
    """An epoch of each sampler that deals rows as they are, then SMOTE beside imbalanced-learn's."""
    labels = np.zeros(ROWS, dtype=np.int64)
    labels[np.random.default_rng(0).choice(ROWS, RARE, replace=False)] = 1
    print(f"\nan epoch of {ROWS:,} rows, {RARE:,} of them rare, beside a shuffle of as many samples; best and (median) of {2 * runs} runs")
    for name in INDEX:
        _epoch(name, _train(labels, 1), labels, 2 * runs)
    _smote(_train(labels, FEATURES), labels, runs)


def _train(labels: np.ndarray, features: int) -> TrainSplit:
    points = np.random.default_rng(1).standard_normal((ROWS, features), dtype=np.float32) + labels[:, None].astype(np.float32)
    weights = np.random.default_rng(2).gamma(2.0, size=ROWS).astype(np.float32)
    return TrainSplit("train", DenseStore(points, np.zeros((ROWS, 0), np.int64)), labels, weights)


def _sampler(name: str) -> Sampler:
    facts = {"task": "binary", "class_names": ("usual", "rare"), "num_classes": 2, "class_counts": np.array([ROWS - RARE, RARE])}
    facts |= {"train_rows": ROWS, "sparse_features": False, "modality": "tabular"}
    return build(Sampler, composed(f"sampler={name}")["sampler"], "sampler", facts)


def _epoch(name: str, train: TrainSplit, labels: np.ndarray, runs: int) -> None:
    """Index samplers build the epoch for its first batch. What never changes was paid when the run was put together, and so here.

    In time of the processor, of which one is used: others that want it do not count.
    """
    sampler = _sampler(name)
    plan = sampler.resample(train, np.random.default_rng(0))
    own = plan.labels(labels)
    samples = sum(len(window) for window in sampler.batches(plan, own, BATCH, np.random.default_rng(0), HALFWAY))
    took: dict[str, list[float]] = {"epoch": [], "shuffle": []}
    for seed in range(runs):
        started = time.process_time()
        np.random.default_rng(seed).permutation(samples)
        took["shuffle"].append(time.process_time() - started)
        started = time.process_time()
        next(iter(sampler.batches(plan, own, BATCH, np.random.default_rng(seed), HALFWAY)))
        took["epoch"].append(time.process_time() - started)
    best, base = (min(took[which]) * 1e3 for which in ("epoch", "shuffle"))
    middle, base_middle = (statistics.median(took[which]) * 1e3 for which in ("epoch", "shuffle"))
    added = f"adds {best - base:+5.1f} ({middle - base_middle:+5.1f})"
    print(f"  {name:18s} {samples:9,} samples {best:6.1f} ms ({middle:5.1f})   {added}   goal: at most 5")


def _smote(train: TrainSplit, labels: np.ndarray, runs: int) -> None:
    """Before training. Imbalanced-learn writes the new rows as well; here they are mixed batch by batch, as they are dealt."""
    from imblearn.over_sampling import SMOTE

    train = TrainSplit("train", train.store, labels)  # a mixture has no weight of its own
    points, sampler = np.asarray(train.space()), _sampler("smote")
    took: dict[str, list[float]] = {"recipes": [], "imbalanced-learn": []}
    for seed in range(max(runs // 2, 1)):
        started = time.perf_counter()
        sampler.resample(train, np.random.default_rng(seed))
        took["recipes"].append(time.perf_counter() - started)
        started = time.perf_counter()
        SMOTE(random_state=seed).fit_resample(points, labels)
        took["imbalanced-learn"].append(time.perf_counter() - started)
    ours, theirs = (statistics.median(took[which]) for which in ("recipes", "imbalanced-learn"))
    print(f"  SMOTE on {ROWS:,} x {FEATURES}: {ours:.2f} s, imbalanced-learn {theirs:.2f} s, ratio {ours / theirs:.2f}")
