"""`mine`: a finished run, fine-tuned on the negatives that it still takes for positive."""

from __future__ import annotations

from recipes.cli.finished import continued, find, rate, stored_config


def mined(run: str, typed: list[str]) -> list[str]:
    """The overrides of a run that starts from a finished one and deals positives, hard and easy negatives, scored anew each epoch.

    A tenth of the learning rate, at most five epochs, the best by average precision on validation, the first weights among them. What is
    `typed` comes last and wins.
    """
    changes = [
        "sampler=hard_negatives", "mining=none", "reweight.start=null", f"optimizer.lr={rate(run, 0.1)}", "scheduler=constant",
        "monitor=val/pr_auc", "trainer.max_epochs=5", "trainer.max_steps=null", "trainer.early_stopping.min_steps=0",
    ]  # fmt: skip
    automatic = stored_config(find(run))["calibration"]["_target_"].endswith(".AutoCalibration")
    if automatic and not any(override.startswith("calibration=") for override in typed):
        # A few updates do not bring weights to the prior of what is dealt, so the closed form is far off, and a fit of few rows is not.
        changes += ["calibration.min_rows=100", "calibration.min_positives=10"]
    return continued(run, changes, typed, ("sampler", "mining", "scheduler"))
