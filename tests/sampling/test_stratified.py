"""Stratified batches: proportions, minima and a fixed share of positives in every single batch."""

from __future__ import annotations

import logging
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.errors import ConfigError
from recipes.sampling import Plan, StratifiedBatch


def deal(sampler: StratifiedBatch, counts: list[int], size: int, seed: int = 0) -> tuple[np.ndarray, list[np.ndarray]]:
    labels = np.random.default_rng(99).permutation(np.repeat(np.arange(len(counts)), counts))
    batches = list(sampler.batches(Plan(np.arange(len(labels))), labels, size, np.random.default_rng(seed)))
    return labels, batches


def held(labels: np.ndarray, batches: list[np.ndarray], classes: int) -> np.ndarray:
    return np.array([np.bincount(labels[b], minlength=classes) for b in batches])


@settings(max_examples=150, deadline=None)
@given(
    counts=st.lists(st.integers(0, 60), min_size=1, max_size=8).filter(any),
    size=st.integers(1, 50),
    least=st.integers(0, 3),
    seed=st.integers(0, 10),
)
def test_batches_and_minima(counts: list[int], size: int, least: int, seed: int) -> None:
    sampler = StratifiedBatch("multiclass", min_per_class=least)
    labels, batches = deal(sampler, counts, size, seed)
    present = np.flatnonzero(counts)
    assert [len(b) for b in batches] == [min(size, len(labels) - start) for start in range(0, len(labels), size)]
    for positions in batches:
        found = np.bincount(labels[positions], minlength=len(counts))
        assert found[present].min() >= min(least, len(positions) // len(present))
    stream = np.concatenate(batches)
    for which in present:
        times = Counter(stream[labels[stream] == which].tolist())
        assert max(times.values()) - (min(times.values()) if len(times) == counts[which] else 0) <= 1


@settings(max_examples=100, deadline=None)
@given(
    counts=st.lists(st.integers(0, 60), min_size=1, max_size=8).filter(any),
    size=st.integers(1, 50),
    seed=st.integers(0, 10),
)
def test_proportions_alone_deal_every_row_once(counts: list[int], size: int, seed: int) -> None:
    labels, batches = deal(StratifiedBatch("multiclass", min_per_class=0), counts, size, seed)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(labels)))
    full = held(labels, [b for b in batches if len(b) == size], len(counts))
    if len(full):
        assert (full.max(axis=0) - full.min(axis=0)).max() <= 1
        assert (np.abs(full.mean(axis=0) - size * np.array(counts) / len(labels)) < 1).all()


def test_every_row_comes_once_where_the_minimum_asks_for_nothing() -> None:
    labels, batches = deal(StratifiedBatch("multiclass"), [700, 250, 50], 100)
    assert sorted(np.concatenate(batches).tolist()) == list(range(1000))
    assert held(labels, batches, 3).tolist() == [[70, 25, 5]] * 10


def test_rare_classes_cycle_and_the_others_give_way_in_proportion() -> None:
    labels, batches = deal(StratifiedBatch("multiclass", min_per_class=2), [600, 395, 5], 50)
    found = held(labels, batches, 3)
    assert (found[:, 2] == 2).all()
    assert np.abs(found[:, 0] - 48 * 600 / 995).max() < 1
    stream = np.concatenate(batches)
    assert set(Counter(stream[labels[stream] == 2].tolist()).values()) == {8}
    majority = Counter(stream[labels[stream] == 0].tolist())
    assert set(majority.values()) == {1}


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    size=st.integers(1, 20),
    least=st.integers(0, 3),
    seed=st.integers(0, 10),
)
def test_no_row_comes_again_before_its_class_was_seen_batch_by_batch(counts: list[int], size: int, least: int, seed: int) -> None:
    labels, batches = deal(StratifiedBatch("multiclass", min_per_class=least), counts, size, seed)
    times = np.zeros(len(labels), np.int64)
    for positions in batches:
        np.add.at(times, positions, 1)
        for which in range(len(counts)):
            assert np.ptp(times[labels == which]) <= 1


def test_every_row_is_as_likely_to_come_in_every_batch() -> None:
    first = np.zeros(100)
    labels = np.repeat([0, 1, 2], [70, 23, 7])
    sampler = StratifiedBatch("multiclass")
    for seed in range(1500):
        first[next(iter(sampler.batches(Plan(np.arange(100)), labels, 20, np.random.default_rng(seed))))] += 1
    shares = first / 1500
    for which, rows in enumerate((70, 23, 7)):
        own = shares[labels == which]
        assert abs(own.sum() - 20 * rows / 100) < 0.1
        assert np.abs(own - own.mean()).max() < 4.5 * np.sqrt(0.2 * 0.8 / 1500)


def test_extras_are_spread_over_the_epoch() -> None:
    labels, batches = deal(StratifiedBatch("binary", min_per_class=0), [950, 50], 10, seed=3)  # a positive in every other batch
    where = np.flatnonzero(held(labels, batches, 2)[:, 1])
    assert len(where) == 50
    assert np.diff(where).max() <= 4


@pytest.mark.parametrize(("rate", "allowed"), [(0.25, {4}), (0.5, {8}), (0.3, {4, 5}), (0.01, {1}), (0.99, {15})])
def test_share_of_positives(rate: float, allowed: set[int]) -> None:
    labels, batches = deal(StratifiedBatch("binary", positive_rate=rate), [950, 53], 16)
    found = held(labels, batches, 2)[:, 1]
    assert set(found[:-1].tolist()) == allowed
    assert len(batches[-1]) == 1003 % 16
    assert 1 <= found[-1] < len(batches[-1])
    if rate == 0.3:
        assert found[:-1].mean() == pytest.approx(4.8, abs=0.02)


def test_share_of_positives_without_any() -> None:
    _, batches = deal(StratifiedBatch("binary", positive_rate=0.5), [20, 0], 8)
    assert sorted(np.concatenate(batches).tolist()) == list(range(20))


def test_classes_are_mixed_within_a_batch() -> None:
    """A batch may be cut into pieces where memory asks for it: each should hold its share of the classes."""
    labels, batches = deal(StratifiedBatch("multiclass"), [400, 400, 160, 40], 100)
    for positions in batches:
        pieces = held(labels, np.split(positions, 4), 4)
        assert (np.abs(pieces - np.array([10, 10, 4, 1])) <= 1).all()
    labels, batches = deal(StratifiedBatch("multiclass"), [30] * 20, 20)  # one of each: not all of them in the middle
    order = np.array([labels[positions] for positions in batches])
    assert (np.sort(order) == np.arange(20)).all()


def test_refusals_and_warning(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConfigError, match=r"sampler=stratified_batch: .* multi-label; use sampler=repeat_factor"):
        StratifiedBatch("multilabel")
    with pytest.raises(ConfigError, match=r"sampler\.positive_rate=0\.3: only a binary task .* multiclass; leave it at null"):
        StratifiedBatch("multiclass", positive_rate=0.3)
    labels = np.repeat([0, 1, 2], 10)
    with caplog.at_level(logging.WARNING):
        StratifiedBatch("multiclass", min_per_class=2).steps_per_epoch(Plan(np.arange(30)), labels, 6)
        assert not caplog.records
        StratifiedBatch("multiclass", min_per_class=2).steps_per_epoch(Plan(np.arange(30)), labels, 5)
    assert "cannot hold 2 of each of 3 classes, only 1; trainer.batch_size=6 would" in caplog.text
