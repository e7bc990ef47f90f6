"""Classes that grow by repeated rows or shrink by rows left out: sizes against imbalanced-learn's, and streams of each epoch."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
import pytest
from imblearn.over_sampling import RandomOverSampler
from imblearn.under_sampling import RandomUnderSampler

from recipes.data.split import TrainSplit
from recipes.data.stores import DenseStore
from recipes.errors import ConfigError
from recipes.randomness import generator
from recipes.sampling import Plan, Progressive, RandomOver, RandomUnder, Sampler, sampled_counts, times_dealt


def labels_of(counts: list[int]) -> np.ndarray:
    return np.random.default_rng(99).permutation(np.repeat(np.arange(len(counts)), counts))


def split(labels: np.ndarray) -> TrainSplit:
    return TrainSplit("train", DenseStore(np.zeros((len(labels), 1), np.float32), np.zeros((len(labels), 0), np.int64)), labels)


def dealt(sampler: Sampler, labels: np.ndarray, epoch: int = 0) -> np.ndarray:
    return times_dealt(sampler, Plan(np.arange(len(labels))), labels, 16, generator(0, "batches", epoch))


def names(counts: list[int]) -> tuple[str, ...]:
    return tuple(f"c{i}" for i in range(len(counts)))


def task(counts: list[int]) -> Any:
    return "binary" if len(counts) == 2 else "multiclass"


RATIOS: list[tuple[list[int], Any]] = [
    ([70, 25, 5], "auto"),
    ([60, 60], "auto"),
    *(([83, 17], ratio) for ratio in (0.3, 0.5, 0.7, 1.0)),
    ([30, 3], 0.29),
]


@pytest.mark.parametrize("every", ["epoch", "once"])
@pytest.mark.parametrize(("counts", "ratio"), [*RATIOS, ([70, 25, 5], {"c2": 31, "c1": 25})])
def test_grown_sizes_are_those_of_imbalanced_learn(counts: list[int], ratio: Any, every: Any) -> None:
    labels = labels_of(counts)
    strategy = {int(name[1:]): n for name, n in ratio.items()} if isinstance(ratio, dict) else ratio
    expected = np.bincount(RandomOverSampler(sampling_strategy=strategy, random_state=0).fit_resample(labels[:, None], labels)[1])
    sampler = RandomOver(task(counts), names(counts), ratio=ratio, resample_every=every)
    plan = sampler.resample(split(labels), generator(0, "resample"))
    assert len(plan) == (expected.sum() if every == "once" else len(labels))
    found = sampled_counts(sampler, plan, labels[plan.rows], 16, generator(0, "batches"), len(counts))
    assert found.tolist() == expected.tolist()
    times = np.bincount(plan.rows, weights=dealt(sampler, labels[plan.rows]), minlength=len(labels))
    for which in range(len(counts)):  # every row, and none of a class more than once more than another
        own = times[labels == which]
        assert 1 <= own.min() <= own.max() <= own.min() + 1


@pytest.mark.parametrize("every", ["epoch", "once"])
@pytest.mark.parametrize(("counts", "ratio"), [*RATIOS, ([70, 25, 5], {"c0": 31, "c1": 25})])
def test_shrunk_sizes_are_those_of_imbalanced_learn(counts: list[int], ratio: Any, every: Any) -> None:
    labels = labels_of(counts)
    strategy = {int(name[1:]): n for name, n in ratio.items()} if isinstance(ratio, dict) else ratio
    expected = np.bincount(RandomUnderSampler(sampling_strategy=strategy, random_state=0).fit_resample(labels[:, None], labels)[1])
    sampler = RandomUnder(task(counts), names(counts), ratio=ratio, resample_every=every)
    plan = sampler.resample(split(labels), generator(0, "resample"))
    assert len(plan) == (expected.sum() if every == "once" else len(labels))
    found = sampled_counts(sampler, plan, labels[plan.rows], 16, generator(0, "batches"), len(counts))
    assert found.tolist() == expected.tolist()
    assert dealt(sampler, labels[plan.rows]).max() == 1


def test_what_is_left_out_changes_with_the_epoch_or_never() -> None:
    # An index list drawn once and a tail that is dropped are what imbalanced-learn's Keras generator deals.
    labels = labels_of([90, 10])
    seen = {}
    for every in ("epoch", "once"):
        sampler = RandomUnder("binary", ("a", "b"), resample_every=every)
        plan = sampler.resample(split(labels), generator(0, "resample"))
        streams = [list(sampler.batches(plan, labels[plan.rows], 16, generator(0, "batches", e))) for e in range(100)]
        assert all([len(window) for window in stream] == [16, 4] for stream in streams)
        seen[every] = len(set(plan.rows[np.concatenate([np.concatenate(s) for s in streams])].tolist()))
    assert seen == {"epoch": 100, "once": 20}


def test_rows_left_out_are_uniform() -> None:
    labels, times = labels_of([40, 10]), np.zeros(50)
    sampler = RandomUnder("binary", ("a", "b"))
    for epoch in range(2000):
        times += dealt(sampler, labels, epoch)
    assert (times[labels == 1] == 2000).all()
    spread_of = np.abs(times[labels == 0] / 2000 - 0.25)
    assert spread_of.max() < 4 * math.sqrt(0.25 * 0.75 / 2000)


def test_ratio_that_changes_nothing_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        RandomOver("binary", ("a", "b"), ratio=0.5).resample(split(labels_of([10, 5])), generator(0, "resample"))
    assert "random_over: every class has the rows that sampler.ratio=0.5 asks for" in caplog.text


@pytest.mark.parametrize(
    ("kind", "ratio", "message"),
    [
        (RandomOver, {"c9": 20}, "there is no class 'c9'; allowed: c0, c1, c2"),
        (RandomOver, {"c1": 4}, r"sampler\.ratio\.c1: cannot grow to 4 rows.* at least 5"),
        (RandomUnder, {"c1": 6}, r"sampler\.ratio\.c1: cannot keep 6 rows.* at most 5"),
        (RandomUnder, {"c2": 1}, r"sampler\.ratio\.c2: cannot keep 1 rows"),
    ],
)
def test_ratio_that_cannot_be_met(kind: Any, ratio: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        kind("multiclass", ("c0", "c1", "c2"), ratio=ratio).resample(split(labels_of([30, 5, 0])), generator(0, "resample"))


@pytest.mark.parametrize("make", [lambda t: RandomOver(t, ("a",)), lambda t: RandomUnder(t, ("a",)), Progressive])
def test_multilabel_names_the_ways_out(make: Any) -> None:
    with pytest.raises(ConfigError, match=r"multi-label; use sampler=repeat_factor.* sampler=balanced_batch"):
        make("multilabel")
