"""A sampler that sets in later: what comes before and after the switch, inside an epoch too."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch

from recipes.data.split import TrainSplit
from recipes.data.stores import DenseStore
from recipes.errors import ConfigError
from recipes.randomness import generator
from recipes.sampling import OHEM, SMOTE, BalancedBatch, Deferred, Moment, Plan, Progressive, RandomOver, RandomUnder, Sampler, Weighted

LABELS = np.random.default_rng(0).permutation(np.repeat([0, 1], [90, 10]))
NAMES = ("a", "b")
SIZE = 16


def train() -> TrainSplit:
    points = np.random.default_rng(1).normal(size=(100, 3)).astype(np.float32)
    return TrainSplit("train", DenseStore(points, np.zeros((100, 0), np.int64)), LABELS)


def start(sampler: Sampler) -> tuple[Plan, np.ndarray, int]:
    plan = sampler.resample(train(), generator(0, "resample"))
    labels = plan.labels(LABELS)
    return plan, labels, sampler.steps_per_epoch(plan, labels, SIZE)


def stream(sampler: Sampler, plan: Plan, labels: np.ndarray, steps: int, epoch: int) -> list[np.ndarray]:
    return list(sampler.batches(plan, labels, SIZE, generator(0, "batches", epoch), Moment(epoch * steps, 10 * steps)))


INNER: dict[str, Any] = {
    "balanced": lambda: BalancedBatch(epoch_size="majority"),
    "progressive": lambda: Progressive("binary"),
    "grown once": lambda: RandomOver("binary", NAMES, resample_every="once"),
    "shrunk once": lambda: RandomUnder("binary", NAMES, resample_every="once"),
    "shrunk": lambda: RandomUnder("binary", NAMES),
    "smote": lambda: SMOTE("binary", NAMES),
}
each = pytest.mark.parametrize("make", INNER.values(), ids=INNER.keys())


@each
@pytest.mark.parametrize("shift", [0, 1, 2])
def test_natural_before_and_the_sampler_after(make: Any, shift: int) -> None:
    inner = make()
    own_plan, own_labels, steps = start(inner)
    switch = 2 * steps + min(shift, steps - 1)
    deferred = Deferred(make(), switch)
    plan, labels, found_steps = start(deferred)
    assert found_steps == steps
    np.testing.assert_array_equal(plan.rows[: len(own_plan)], own_plan.rows)
    for epoch in range(4):
        windows = stream(deferred, plan, labels, steps, epoch)
        expected = stream(inner, own_plan, own_labels, steps, epoch)
        assert [len(w) for w in windows] == [len(w) for w in expected]
        cut = min(max(switch - epoch * steps, 0), steps)
        for a, b in zip(windows[cut:], expected[cut:], strict=True):
            np.testing.assert_array_equal(a, b)
        before = np.concatenate([*windows[:cut], np.empty(0, np.int64)])
        assert not plan.synthetic[before].any()
        rows = plan.rows[before]
        for first in range(0, len(rows), 100):  # one permutation of all train rows after another
            assert max(Counter(rows[first : first + 100].tolist()).values()) == 1


@each
def test_all_train_rows_come_first_even_those_that_the_plan_leaves_out(make: Any) -> None:
    deferred = Deferred(make(), 10**6)
    plan, labels, steps = start(deferred)
    seen = {int(row) for epoch in range(60) for window in stream(deferred, plan, labels, steps, epoch) for row in plan.rows[window]}
    assert seen == set(range(100))


@each
def test_a_resumed_epoch_goes_on_where_it_stopped(make: Any) -> None:
    first, second = Deferred(make(), 9), Deferred(make(), 9)
    plan, labels, steps = start(first)
    again, _, _ = start(second)
    for epoch in (3, 0, 1):
        whole = stream(first, plan, labels, steps, epoch)
        for done in {0, 1, steps // 2, steps}:
            moment = Moment(epoch * steps, 10 * steps)
            rest = list(islice(second.batches(again, labels, SIZE, generator(0, "batches", epoch), moment), done, None))
            assert len(rest) == len(whole) - done
            for a, b in zip(rest, whole[done:], strict=True):
                np.testing.assert_array_equal(a, b)


def test_a_plan_that_the_sampler_made_itself_will_do() -> None:
    inner = RandomOver("binary", NAMES, resample_every="once")
    plan, labels, steps = start(inner)
    late = Deferred(inner)
    late.start_step = steps
    assert late.steps_per_epoch(plan, labels, SIZE) == steps
    rows = plan.rows[np.concatenate(stream(late, plan, labels, steps, 0))]
    assert sorted(rows[:100].tolist()) == list(range(100))  # each row once, though the plan holds copies
    for a, b in zip(stream(late, plan, labels, steps, 1), stream(inner, plan, labels, steps, 1), strict=True):
        np.testing.assert_array_equal(a, b)


def test_mixtures_keep_their_coefficients_behind_an_extended_plan() -> None:
    class Half(SMOTE):
        def resample(self, train: TrainSplit, rng: np.random.Generator) -> Plan:
            plan = super().resample(train, rng)
            assert plan.partners is not None
            assert plan.mix is not None
            return Plan(plan.rows[50:], plan.partners[50:], plan.mix[50:])

    plan, labels, _ = start(Deferred(Half("binary", NAMES), 5))
    assert plan.partners is not None
    assert plan.mix is not None
    assert plan.rows[-50:].tolist() == plan.partners[-50:].tolist() == list(range(50))
    assert plan.mix[-50:].tolist() == [[1, 0]] * 50
    assert len(labels) == len(plan) == len(plan.mix)
    assert not plan.synthetic[-50:].any()


def test_selection_is_the_samplers() -> None:
    mining, plain = Deferred(OHEM(keep_ratio=0.5), 100), Deferred(BalancedBatch(), 100)
    assert mining.mines
    assert not plain.mines
    keep = mining.select(torch.arange(4.0), torch.zeros(4), 0)
    assert keep is not None
    assert keep.tolist() == [False, False, True, True]
    assert mining.approximate == OHEM.approximate
    assert plain.approximate is None


def test_row_weights_cannot_begin_later() -> None:
    with pytest.raises(ConfigError, match="sampler=weighted deals rows by the data's weights"):
        Deferred(Weighted(), 5)
