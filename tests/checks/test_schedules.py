"""What holds for every option of `scheduler`: a new YAML file is checked by being there."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from recipes.config import build, check
from recipes.optim import Schedule

FOLDER = Path(__file__).parents[2] / "configs" / "scheduler"
OPTIONS = {path.stem: OmegaConf.to_container(OmegaConf.load(path)) for path in sorted(FOLDER.glob("*.yaml"))}
PER_EPOCH = [name for name, settings in OPTIONS.items() if "interval" in settings]
EPOCH, TOTAL = 40, 400


def make(name: str, steps_per_epoch: int = EPOCH, total_steps: int = TOTAL, **changes: Any) -> Schedule:
    facts = {"steps_per_epoch": steps_per_epoch, "total_steps": total_steps}
    return build(Schedule, {**OPTIONS[name], **changes}, "scheduler", facts)


@pytest.fixture(params=OPTIONS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_settings_fit_before_there_is_data(name: str) -> None:
    assert check(Schedule, OPTIONS[name], "scheduler", given=("steps_per_epoch", "total_steps")) == []
    (problem,) = check(Schedule, {**OPTIONS[name], "warmup": "5"}, "scheduler", given=("steps_per_epoch", "total_steps"))
    assert "scheduler.warmup: '5' is not a duration" in problem


def test_factors_are_a_pure_function_of_the_step(name: str) -> None:
    forwards = make(name)
    factors = [forwards.factor(step) for step in range(TOTAL)]
    assert all(math.isfinite(f) and 0 <= f <= 1 for f in factors)
    assert max(factors) == pytest.approx(1.0, abs=0.01)
    shuffled, elsewhere = random.Random(0).sample(range(TOTAL), TOTAL), make(name)
    assert [elsewhere.factor(step) for step in shuffled] == [factors[step] for step in shuffled]


def test_state_is_plain_numbers_and_comes_back(name: str) -> None:
    first, second = make(name), make(name)
    for value in (0.5, 0.4, math.nan, 0.4, 0.3, 0.6):
        first.observe(value, "max")
    state = first.state_dict()
    assert bool(state) == first.observes
    assert all(isinstance(v, int | float) for v in state.values())
    second.load_state_dict(state)
    for value in (0.61, 0.2, 0.2, 0.2):
        first.observe(value, "max")
        second.observe(value, "max")
    assert [first.factor(s) for s in range(TOTAL)] == [second.factor(s) for s in range(TOTAL)]


@pytest.mark.parametrize(("warmup", "length"), [("30 steps", 30), ("1 epochs", 40), ("5%", 20)])
@pytest.mark.parametrize("start", [0.0, 1 / 3])
def test_warmup_rises_to_the_first_factor_and_then_the_clock_starts(name: str, warmup: str, length: int, start: float) -> None:
    warmed = make(name, warmup=warmup, warmup_start=start)
    plain = make(name, total_steps=TOTAL - length, warmup="0 steps")
    for step in range(length):
        expected = (start + (1 - start) * step / length) * plain.factor(0)
        assert warmed.factor(step) == pytest.approx(expected, rel=1e-12)
    for step in range(length, TOTAL):
        assert warmed.factor(step) == pytest.approx(plain.factor(step - length), rel=1e-12)


@pytest.mark.parametrize("name", PER_EPOCH)
@pytest.mark.parametrize("warmup", ["0 steps", "50 steps"])
def test_per_epoch_it_moves_at_boundaries_only(name: str, warmup: str) -> None:
    by_step, by_epoch = make(name, warmup=warmup), make(name, warmup=warmup, interval="epoch")
    warm = by_step.warmup_steps
    for step in range(TOTAL):
        boundary = step - step % EPOCH
        expected = by_step.factor(step if step < warm else max(boundary, warm))
        assert by_epoch.factor(step) == expected


@pytest.mark.parametrize("total", [1, 2, 3, 7])
@pytest.mark.parametrize("warmup", ["0 steps", "1 steps", "50%", "9 steps"])
def test_short_runs_have_a_factor_too(name: str, total: int, warmup: str) -> None:
    schedule = make(name, steps_per_epoch=5, total_steps=total, warmup=warmup)
    assert all(0 <= schedule.factor(step) <= 1 for step in range(total + 3))


def test_a_warmup_that_eats_the_run_is_said(name: str, caplog: pytest.LogCaptureFixture) -> None:
    make(name, total_steps=20, warmup="1 epochs")
    assert "40 updates, and the run has only 20" in caplog.text
    caplog.clear()
    make(name, total_steps=41, warmup="1 epochs")
    assert not caplog.text
