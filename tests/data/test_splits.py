"""Splits: exact shares where arithmetic allows, groups that never span, and quality held against scikit-learn's and random splits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from recipes.data.splits import folds, holdout, joined, subsample
from recipes.randomness import generator


def rng(seed: int = 0) -> np.random.Generator:
    return generator(seed, "test")


def drawn(rows: int, shares: list[float], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).choice(len(shares), size=rows, p=shares)


def label_sets(rows: int, rates: np.ndarray, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random((rows, len(rates))) < rates).astype(np.float32)


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.37])
def test_holdout_takes_the_share_of_each_class_to_the_row(fraction):
    targets = drawn(5000, [0.6, 0.3, 0.09, 0.01])
    taken = holdout(targets, fraction, rng())
    counts = np.bincount(targets)
    np.testing.assert_array_less(np.abs(np.bincount(targets[taken]) - fraction * counts), 1)


def test_folds_are_equal_in_size_and_in_every_class():
    targets = drawn(5003, [0.6, 0.3, 0.09, 0.01])
    fold = folds(targets, 7, rng())
    sizes = np.bincount(fold)
    assert sizes.sum() == 5003
    assert np.ptp(sizes) <= 1
    for c in range(4):
        assert np.ptp(np.bincount(fold[targets == c], minlength=7)) <= 1


@pytest.mark.parametrize("rows", [2, 3, 4, 7])
@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.5, 0.95])
def test_a_class_of_two_rows_or_more_is_on_both_sides(rows, fraction):
    targets = np.r_[np.zeros(40, dtype=int), np.ones(rows, dtype=int)]
    for seed in range(5):
        rare = holdout(targets, fraction, rng(seed))[targets == 1]
        assert 1 <= rare.sum() < rows


def test_a_class_of_one_row_stays_in_train():
    targets = np.array([0] * 50 + [1])
    assert not holdout(targets, 0.9, rng())[-1]
    assert folds(targets, 5, rng())[-1] == -1


def test_the_same_seed_gives_the_same_split_and_another_seed_another():
    targets = drawn(500, [0.8, 0.2])
    groups = np.random.default_rng(1).integers(0, 200, 500)
    for keys in (None, groups):
        first, again, other = (holdout(targets, 0.3, rng(seed), keys) for seed in (0, 0, 1))
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()


def test_every_row_has_a_fair_chance_to_be_taken():
    targets = np.r_[np.zeros(40, dtype=int), np.ones(10, dtype=int)]
    often = np.mean([holdout(targets, 0.2, rng(seed)) for seed in range(600)], axis=0)
    np.testing.assert_allclose(often, 0.2, atol=5 * np.sqrt(0.2 * 0.8 / 600))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_groups_never_span_and_classes_are_in_every_split_they_can_be_in(data):
    seed = data.draw(st.integers(0, 10_000))
    draw = np.random.default_rng(seed)
    rows, classes = data.draw(st.integers(2, 120)), data.draw(st.integers(1, 5))
    groups = draw.integers(0, data.draw(st.integers(1, rows)), rows)
    pure = data.draw(st.booleans())
    targets = groups % classes if pure else draw.integers(0, classes, rows)
    taken = holdout(targets, data.draw(st.floats(0.05, 0.95)), rng(seed), groups)
    number = data.draw(st.integers(2, 6))
    fold = folds(targets, number, rng(seed), groups)
    for group in np.unique(groups):
        assert len(set(taken[groups == group])) == 1
        assert len(set(fold[groups == group])) == 1
    for c in np.unique(targets):
        units = len(np.unique(groups[targets == c]))
        if units == 1:  # it can only be learned, not tested
            assert not taken[targets == c].any()
            assert (fold[targets == c] == -1).all()
        elif pure:
            assert 0 < taken[targets == c].sum() < (targets == c).sum()
            assert len(np.unique(fold[targets == c])) == min(units, number)
        assert (targets[~taken] == c).any()  # train has every class
        for i in range(number):
            assert (targets[fold != i] == c).any()


def test_train_comes_before_test_where_no_row_can_be_spared():
    # No row can change sides without taking the last row of another label along.
    targets = np.array([[0, 0, 1, 0, 0], [1, 0, 1, 0, 1], [0, 0, 0, 1, 1], [0, 0, 1, 0, 0], [1, 1, 0, 1, 0]], dtype=np.float32)
    for seed in range(10):
        taken = holdout(targets, 0.5, rng(seed))
        assert targets[~taken].sum(0).min() > 0
    targets = np.array([[1, 1, 1, 0], [0, 0, 0, 0], [0, 0, 1, 1], [0, 1, 0, 1], [1, 1, 0, 1]], dtype=np.float32)
    groups = np.array([2, 2, 0, 0, 4])
    for seed in range(10):
        fold = folds(targets, 2, rng(seed), groups)
        for i in range(2):
            assert targets[fold != i].sum(0).min() > 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 60), st.integers(1, 6), st.integers(2, 6), st.booleans())
def test_train_keeps_every_label_it_can_learn(seed, rows, labels, number, grouped):
    draw = np.random.default_rng(seed)
    targets = (draw.random((rows, labels)) < draw.random(labels) * 0.5).astype(np.float32)
    groups = draw.integers(0, rows, rows) if grouped else None
    taken = holdout(targets, draw.uniform(0.05, 0.95), rng(seed), groups)
    fold = folds(targets, number, rng(seed), groups)
    for label in np.flatnonzero(targets.sum(0)):
        assert targets[~taken, label].any()
        for i in range(number):
            assert targets[fold != i, label].any()


def deviation(targets: np.ndarray, fold: np.ndarray, number: int) -> float:
    """Mean relative error of a class's share of a fold."""
    totals = np.bincount(targets)
    held = np.array([np.bincount(targets[fold == i], minlength=len(totals)) for i in range(number)])
    return float(np.abs(held / totals * number - 1).mean())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("pure", [True, False])
def test_grouped_folds_keep_shares_at_least_as_well_as_scikit_learn(seed, pure):
    draw = np.random.default_rng(seed)
    groups = draw.zipf(1.6, 3000) % 400  # a few large groups, many small ones
    of_group = draw.choice(5, size=400, p=[0.5, 0.25, 0.15, 0.07, 0.03])
    targets = of_group[groups] if pure else np.where(draw.random(3000) < 0.7, of_group[groups], draw.integers(0, 5, 3000))
    ours = folds(targets, 5, rng(seed), groups)
    theirs = np.empty(3000, dtype=int)
    for i, (_, test) in enumerate(StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(targets, targets, groups)):
        theirs[test] = i
    placed = ours >= 0  # a class in a single group cannot be tested, whoever splits
    assert deviation(targets[placed], ours[placed], 5) <= deviation(targets[placed], theirs[placed], 5) * 1.05 + 1e-9


@pytest.mark.parametrize("seed", range(3))
def test_label_sets_are_split_evenly_where_random_splits_lose_rare_labels(seed):
    targets = label_sets(4000, np.geomspace(0.4, 0.001, 20), seed)
    totals = targets.sum(0)
    taken = holdout(targets, 0.2, rng(seed))
    assert abs(taken.sum() - 800) <= 2
    share = targets[taken].sum(0) / totals
    bound = np.maximum(0.06, 1.5 / totals)  # a label of ten rows can be off by a row
    np.testing.assert_array_less(np.abs(share - 0.2), bound)
    random = np.random.default_rng(seed).permutation(len(targets))[:800]
    assert np.abs(share - 0.2).mean() < 0.5 * np.abs(targets[random].sum(0) / totals - 0.2).mean()


@pytest.mark.parametrize("seed", range(3))
def test_labels_that_come_together_are_counted_once(seed):
    draw = np.random.default_rng(seed)
    rates = draw.random((6, 12)) ** 4
    rates[:, :2] += 0.3  # every topic shares two labels
    topic = draw.choice(6, size=3000, p=[0.5, 0.2, 0.15, 0.1, 0.04, 0.01])
    targets = (draw.random((3000, 12)) < rates[topic]).astype(np.float32)
    totals = targets.sum(0)
    assert np.abs(targets[holdout(targets, 0.2, rng(seed))].sum(0) / totals - 0.2).mean() < 0.004
    fold = folds(targets, 5, rng(seed))
    held = np.array([targets[fold == i].sum(0) for i in range(5)])
    assert np.abs(held / totals * 5 - 1).mean() < 0.015


def test_label_set_folds():
    targets = label_sets(3000, np.geomspace(0.3, 0.005, 12))
    fold = folds(targets, 5, rng())
    assert np.ptp(np.bincount(fold)) <= 3
    for label in range(12):
        held = np.bincount(fold[targets[:, label] > 0], minlength=5)
        assert np.ptp(held) <= max(3, 0.3 * held.mean())
        assert held.min() > 0


def test_rows_without_labels_are_dealt_too():
    targets = np.zeros((100, 3), dtype=np.float32)
    targets[:20, 0] = targets[20:30, 1] = targets[25:40, 2] = 1
    taken = holdout(targets, 0.2, rng())
    assert taken.sum() == 20
    assert 10 <= taken[40:].sum() <= 14


def test_rows_without_labels_make_up_for_a_group_that_must_stay():
    targets = np.zeros((150, 2), dtype=np.float32)
    targets[:50] = 1  # one group holds all there is of both labels
    groups = np.r_[np.zeros(50, dtype=int), np.arange(1, 101)]
    taken = holdout(targets, 0.5, rng(), groups)
    assert not taken[:50].any()
    assert taken.sum() == 75


def test_a_large_group_is_not_taken_where_small_ones_fit():
    sizes = [100, 90, *[1] * 10]
    targets = np.zeros(200, dtype=int)
    for seed in range(5):
        taken = holdout(targets, 0.2, rng(seed), np.repeat(np.arange(12), sizes))
        assert taken.sum() == 10


def test_grouped_label_sets():
    targets = label_sets(2000, np.geomspace(0.3, 0.01, 8))
    groups = np.random.default_rng(0).integers(0, 600, 2000)
    taken = holdout(targets, 0.25, rng(), groups)
    for group in np.unique(groups):
        assert len(set(taken[groups == group])) == 1
    np.testing.assert_allclose(targets[taken].sum(0) / targets.sum(0), 0.25, atol=0.05)


@pytest.mark.parametrize("size", [4, 10, 57, 999])
def test_subsample_has_the_size_and_every_class(size):
    targets = drawn(1000, [0.9, 0.08, 0.015, 0.005])
    assert len(np.unique(targets)) == 4
    kept = subsample(targets, size, rng())
    assert kept.sum() == size
    counts = np.bincount(targets[kept], minlength=4)
    assert counts.min() >= 1
    if size > 50:
        np.testing.assert_array_less(np.abs(counts - size / 1000 * np.bincount(targets)), 3)


def test_subsample_of_label_sets():
    targets = label_sets(1000, np.array([0.5, 0.2, 0.01]))
    kept = subsample(targets, 100, rng())
    assert kept.sum() == 100
    assert targets[kept].sum(0).min() >= 1


def test_joined_are_connected_components():
    draw = np.random.default_rng(0)
    for _ in range(20):
        a, b = draw.integers(0, 15, 30), draw.integers(0, 15, 30)
        group = joined(a, b)
        reach = (a[:, None] == a) | (b[:, None] == b)
        for _ in range(5):
            reach = (reach.astype(int) @ reach.astype(int)) > 0
        np.testing.assert_array_equal(group[:, None] == group, reach)
        assert group[0] == 0  # numbered by first occurrence
        np.testing.assert_array_equal(np.unique(group), np.arange(group.max() + 1))
