"""Balanced batches: quotas, fairness over the epoch, and no repeat before a class was seen as a whole."""

from __future__ import annotations

import logging
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.sampling import BalancedBatch, Plan, Shuffle, sampled_counts
from recipes.sampling.pools import cycle, pools


def deal(counts: list[int], size: int, epoch_size: str | int = "natural", seed: int = 0) -> tuple[np.ndarray, list[np.ndarray]]:
    labels = np.random.default_rng(99).permutation(np.repeat(np.arange(len(counts)), counts))
    sampler = BalancedBatch(epoch_size=epoch_size)  # type: ignore[arg-type]
    return labels, list(sampler.batches(Plan(np.arange(len(labels))), labels, size, np.random.default_rng(seed)))


@settings(max_examples=150, deadline=None)
@given(
    counts=st.lists(st.integers(0, 40), min_size=1, max_size=9).filter(any),
    size=st.integers(1, 50),
    epoch_size=st.sampled_from(["natural", "majority", "minority", 1, 100]),
    seed=st.integers(0, 10),
)
def test_quotas_and_cycles(counts: list[int], size: int, epoch_size: str | int, seed: int) -> None:
    labels, batches = deal(counts, size, epoch_size, seed)
    present = np.flatnonzero(counts)
    for positions in batches:  # the short last one as well
        held = np.bincount(labels[positions], minlength=len(counts))
        assert held[present].max() - held[present].min() <= 1
        assert held.sum() == held[present].sum() == len(positions)
    stream = np.concatenate(batches)
    total = np.bincount(labels[stream], minlength=len(counts))[present]
    assert total.max() - total.min() <= 1
    for which in present:
        dealt = stream[labels[stream] == which]
        for start in range(0, len(dealt), counts[which]):
            assert max(Counter(dealt[start : start + counts[which]].tolist()).values()) == 1


@pytest.mark.parametrize(("epoch_size", "expected"), [("natural", 100), ("majority", 210), ("minority", 15), (37, 37), (1000, 1000)])
def test_epoch_size(epoch_size: str | int, expected: int) -> None:
    labels, batches = deal([70, 25, 5], 16, epoch_size)
    assert sum(len(b) for b in batches) == expected
    steps = BalancedBatch(epoch_size=epoch_size).steps_per_epoch(Plan(np.arange(100)), labels, 16)  # type: ignore[arg-type]
    assert len(batches) == steps


def test_majority_epoch_covers_every_row() -> None:
    labels, batches = deal([70, 25, 5], 16, "majority")
    seen = Counter(np.concatenate(batches).tolist())
    assert set(seen) == set(range(100))
    assert {seen[i] for i in np.flatnonzero(labels == 0)} == {1}
    assert {seen[i] for i in np.flatnonzero(labels == 2)} == {14}


def test_minority_epoch_repeats_nothing() -> None:
    _, batches = deal([70, 25, 5], 16, "minority")
    assert max(Counter(np.concatenate(batches).tolist()).values()) == 1


def test_extra_places_rotate() -> None:
    labels, batches = deal([50, 50, 50], 4)
    extra = [int(np.bincount(labels[b], minlength=3).argmax()) for b in batches[:-1]]
    assert set(map(tuple, np.reshape(extra[:36], (12, 3)).tolist())) == {tuple(extra[:3])}
    assert sorted(extra[:3]) == [0, 1, 2]


def test_a_new_order_at_each_wrap() -> None:
    labels, batches = deal([200, 8], 16)
    stream = np.concatenate(batches)
    rounds = stream[labels[stream] == 1][: 12 * 8].reshape(12, 8)
    assert len({r.tobytes() for r in rounds}) == 12


def test_small_batches_take_the_classes_in_turn(caplog: pytest.LogCaptureFixture) -> None:
    labels, batches = deal([30] * 7, 3)
    for positions in batches:
        assert len(set(labels[positions])) == len(positions)
    for i in range(len(batches) - 2):
        assert len(set(labels[np.concatenate(batches[i : i + 3])])) == 7  # 9 places for 7 classes
    with caplog.at_level(logging.WARNING):
        BalancedBatch().steps_per_epoch(Plan(np.arange(210)), labels, 7)
        assert not caplog.records
        BalancedBatch().steps_per_epoch(Plan(np.arange(210)), labels, 3)
    assert "7 classes" in caplog.text
    assert "trainer.batch_size=7" in caplog.text


def test_multilabel_draws_each_label_equally_often() -> None:
    # Rows 0-49 have label 0, 50-59 label 1, 60 both, 61-99 none: three pools.
    targets = np.zeros((100, 2), np.float32)
    targets[:50, 0] = targets[50:60, 1] = targets[60] = 1
    found = pools(targets)
    assert [p.tolist() for p in found] == [[*range(50), 60], [*range(50, 61)], [*range(61, 100)]]
    stream = np.concatenate(list(BalancedBatch().batches(Plan(np.arange(100)), targets, 12, np.random.default_rng(0))))
    assert abs(int((stream > 60).sum()) - 33) <= 1
    both = int((stream == 60).sum())
    assert 33 + 33 - 1 <= int(targets[stream].sum()) - both <= 34 + 34


def test_pools_of_many_classes() -> None:
    labels = np.random.default_rng(0).integers(0, 300, 5000)
    for which, pool in zip(np.unique(labels), pools(labels), strict=True):
        np.testing.assert_array_equal(pool, np.flatnonzero(labels == which))


@pytest.mark.parametrize("count", [0, 1, 4, 5, 6, 10, 23])
def test_cycle(count: int) -> None:
    drawn = cycle(np.array([3, 1, 4, 15, 9]), count, np.random.default_rng(0))
    assert drawn.shape == (count,)
    assert drawn.dtype == np.int64
    for start in range(0, count, 5):
        assert len(set(drawn[start : start + 5])) == len(drawn[start : start + 5])


def test_first_places_are_uniform() -> None:
    # Each of 6 rows stands first with the same chance; 4 standard errors of a binomial.
    first = [int(cycle(np.arange(6), count, np.random.default_rng(seed))[0]) for seed in range(1500) for count in (3, 9)]
    assert np.abs(np.bincount(first, minlength=6) / len(first) - 1 / 6).max() < 4 * np.sqrt(5 / 36 / len(first))


def test_counts_of_the_identity_are_in_closed_form() -> None:
    labels = np.array([0, 0, 0, 2])

    class Unused(np.random.Generator):
        def permutation(self, *args: object, **kwargs: object) -> np.ndarray:  # type: ignore[override]
            raise AssertionError("drew an epoch")

    assert sampled_counts(Shuffle(), Plan(np.arange(4)), labels, 2, Unused(np.random.PCG64(0)), 4).tolist() == [3, 0, 1, 0]


def test_a_million_rows_without_python_per_sample() -> None:
    labels = np.random.default_rng(0).integers(0, 100, 1_000_000) // 99
    plan, times = Plan(np.arange(len(labels))), []
    for seed in range(3):
        start = time.perf_counter()
        next(BalancedBatch().batches(plan, labels, 64, np.random.default_rng(seed)))  # builds the whole epoch
        times.append(time.perf_counter() - start)
    assert min(times) < 0.25  # 0.025 s on one free core; a loop over the samples takes over 0.5 s
