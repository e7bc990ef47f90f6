"""Samplers that deal each class a quota: shares against WeightedRandomSampler, streams without early repeats, and what they cost."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import WeightedRandomSampler

from recipes.randomness import generator
from recipes.sampling import (
    ClassSampling,
    EffectiveNumber,
    Moment,
    Plan,
    Progressive,
    RandomOver,
    Sampler,
    Shuffle,
    sampled_counts,
    times_dealt,
)
from recipes.sampling.pools import pools, spread


def labels_of(counts: list[int]) -> np.ndarray:
    return np.random.default_rng(99).permutation(np.repeat(np.arange(len(counts)), counts))


def dealt(sampler: Sampler, labels: np.ndarray, epoch: int = 0, moment: Moment | None = None) -> np.ndarray:
    plan = Plan(np.arange(len(labels)))
    return times_dealt(sampler, plan, labels, 16, generator(0, "batches", epoch), moment or Moment())


COUNTS = [700, 250, 45, 3]
N = sum(COUNTS)
SHARES = [
    *((ClassSampling(power=q), [n ** (q - 1) for n in COUNTS]) for q in (0.0, 0.3, 0.5, 1.0)),
    *((EffectiveNumber(beta=b), [(1 - b) / (1 - b**n) for n in COUNTS]) for b in (0.0, 0.9, 0.99, 0.9999)),
]


@pytest.mark.parametrize(("sampler", "weight_C"), SHARES)
def test_shares_are_those_of_weighted_random_sampling(sampler: Sampler, weight_C: list[float]) -> None:
    """WeightedRandomSampler draws a row with probability weight / sum(weights); its epoch then holds N p_j samples of class j."""
    labels = labels_of(COUNTS)
    reference = WeightedRandomSampler([weight_C[y] for y in labels], N)
    expected_C = N * np.bincount(labels, weights=(reference.weights / reference.weights.sum()).numpy())
    epochs = np.array([np.bincount(labels, weights=dealt(sampler, labels, e)) for e in range(200)])
    assert set(epochs.sum(axis=1)) == {N}  # an epoch is always as long
    assert np.abs(epochs - expected_C).max() < 1 + 1e-9  # never a whole sample off
    assert np.abs(epochs.mean(axis=0) - expected_C).max() < 4 * 0.5 / math.sqrt(200)  # and none on average


@pytest.mark.parametrize("progress", [0.0, 0.25, 1.0])
def test_progressive_shares(progress: float) -> None:
    labels = labels_of(COUNTS)
    expected_C = (1 - progress) * np.array(COUNTS) + progress * N / len(COUNTS)
    sampler = Progressive()
    moments = Moment(step=round(1000 * progress), total_steps=1000)
    epochs = np.array([np.bincount(labels, weights=dealt(sampler, labels, e, moments)) for e in range(200)])
    assert set(epochs.sum(axis=1)) == {N}
    assert np.abs(epochs.mean(axis=0) - expected_C).max() < 4 * 0.5 / math.sqrt(200)
    assert sampler.approximate is not None


@pytest.mark.parametrize("beta", [1 - 1e-12, 1 - 1e-16])
def test_effective_numbers_keep_their_digits(beta: float) -> None:
    # E_n is n - n (n - 1) (1 - beta) / 2 + ..., so p_j ~ n_j / E_j is class-balanced to the last digits; 1 - beta**n has none left.
    shares = EffectiveNumber(beta=beta).shares(np.array([700.0, 250.0, 3.0]), 0.0)
    np.testing.assert_allclose(shares, 1 / 3, rtol=1e-8)


@pytest.mark.parametrize(
    ("power", "epoch_size", "expected"),
    [
        (0.0, "natural", 100),
        (0.0, "majority", 192),
        (0.0, "minority", 12),
        (0.5, "majority", 125),
        (0.5, "minority", 31),
        (1.0, "majority", 100),
        (0.0, 37, 37),
    ],
)
def test_epoch_sizes(power: float, epoch_size: Any, expected: int) -> None:
    # Square roots of 64, 32, 4 are 8, 5.657 and 2, so the largest class is seen once in 64 * 15.657 / 8 samples.
    labels = labels_of([64, 32, 4])
    times = dealt(ClassSampling(power=power, epoch_size=epoch_size), labels)
    assert times.sum() == expected
    if epoch_size == "majority":
        assert set(times[labels == 0]) == {1}


@settings(max_examples=100, deadline=None)
@given(
    counts=st.lists(st.integers(0, 40), min_size=1, max_size=9).filter(any),
    power=st.sampled_from([0.0, 0.5, 0.8]),
    epoch_size=st.sampled_from(["natural", "majority", "minority", 1, 250]),
    epoch=st.integers(0, 5),
)
def test_no_row_comes_again_before_its_class_was_seen(counts: list[int], power: float, epoch_size: Any, epoch: int) -> None:
    labels = labels_of(counts)
    sampler = ClassSampling(power=power, epoch_size=epoch_size)
    times = dealt(sampler, labels, epoch)
    assert sampler.steps_per_epoch(Plan(np.arange(len(labels))), labels, 7) == math.ceil(times.sum() / 7)
    for which in np.flatnonzero(counts):
        own = times[labels == which]
        assert own.max() - own.min() <= 1


def test_multilabel_shares_are_of_labels() -> None:
    # Rows 0-49 have label 0, 50-59 label 1, 60 both, 61-99 none: three pools of 51, 11 and 39.
    targets = np.zeros((100, 2), np.float32)
    targets[:50, 0] = targets[50:60, 1] = targets[60] = 1
    sampler = ClassSampling("multilabel", epoch_size=300)
    assert sampler.approximate is not None
    times = dealt(sampler, targets)
    assert times[61:].sum() == 100
    assert times[:60].sum() + times[60] == 200
    assert times[:50].sum() <= 100


@pytest.mark.parametrize("count", [0, 1, 4, 5, 6, 10, 23])
def test_spread(count: int) -> None:
    pool, times, out = np.array([3, 1, 4, 15, 9]), np.zeros(16), np.empty(count, dtype=np.int64)
    for seed in range(600):
        spread(pool, out, np.random.default_rng(seed))
        held = np.bincount(out, minlength=16)
        assert held.sum() == held[pool].sum() == count
        assert held[pool].max() - held[pool].min() <= 1
        times += held
    share = count / 5 % 1
    assert np.abs(times[pool] / 600 - count / 5).max() <= 4 * math.sqrt(share * (1 - share) / 600) + 1e-9


def test_a_part_of_a_large_pool_is_uniform_in_pairs() -> None:
    # Coins that are corrected afterwards must leave no trace: two rows are chosen together as often as drawing without replacement does.
    pool, out, pairs = np.arange(6), np.empty(3, dtype=np.int64), np.zeros((6, 6))
    for seed in range(4000):
        spread(pool, out, np.random.default_rng(seed))
        pairs[np.ix_(out, out)] += 1
    off = pairs[~np.eye(6, dtype=bool)] / 4000
    assert np.abs(off - 0.2).max() < 4.5 * math.sqrt(0.2 * 0.8 / 4000)


def test_counts_with_weights_are_their_sums() -> None:
    labels = labels_of([30, 10])
    weights = np.random.default_rng(0).uniform(0.1, 2, 40)
    plan = Plan(np.arange(40))
    found = sampled_counts(Shuffle(), plan, labels, 8, generator(0, "batches"), 3, weights)
    np.testing.assert_allclose(found, [weights[labels == 0].sum(), weights[labels == 1].sum(), 0])
    over = RandomOver("binary", ("a", "b"))
    times = times_dealt(over, plan, labels, 8, generator(0, "batches"))
    found = sampled_counts(over, plan, labels, 8, generator(0, "batches"), 2, weights)
    np.testing.assert_allclose(found, np.bincount(labels, weights=times * weights))
    targets = np.stack([labels == 0, labels == 1, np.ones(40)], axis=1).astype(np.float32)
    found = sampled_counts(Shuffle(), plan, targets, 8, generator(0, "batches"), 3, weights)
    np.testing.assert_allclose(found, weights @ targets)


def test_the_pools_are_those_of_the_labels_that_are_asked_about() -> None:
    sampler = ClassSampling()
    first, second = labels_of([30, 10]), 1 - labels_of([30, 10])
    for labels in (first, second, first):
        assert np.bincount(labels, weights=dealt(sampler, labels)).tolist() == [20, 20]
        assert {len(pool) for pool in pools(labels)} == {10, 30}


def test_a_million_rows_cost_little_more_than_a_shuffle() -> None:
    labels = (np.random.default_rng(0).random(1_000_000) < 0.01).astype(np.int64)
    plan, took = Plan(np.arange(len(labels))), {}
    for sampler in (Shuffle(), ClassSampling()):
        times = []
        for seed in range(5):
            start = time.perf_counter()
            next(sampler.batches(plan, labels, 64, np.random.default_rng(seed)))  # builds the whole epoch
            times.append(time.perf_counter() - start)
        took[type(sampler)] = min(times)
    assert took[ClassSampling] - took[Shuffle] < 0.05  # 0.003 s on a free core; a loop over the samples takes over 0.5 s
