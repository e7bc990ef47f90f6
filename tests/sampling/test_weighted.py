"""Rows in proportion to weights, and repeat factors: against closed forms, in fixed lengths, past 2^24 rows."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from torch.utils.data import WeightedRandomSampler

from recipes.data.split import TrainSplit
from recipes.data.stores import DenseStore
from recipes.errors import ConfigError
from recipes.randomness import generator
from recipes.sampling import Plan, RepeatFactor, Sampler, Weighted, times_dealt
from recipes.sampling.systematic import draw, drawn, edges, rounded


def split(weights: np.ndarray | None, rows: int) -> TrainSplit:
    store = DenseStore(np.zeros((rows, 1), np.float32), np.zeros((rows, 0), np.int64))
    return TrainSplit("train", store, np.zeros(rows, np.int64), weights)


def epochs(sampler: Sampler, labels: np.ndarray, count: int) -> np.ndarray:
    plan = Plan(np.arange(len(labels)))
    return np.array([times_dealt(sampler, plan, labels, 16, generator(0, "batches", e)) for e in range(count)])


def test_rows_come_in_proportion_to_their_weights() -> None:
    weights = np.random.default_rng(0).gamma(0.5, size=60).astype(np.float32)
    weights[[0, 17, 58, 59]] = 0
    sampler = Weighted()
    sampler.resample(split(weights, 60), generator(0, "resample"))
    times = epochs(sampler, np.zeros(60, np.int64), 1500)
    reference = WeightedRandomSampler(weights.tolist(), 60)
    expected = 60 * (reference.weights / reference.weights.sum()).numpy()
    assert set(times.sum(axis=1)) == {60}
    assert (times >= np.floor(expected)).all()
    assert (times <= np.ceil(expected)).all()
    assert (times[:, weights == 0] == 0).all()
    assert np.abs(times.mean(axis=0) - expected).max() < 4 * 0.5 / math.sqrt(1500)


def test_the_loss_is_told_that_weights_are_used_up() -> None:
    assert Weighted().consumes_weights
    assert not Sampler().consumes_weights


def test_data_without_weights_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"set data\.weight=<column>, or use sampler=shuffle"):
        Weighted().resample(split(None, 4), generator(0, "resample"))
    with pytest.raises(ConfigError, match=r"all train rows have weight 0.* data\.weight"):
        Weighted().resample(split(np.zeros(4, np.float32), 4), generator(0, "resample"))


def test_more_rows_than_multinomial_takes() -> None:
    rows = 2**24 + 10
    weights = np.ones(rows, np.float32)
    weights[-5:] = 3.0  # float32 sums would have lost count long before
    times = draw(edges(weights, rows), np.random.default_rng(0))
    assert times.sum() == rows
    assert set(times[-5:]) <= {2, 3}
    assert times[:-5].max() == 1
    assert times[:-5].sum() == rows - times[-5:].sum()


class Last(np.random.Generator):
    """Draws the largest number below one."""

    def random(self, *args: object, **kwargs: object) -> float:  # type: ignore[override]
        return 1 - 2**-53


def test_the_largest_draw_adds_no_sample() -> None:
    for rows in (3, 1000, 99_999):
        assert draw(edges(np.ones(rows), rows), Last(np.random.PCG64(0))).sum() == rows


@pytest.mark.parametrize("make", [np.random.default_rng, lambda seed: Last(np.random.PCG64(seed))], ids=["usual", "largest"])
def test_what_is_drawn_is_drawn_so_often(make: Callable[[int], np.random.Generator]) -> None:
    weights = np.random.default_rng(0).gamma(0.3, size=2000)
    weights[[0, 1, 700, -2, -1]] = 0
    for total in (1, 5, 2000, 30_000):
        ends = edges(weights, total)
        for seed in range(20):
            found = drawn(ends, make(seed))
            np.testing.assert_array_equal(found, np.repeat(np.arange(2000), draw(ends, make(seed))))
            assert found.dtype == np.int64


@pytest.mark.parametrize("expected", [[0.25, 0.5, 0.25], [3.0, 0.1, 0.9], [2.0, 5.0], [0.2] * 5 + [1e6 + 0.5, 0.5], [0.0, 0.0]])
def test_rounding_keeps_the_sum_and_the_mean(expected: list[float]) -> None:
    found = np.array([rounded(np.array(expected), np.random.default_rng(seed)) for seed in range(1000)])
    assert set(found.sum(axis=1)) == {round(sum(expected))}
    assert (np.abs(found - expected) < 1).all()
    assert np.abs(found.mean(axis=0) - expected).max() < 4 * 0.5 / math.sqrt(1000)


def factors(targets: np.ndarray, threshold: float) -> list[float]:
    """r_i by its definition."""
    share = targets.mean(axis=0)
    return [max([max(1.0, math.sqrt(threshold / share[c])) for c in np.flatnonzero(row)], default=1.0) for row in targets]


@pytest.mark.parametrize("threshold", [0.001, 0.3, 1.0, None])
def test_repeat_factors(threshold: float | None) -> None:
    targets = (np.random.default_rng(3).random((80, 5)) < [0.6, 0.3, 0.1, 0.04, 0.0]).astype(np.float32)
    present = targets.mean(axis=0)[targets.any(axis=0)]
    expected = np.array(factors(targets, float(np.median(present)) if threshold is None else threshold))
    sampler = RepeatFactor("multilabel", threshold=threshold)
    times = epochs(sampler, targets, 1000)
    total = round(expected.sum())
    assert set(times.sum(axis=1)) == {total}
    assert sampler.steps_per_epoch(Plan(np.arange(80)), targets, 7) == math.ceil(total / 7)
    assert times.min() == 1
    assert (times >= np.floor(expected)).all()
    # Fractions are stretched so that they sum to a whole number: by half a sample in all of them together.
    assert np.abs(times.mean(axis=0) - expected).max() < 4 * 0.5 / math.sqrt(1000) + 0.5 / max((expected % 1).sum(), 1)


def test_single_labels_are_repeated_by_their_class() -> None:
    labels = np.repeat([0, 1, 3], [90, 9, 1])
    one_hot = np.eye(4, dtype=np.float32)[labels]
    single, several = RepeatFactor("multiclass", threshold=0.2), RepeatFactor("multilabel", threshold=0.2)
    np.testing.assert_array_equal(epochs(single, labels, 3), epochs(several, one_hot, 3))
    assert single.approximate is None
    assert several.approximate is not None


def test_the_default_threshold_leaves_the_negative_class_alone() -> None:
    labels = np.repeat([0, 1], [98, 2])
    times = epochs(RepeatFactor("binary"), labels, 1)[0]
    assert set(times[:98]) == {1}
    assert times[98:].tolist() == [5, 5]  # sqrt(0.5 / 0.02)
