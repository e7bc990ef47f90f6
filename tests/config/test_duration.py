"""Durations: what is read, what is refused, and how many updates each is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipes.config.duration import Duration
from recipes.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("10 epochs", 10.0, "epochs"),
        ("1 epoch", 1.0, "epochs"),
        ("0.5 epochs", 0.5, "epochs"),
        (".5 epochs", 0.5, "epochs"),
        ("500 steps", 500.0, "steps"),
        ("1 step", 1.0, "steps"),
        ("0 steps", 0.0, "steps"),
        ("2.0 steps", 2.0, "steps"),
        ("5%", 5.0, "%"),
        ("12.5 %", 12.5, "%"),
        ("100%", 100.0, "%"),
        ("0%", 0.0, "%"),
        ("  3   epochs ", 3.0, "epochs"),
        ("7steps", 7.0, "steps"),
    ],
)
def test_reads(text: str, amount: float, unit: str) -> None:
    assert Duration.parse(text) == Duration(amount, unit)


@pytest.mark.parametrize(
    "text",
    [*("", "10", 10, 0.5, None, True), *("epochs", "ten epochs", "-1 epochs", "1e3 steps", "1. epochs", "1,5 epochs"),
     *("5 percent", "10 epoch s", "5%%", "1 epochs 2 steps")],
)  # fmt: skip
def test_refuses_what_has_no_clear_unit_and_shows_how(text: object) -> None:
    with pytest.raises(ConfigError, match=r"is not a duration: .*'10 epochs', '500 steps' or '5%'") as error:
        Duration.parse(text)
    assert f"'{text}'" in str(error.value)


@pytest.mark.parametrize(("text", "message"), [("101%", "at most 100%"), ("0.5 steps", "whole")])
def test_refuses_amounts_that_cannot_be(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Duration.parse(text)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("3 epochs", 300),
        ("0.25 epochs", 25),
        ("0.004 epochs", 0),
        ("0.006 epochs", 1),
        ("7 steps", 7),
        ("5000 steps", 5000),  # longer than the run: the caller's to judge
        ("0%", 0),
        ("5%", 50),
        ("0.26%", 3),
        ("33.3%", 333),
        ("100%", 1000),
    ],
)
def test_is_so_many_updates(text: str, steps: int) -> None:
    got = Duration.parse(text).steps(steps_per_epoch=100, total_steps=1000)
    assert got == steps
    assert isinstance(got, int)


@given(st.integers(0, 10_000), st.sampled_from(["epochs", "steps", "%"]))
def test_text_and_back(amount: int, unit: str) -> None:
    duration = Duration(float(amount % 101 if unit == "%" else amount), unit)
    assert Duration.parse(str(duration)) == duration


def test_says_one_epoch_in_the_singular() -> None:
    assert str(Duration.parse("1 epochs")) == "1 epoch"
    assert str(Duration.parse("2.50 epochs")) == "2.5 epochs"
    assert str(Duration.parse("5.0 %")) == "5%"


def test_parsing_a_duration_returns_it() -> None:
    duration = Duration(3, "epochs")
    assert Duration.parse(duration) is duration
