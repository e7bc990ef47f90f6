"""Hard negatives: which rows are dealt, in what proportion, and which are doubted."""

from __future__ import annotations

import numpy as np
import pytest

from recipes.data.split import TrainSplit
from recipes.data.stores import DenseStore
from recipes.errors import ConfigError
from recipes.randomness import generator
from recipes.sampling import Deferred, HardNegatives, Moment, Plan, Sampler

POSITIVES, NEGATIVES = 20, 200
LABELS = np.repeat([1, 0], [POSITIVES, NEGATIVES])
COUNTS = np.array([NEGATIVES, POSITIVES])


def train(labels: np.ndarray = LABELS) -> TrainSplit:
    size = len(labels)
    return TrainSplit("train", DenseStore(np.zeros((size, 1), np.float32), np.zeros((size, 0), np.int64)), labels)


def rising() -> np.ndarray:
    """Logits under which negatives look the more positive, the later they come."""
    return np.stack([np.zeros(len(LABELS)), np.linspace(-5, 5, len(LABELS))], axis=1)


def dealt(sampler: Sampler, epoch: int = 0, labels: np.ndarray = LABELS) -> np.ndarray:
    plan = Plan(np.arange(len(labels)))
    return np.concatenate(list(sampler.batches(plan, labels, 16, generator(0, "batches", epoch), Moment(epoch, 10))))


def make(**settings: float) -> HardNegatives:
    sampler = HardNegatives("binary", COUNTS, **settings)
    sampler.resample(train(), generator(0, "resample"))
    return sampler


def test_an_epoch_has_all_positives_and_negatives_in_proportion() -> None:
    sampler = make(hard=2.0, easy=1.5, pool=3.0)
    sampler.rescore(rising())
    rows = dealt(sampler)
    assert sorted(rows[rows < POSITIVES]) == list(range(POSITIVES))
    assert len(rows) == POSITIVES + 2 * POSITIVES + 1.5 * POSITIVES
    assert sampler.steps_per_epoch(Plan(np.arange(220)), LABELS, 16) == int(np.ceil(len(rows) / 16))
    pool = set(range(220 - 2 - 60, 220 - 2))  # the 60 that score highest after the 2 that are doubted
    negatives = rows[rows >= POSITIVES]
    assert sum(row in pool for row in negatives) == 2 * POSITIVES
    assert set(negatives).isdisjoint({218, 219})


def test_who_is_hard_changes_with_the_scores() -> None:
    sampler = make(hard=1.0, easy=0.0, pool=1.0, noise=0.0)
    sampler.rescore(rising())
    assert set(dealt(sampler)) == {*range(20), *range(200, 220)}
    sampler.rescore(-rising())
    assert set(dealt(sampler)) == {*range(20), *range(20, 40)}


def test_the_doubted_are_the_highest_scores_and_one_negative_stays() -> None:
    sampler = make(noise=0.03)
    assert len(sampler.suspects) == 0
    sampler.rescore(rising())
    assert sampler.suspects.tolist() == [219, 218, 217, 216, 215, 214]
    labels = np.array([1, 1, 1, 0])
    sampler = HardNegatives("binary", np.array([9, 1]), noise=0.5)
    sampler.resample(train(labels), generator(0, "resample"))
    sampler.rescore(np.zeros((4, 2)))
    assert len(sampler.suspects) == 0
    assert sorted(set(dealt(sampler, labels=labels))) == [0, 1, 2, 3]


def test_scores_by_task() -> None:
    logits = np.array([[1.0, 3.0, 2.0], [0.0, -1.0, 4.0]])
    several = HardNegatives("multiclass", np.array([5, 50, 5]))
    expected = np.log(np.exp(logits[:, 0]) + np.exp(logits[:, 2])) - logits[:, 1]
    np.testing.assert_allclose(several.scores(logits), expected)
    np.testing.assert_allclose(HardNegatives("multilabel", np.array([5, 50, 5])).scores(logits), [3.0, 4.0])
    assert HardNegatives("binary", np.array([3, 9])).scores(np.array([[2.0, 0.5]])) == pytest.approx([1.5])  # the largest class is negative


def test_rows_without_labels_are_the_negatives_of_several() -> None:
    labels = np.zeros((30, 2), np.float32)
    labels[:6, 0] = labels[4:8, 1] = 1
    sampler = HardNegatives("multilabel", np.array([6, 4]), noise=0.0)
    sampler.resample(train(labels), generator(0, "resample"))
    sampler.rescore(np.arange(60.0).reshape(30, 2))
    rows = dealt(sampler, labels=labels)
    assert sorted(rows[rows < 8]) == list(range(8))
    assert sum(row >= 8 for row in rows) == 16


def test_a_resumed_epoch_is_the_same() -> None:
    one, other = make(), make()
    one.rescore(rising())
    other.load_state_dict(one.state_dict())
    np.testing.assert_array_equal(dealt(one, epoch=3), dealt(other, epoch=3))
    assert not np.array_equal(dealt(one, epoch=3), dealt(one, epoch=4))


def test_deferred_it_is_scored_all_the_same() -> None:
    deferred = Deferred(make(), start_step=4)
    plan = deferred.resample(train(), generator(0, "resample"))
    assert deferred.rescored
    deferred.rescore(rising())
    windows = list(deferred.batches(plan, LABELS, 16, generator(0, "batches", 2), Moment(4, 40)))
    inner = list(deferred.sampler.batches(plan, LABELS, 16, generator(0, "batches", 2), Moment(4, 40)))
    assert all(np.array_equal(a, b) for a, b in zip(windows, inner, strict=True))


@pytest.mark.parametrize("labels", [np.zeros(5, np.int64), np.ones((5, 2), np.float32)])
def test_both_kinds_are_needed(labels: np.ndarray) -> None:
    task, counts = ("binary", np.array([5, 0])) if labels.ndim == 1 else ("multilabel", np.array([5, 5]))
    with pytest.raises(ConfigError, match="of 5 train rows are positive, and both kinds are needed"):
        HardNegatives(task, counts).resample(train(labels), generator(0, "resample"))


def test_a_pool_that_is_too_small() -> None:
    with pytest.raises(ConfigError, match=r"sampler.pool: 1 negatives a positive cannot give the 2 of sampler.hard; use at least 2"):
        HardNegatives("binary", COUNTS, hard=2.0, pool=1.0)
