"""Every schedule, step by step, against torch's scheduler of the same rule or its formula."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler as reference

from recipes.errors import ConfigError
from recipes.optim import (
    Constant,
    Cosine,
    CosineRestarts,
    Cyclical,
    Exponential,
    InverseSqrt,
    Linear,
    MultiStep,
    OneCycle,
    Plateau,
    Polynomial,
    Schedule,
    StepDecay,
    TimeBased,
)

EPOCH, TOTAL, LR = 50, 600, 0.3


def torch_lrs(make: Callable[[torch.optim.Optimizer], Any], steps: int = TOTAL) -> np.ndarray:
    """The learning rate of each of `steps` updates as torch sets it."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    scheduler = make(optimizer)
    lrs = []
    for step in range(steps):
        lrs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step + 1 < steps:  # OneCycleLR refuses to step beyond its end
            scheduler.step()
    return np.array(lrs)


def ours(schedule: Schedule, steps: int = TOTAL) -> np.ndarray:
    return LR * np.array([schedule.factor(step) for step in range(steps)])


def equal(schedule: Schedule, expected: np.ndarray) -> None:
    np.testing.assert_allclose(ours(schedule, len(expected)), expected, rtol=1e-12, atol=1e-12)


PAIRS = {
    "constant": (Constant(EPOCH, TOTAL), lambda o: reference.ConstantLR(o, factor=1.0)),
    "step": (StepDecay(EPOCH, TOTAL, every="37 steps", gamma=0.7), lambda o: reference.StepLR(o, 37, 0.7)),
    "step in epochs": (StepDecay(EPOCH, TOTAL, every="2 epochs", gamma=0.1), lambda o: reference.StepLR(o, 100, 0.1)),
    "multistep": (
        MultiStep(EPOCH, TOTAL, milestones=["400 steps", "10%", "10%", "3 epochs"], gamma=0.5),
        lambda o: reference.MultiStepLR(o, [60, 60, 150, 400], 0.5),
    ),
    "exponential": (Exponential(EPOCH, TOTAL, gamma=0.99, every="1 steps"), lambda o: reference.ExponentialLR(o, 0.99)),
    "exponential by epochs": (Exponential(EPOCH, TOTAL, gamma=0.8), lambda o: reference.ExponentialLR(o, 0.8 ** (1 / EPOCH))),
    "linear": (Linear(EPOCH, TOTAL, end=0.2), lambda o: reference.LinearLR(o, 1.0, 0.2, TOTAL)),
    "polynomial": (Polynomial(EPOCH, TOTAL, power=2.5), lambda o: reference.PolynomialLR(o, TOTAL, 2.5)),
    "cosine": (Cosine(EPOCH, TOTAL, end=0.1), lambda o: reference.CosineAnnealingLR(o, TOTAL, eta_min=0.1 * LR)),
    "restarts": (CosineRestarts(EPOCH, TOTAL, cycle="70 steps"), lambda o: reference.CosineAnnealingWarmRestarts(o, 70)),
    "growing restarts": (
        CosineRestarts(EPOCH, TOTAL, cycle="30 steps", cycle_mult=3, end=0.05),
        lambda o: reference.CosineAnnealingWarmRestarts(o, 30, 3, 0.05 * LR),
    ),
    "onecycle": (OneCycle(EPOCH, TOTAL), lambda o: reference.OneCycleLR(o, LR, TOTAL, cycle_momentum=False)),
    "onecycle linear": (
        OneCycle(EPOCH, TOTAL, pct_start=0.45, div=10, final_div=100, anneal="linear"),
        lambda o: reference.OneCycleLR(o, LR, TOTAL, None, None, 0.45, "linear", False, div_factor=10, final_div_factor=100),
    ),
}
for mode in ("triangular", "triangular2", "exp_range"):
    PAIRS[mode] = (
        Cyclical(EPOCH, TOTAL, base=0.2, max=1.5, up="40 steps", down="13 steps", mode=mode, gamma=0.995),
        lambda o, mode=mode: reference.CyclicLR(o, 0.2 * LR, 1.5 * LR, 40, 13, mode, 0.995, cycle_momentum=False),
    )


@pytest.mark.parametrize("pair", PAIRS)
def test_equals_torch(pair: str) -> None:
    schedule, make = PAIRS[pair]
    equal(schedule, torch_lrs(make))


@pytest.mark.parametrize("pair", ["constant", "linear", "onecycle"])
def test_warmup_from_a_third_is_torchs_linear_lr(pair: str) -> None:
    schedule, make = PAIRS[pair]
    warmed = type(schedule)(EPOCH, 45 + TOTAL, **({"end": 0.2} if pair == "linear" else {}), warmup="45 steps", warmup_start=1 / 3)
    rise = torch_lrs(lambda o: reference.LinearLR(o, 1 / 3, 1.0, 45), 45)
    after = torch_lrs(make)
    equal(warmed, np.concatenate([rise * after[0] / LR, after]))


@pytest.mark.parametrize(
    ("schedule", "make"),
    [
        (StepDecay(EPOCH, TOTAL, every="2 epochs", interval="epoch"), lambda o: reference.StepLR(o, 2)),
        (Exponential(EPOCH, TOTAL, gamma=0.8, interval="epoch"), lambda o: reference.ExponentialLR(o, 0.8)),
        (Cosine(EPOCH, TOTAL, interval="epoch"), lambda o: reference.CosineAnnealingLR(o, TOTAL // EPOCH)),
        (Linear(EPOCH, TOTAL, interval="epoch"), lambda o: reference.LinearLR(o, 1.0, 0.0, TOTAL // EPOCH)),
        (CosineRestarts(EPOCH, TOTAL, cycle="3 epochs", interval="epoch"), lambda o: reference.CosineAnnealingWarmRestarts(o, 3)),
    ],
)
def test_per_epoch_equals_torch_stepped_once_an_epoch(schedule: Schedule, make: Callable[..., Any]) -> None:
    equal(schedule, np.repeat(torch_lrs(make, TOTAL // EPOCH), EPOCH))


def test_formulas_that_torch_has_not() -> None:
    t = np.arange(TOTAL)
    equal(TimeBased(EPOCH, TOTAL, rate=0.03, every="1 steps"), LR / (1 + 0.03 * t))
    equal(TimeBased(EPOCH, TOTAL, rate=0.5), LR / (1 + 0.5 * t / EPOCH))
    equal(InverseSqrt(EPOCH, TOTAL, timescale="80 steps", warmup="0 steps"), LR / np.sqrt(1 + t / 80))
    equal(Polynomial(EPOCH, TOTAL, power=3.0, end=0.1), LR * (0.1 + 0.9 * (1 - t / TOTAL) ** 3))


def test_inverse_sqrt_with_warmup_is_the_transformers_schedule() -> None:
    s, w = np.arange(1, TOTAL), 60.0
    expected = np.minimum(s**-0.5, s * w**-1.5) * w**0.5
    got = ours(InverseSqrt(EPOCH, TOTAL, timescale="60 steps", warmup="60 steps"))[1:] / LR
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_schedules_that_run_to_the_end_get_there() -> None:
    assert Linear(EPOCH, TOTAL, end=0.2).factor(TOTAL) == pytest.approx(0.2)
    assert Cosine(EPOCH, TOTAL, warmup="10%").factor(TOTAL) == pytest.approx(0.0)
    assert Polynomial(EPOCH, TOTAL).factor(TOTAL - 1) == pytest.approx(TOTAL**-2)
    assert OneCycle(EPOCH, TOTAL, warmup="10%").factor(TOTAL - 1) == pytest.approx(1 / 25 / 1e4)


def test_onecycle_may_begin_at_its_peak() -> None:
    # torch divides by zero where the rise is one update long.
    assert OneCycle(EPOCH, 10, pct_start=0.1).factor(0) == 1.0
    assert OneCycle(EPOCH, 10, pct_start=0.0).factor(9) == pytest.approx(1 / 25 / 1e4)


@pytest.mark.parametrize("total", range(95, 130))
def test_a_quarter_fits_four_times(total: int) -> None:
    # Rounded to the nearest update, four quarters of 97 would be 96, and the last update of the run would be at the full rate again.
    schedule = CosineRestarts(10, total)
    assert sum(schedule.factor(step) == 1.0 for step in range(total)) == 4


def test_percentages_are_of_what_the_warmup_leaves() -> None:
    schedule = MultiStep(EPOCH, 1100, milestones=["50%"], gamma=0.5, warmup="100 steps")
    assert [schedule.factor(step) for step in (599, 600)] == [1.0, 0.5]


def test_a_schedule_shorter_than_one_update_is_one_update_long() -> None:
    assert StepDecay(EPOCH, 20, every="1%", gamma=0.5).factor(3) == 0.125
    with pytest.raises(ConfigError, match=r"scheduler\.every: '0 steps' has no length"):
        StepDecay(EPOCH, 20, every="0 steps")


def test_cyclical_refuses_a_base_above_its_max() -> None:
    with pytest.raises(ConfigError, match=r"scheduler\.base: 0\.5 is above scheduler\.max \(0\.3\)"):
        Cyclical(EPOCH, TOTAL, base=0.5, max=0.3)


@pytest.mark.parametrize("better", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
@pytest.mark.parametrize("cooldown", [0, 3])
def test_plateau_equals_torch(better: Any, threshold_mode: Any, cooldown: int) -> None:
    settings = {"factor": 0.5, "patience": 2, "threshold": 0.01, "threshold_mode": threshold_mode, "cooldown": cooldown}
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    scheduler = reference.ReduceLROnPlateau(optimizer, mode=better, min_lr=0.01 * LR, eps=0.0, **settings)
    schedule = Plateau(EPOCH, TOTAL, min_factor=0.01, **settings)
    rng = np.random.default_rng(0)
    values = 1 + np.cumsum(rng.normal(0, 0.02, 300)) * (1 if better == "max" else -1)
    values[rng.random(300) < 0.1] = math.nan
    assert np.nanmin(values) > 0
    reductions = set()
    for step, value in enumerate(values):
        scheduler.step(float(value))
        schedule.observe(float(value), better)
        assert LR * schedule.factor(step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        reductions.add(schedule.factor(step))
    assert len(reductions) > 4


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_plateau_takes_no_bad_number_for_an_improvement(bad: float) -> None:
    schedule = Plateau(EPOCH, TOTAL, patience=1)
    schedule.observe(bad, "max" if bad > 0 else "min")
    schedule.observe(0.5, "max" if bad > 0 else "min")
    assert schedule.best == 0.5
    for _ in range(2):
        assert schedule.factor(0) == 1.0
        schedule.observe(bad, "max" if bad > 0 else "min")
    assert schedule.factor(0) == 0.1


def test_plateau_below_zero_wants_a_gain() -> None:
    # A relative threshold of a negative best must not make a slightly worse value an improvement.
    schedule = Plateau(EPOCH, TOTAL, patience=0, threshold=0.1)
    schedule.observe(-1.0, "min")
    schedule.observe(-0.95, "min")
    assert schedule.factor(0) == 0.1


def test_plateau_is_warmed_up_as_well() -> None:
    schedule = Plateau(EPOCH, TOTAL, patience=0, warmup="10 steps")
    schedule.observe(1.0, "min")
    schedule.observe(1.0, "min")
    assert [schedule.factor(step) for step in (0, 5, 10)] == pytest.approx([0.0, 0.05, 0.1])
