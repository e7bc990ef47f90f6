"""Which evaluation is best, and when patience ends."""

from __future__ import annotations

import math

from recipes.training.stopping import Stopper


def run(stopper: Stopper, values: list[float]) -> list[bool]:
    return [stopper.observe({"f1": v}, step) for step, v in enumerate(values, start=1)]


def test_the_best_is_the_largest_or_the_smallest() -> None:
    up, down = Stopper("val/f1", "max"), Stopper("val/f1", "min")
    assert run(up, [0.1, 0.3, 0.2]) == [True, True, False]
    assert run(down, [0.3, 0.1, 0.2]) == [True, True, False]
    assert (up.best, up.best_step) == (0.3, 2)
    assert (down.best, down.best_step) == (0.1, 2)


def test_nan_is_never_best_and_counts_as_waiting() -> None:
    stopper = Stopper("val/f1", "max", patience=2)
    assert run(stopper, [math.nan, 0.1, math.nan]) == [False, True, False]
    assert stopper.reason() is None
    stopper.observe({"f1": math.nan}, 4)
    assert "no better val/f1 in 2 evaluations (best 0.1000 at step 2)" in (stopper.reason() or "")


def test_a_gain_of_min_delta_or_less_is_none() -> None:
    stopper = Stopper("val/f1", "max", patience=1, min_delta=0.05)
    assert run(stopper, [0.5, 0.54, 0.61]) == [True, False, True]


def test_without_patience_it_never_stops() -> None:
    stopper = Stopper("val/f1", "max", patience=None)
    run(stopper, [0.5] * 50)
    assert stopper.reason() is None


def test_state_survives() -> None:
    stopper = Stopper("val/f1", "max", patience=3)
    run(stopper, [0.5, 0.4, 0.3])
    other = Stopper("val/f1", "max", patience=3)
    other.load_state_dict(stopper.state_dict())
    assert other == stopper
    assert other.observe({"f1": 0.1}, 4) is False
    assert other.reason() is not None


def test_of_equal_scores_the_lower_loss_is_kept_and_patience_is_not_renewed() -> None:
    """A rare class that is never predicted makes F1 stand still: the first evaluation is then the least trained one."""
    stopper = Stopper("val/f1_macro", "max", patience=3)
    kept = [stopper.observe({"f1_macro": 0.49, "loss": loss}, step) for step, loss in ((1, 0.9), (2, 0.5), (3, 0.7), (4, 0.4))]
    assert kept == [True, True, False, True]
    assert (stopper.best, stopper.best_step, stopper.waited) == (0.49, 4, 3)
    assert stopper.reason() is not None
    again = Stopper("val/f1_macro", "max", patience=3)
    again.load_state_dict(stopper.state_dict())
    assert not again.observe({"f1_macro": 0.49, "loss": 0.6}, 5)
    assert again.observe({"f1_macro": 0.5, "loss": 2.0}, 6)
