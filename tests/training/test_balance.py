"""What a run takes for the shares of the classes, natural and as they are dealt, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from recipes.data.split import TrainSplit
from recipes.data.stores import DenseStore
from recipes.losses import CrossEntropy, WeightedCE
from recipes.randomness import generator
from recipes.sampling import (
    ROSE,
    SMOTE,
    BalancedBatch,
    ClassSampling,
    Deferred,
    Moment,
    Progressive,
    RandomUnder,
    RepeatFactor,
    Sampler,
    Shuffle,
    Weighted,
)
from recipes.training.balance import Balance, weigh

LABELS = np.repeat([0, 1, 2], [60, 30, 10])
NAMES = ("a", "b", "c")
SIZE, START = 20, Moment()


def train(labels: np.ndarray = LABELS, weights: np.ndarray | None = None) -> TrainSplit:
    points = np.random.default_rng(0).normal(size=(len(labels), 4)).astype(np.float32)
    classes = labels.shape[1] if labels.ndim == 2 else 3
    return TrainSplit("train", DenseStore(points, np.zeros((len(labels), 0), np.int64)), labels, weights, classes)


def weighed(sampler: Sampler, split: TrainSplit, moment: Moment = START, reasons: tuple[str, ...] = ()) -> Balance:
    plan = sampler.resample(split, generator(0, "resample"))
    return weigh(sampler, plan, plan.labels(split.labels()), split, SIZE, 0, moment, reasons)


def test_rows_as_they_are() -> None:
    found = weighed(Shuffle(), train())
    np.testing.assert_allclose(found.natural_C, [0.6, 0.3, 0.1])
    np.testing.assert_allclose(found.sampled_C, [0.6, 0.3, 0.1])
    assert (found.task, found.dealt_C.tolist(), found.dealt_rows) == ("multiclass", [60, 30, 10], 100)
    assert not found.shifted


@pytest.mark.parametrize(
    ("sampler", "dealt"),
    [
        (BalancedBatch(epoch_size="majority"), [60, 60, 60]),
        (RandomUnder("multiclass", NAMES), [10, 10, 10]),
        (SMOTE("multiclass", NAMES), [60, 60, 60]),
        (ROSE("multiclass", NAMES), [60, 60, 60]),
    ],
    ids=lambda x: type(x).__name__,
)
def test_what_is_dealt_is_counted(sampler: Sampler, dealt: list[int]) -> None:
    """Repeated, left out, mixed, made: samples count, whatever they are made of."""
    found = weighed(sampler, train(), reasons=tuple(filter(None, [sampler.approximate])))
    assert found.dealt_C.tolist() == dealt
    assert found.dealt_rows == sum(dealt)
    np.testing.assert_allclose(found.sampled_C, [1 / 3] * 3)
    np.testing.assert_allclose(found.natural_C, [0.6, 0.3, 0.1])
    assert found.shifted
    assert found.ledger(CrossEntropy("multiclass")).exact is (sampler.approximate is None)


def test_a_class_counts_by_the_weight_of_its_rows() -> None:
    weights = np.where(LABELS == 0, 1, np.where(LABELS == 1, 2, 6)).astype(np.float32)  # 60, 60 and 60 in all
    natural = weighed(Shuffle(), train(weights=weights))
    np.testing.assert_allclose(natural.natural_C, [1 / 3] * 3)
    np.testing.assert_allclose(natural.sampled_C, [1 / 3] * 3)
    assert natural.dealt_C.tolist() == [60, 30, 10]
    # What already weighs the same leaves nothing for a loss to balance.
    np.testing.assert_allclose(natural.counts_C, [100 / 3] * 3)
    assert not natural.shifted
    # Equally many rows of each class then weigh as 1 : 2 : 6, whose mean rows these are.
    balanced = weighed(BalancedBatch(epoch_size="majority"), train(weights=weights))
    np.testing.assert_allclose(balanced.sampled_C, np.array([1, 2, 6]) / 9)
    np.testing.assert_allclose(balanced.natural_C, [1 / 3] * 3)


def test_single_rows_weigh_as_often_as_they_are_dealt() -> None:
    """Weights differ inside a class: an epoch in which each row comes equally often has their mean."""
    weights = np.random.default_rng(1).random(100).astype(np.float32)
    found = weighed(ClassSampling("multiclass", power=0.0, epoch_size=1800), train(weights=weights))
    means_C = np.array([weights[c == LABELS].mean() for c in range(3)])
    np.testing.assert_allclose(found.sampled_C, means_C / means_C.sum(), rtol=0.02)
    sums_C = np.array([weights[c == LABELS].sum() for c in range(3)], dtype=np.float64)
    np.testing.assert_allclose(found.natural_C, sums_C / sums_C.sum(), rtol=1e-6)


def test_rows_dealt_by_weight_are_the_weighted_rows() -> None:
    """Nothing is left to correct: the shares that are dealt are those that the weights mean, exactly."""
    weights = np.where(LABELS == 2, 5, 1).astype(np.float32)
    found = weighed(Weighted(), train(weights=weights))
    np.testing.assert_allclose(found.natural_C, np.array([60, 30, 50]) / 140)
    np.testing.assert_array_equal(found.sampled_C, found.natural_C)
    np.testing.assert_allclose(found.dealt_C, 100 * np.array([60, 30, 50]) / 140, atol=1)
    assert found.dealt_rows == 100
    assert found.ledger(CrossEntropy("multiclass")).trivial


def test_labels_stand_each_for_themselves() -> None:
    """A share is that of rows, so shares do not add up to one; rows without a label count below the line."""
    labels = np.zeros((100, 3), dtype=np.float32)
    labels[:50, 0], labels[40:60, 1], labels[:4, 2] = 1, 1, 1
    found = weighed(Shuffle(), train(labels))
    np.testing.assert_allclose(found.natural_C, [0.5, 0.2, 0.04])
    assert (found.task, found.dealt_rows, found.dealt_C.tolist()) == ("multilabel", 100, [50, 20, 4])
    weights = np.where(labels[:, 2] > 0, 10, 1).astype(np.float32)
    heavy = weighed(Shuffle(), train(labels, weights))
    np.testing.assert_allclose(heavy.natural_C, np.array([86, 20, 40]) / 136, rtol=1e-6)
    sampler = BalancedBatch("multilabel")
    balanced = weighed(sampler, train(labels))
    plan = sampler.resample(train(labels), generator(0, "resample"))
    dealt = np.concatenate(list(sampler.batches(plan, labels, SIZE, generator(0, "batches"))))
    np.testing.assert_allclose(balanced.sampled_C, labels[dealt].mean(axis=0), atol=0.03)  # one of the epochs that are averaged
    assert balanced.sampled_C[2] > 0.15


def test_shares_that_move_are_those_of_the_moment() -> None:
    begin, end = (weighed(Progressive("multiclass"), train(), Moment(step, 100)) for step in (0, 100))
    np.testing.assert_allclose(begin.sampled_C, [0.6, 0.3, 0.1], atol=0.02)
    np.testing.assert_allclose(end.sampled_C, [1 / 3] * 3, atol=0.02)


def test_before_a_deferred_start_rows_are_natural() -> None:
    """The ledger follows the loss: while that does not rebalance, nor does the sampler."""
    found = weighed(Deferred(BalancedBatch(), 50), train(), Moment(100, 100))
    loss = WeightedCE("multiclass", np.array([60, 30, 10]), NAMES, weights=[1.0, 2.0, 3.0])
    np.testing.assert_allclose(found.ledger(loss).sampled_C, [1 / 3] * 3, atol=0.02)
    assert not found.ledger(loss).trivial
    loss.active = False
    assert found.ledger(loss).trivial


@pytest.mark.parametrize(("rare", "shifted"), [(0.0004, False), (0.000403, False), (0.00042, True), (0.0002, True), (0.0, True)])
def test_a_rare_class_is_moved_by_ratios(rare: float, shifted: bool) -> None:
    """None of these differs from 0.0004 by as much as a thousandth; a class without rows has no share to move."""
    shares = [np.array([1 - share, share, 0.0]) for share in (0.0004, rare)]
    assert Balance("multiclass", *shares, np.zeros(3, np.int64), 0).shifted is shifted


def test_two_classes_are_a_binary_task() -> None:
    split = train()
    split.num_classes = 2
    plan = Shuffle().resample(split, generator(0, "resample"))
    labels = np.minimum(LABELS, 1)
    split._labels = labels
    assert weigh(Shuffle(), plan, labels, split, SIZE, 0, START, ()).task == "binary"


def test_every_reason_is_kept() -> None:
    found = weighed(Shuffle(), train(), reasons=("ohem: hard", "mixed"))
    assert found.shifted, "rows are seen otherwise, even in the same shares"
    assert found.ledger(CrossEntropy("multiclass")).approximate == ("ohem: hard", "mixed")


def test_a_rare_class_is_counted_over_several_epochs() -> None:
    """Ten labels of one row, each shown 1.4 times an epoch: once or twice in a single one, and weights come to fit the mean of many."""
    labels = np.zeros((400, 10), dtype=np.float32)
    labels[np.arange(10), np.arange(10)] = 1
    found = weighed(RepeatFactor("multilabel", threshold=0.0049), train(labels))
    assert found.counts_C == pytest.approx(np.full(10, 1.4), abs=0.4)
    assert found.counts_C.sum() == pytest.approx(14)
