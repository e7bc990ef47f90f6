"""`reweight.start`: plain training first, then weights, adjustments and the sampler, from one update on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recipes.cli.assemble import assemble, read_data
from recipes.cli.conclude import conclude
from recipes.cli.settings import read_settings
from recipes.errors import ConfigError
from recipes.training import checkpoint
from recipes.training.events import Evaluation, Listener
from recipes.training.job import Job
from recipes.training.loop import fit

# 410 train rows: 7 steps an epoch
BASE = ["data=breast_cancer", "model=mlp", "model.widths=[8]", "model.dropout=0.3", "trainer.device=cpu", "trainer.batch_size=64",
        "trainer.early_stopping.patience=null", "trainer.max_steps=20", "trainer.max_epochs=10", "trainer.eval_every=2 steps"]  # fmt: skip


class Recorder(Listener):
    def __init__(self) -> None:
        self.evaluations: list[Evaluation] = []

    def evaluated(self, evaluation: Evaluation) -> None:
        self.evaluations.append(evaluation)


@pytest.fixture
def job_of(compose: Callable[..., dict[str, Any]], tmp_path: Path) -> Callable[..., tuple[Job, Recorder]]:
    def make(*overrides: str) -> tuple[Job, Recorder]:
        settings, heard = read_settings(compose(*BASE, *overrides)), Recorder()
        return assemble(settings, read_data(settings)[0], tmp_path / "run", heard), heard

    return make


def traced(job: Job) -> list[tuple[torch.Tensor, bool, np.ndarray]]:
    """Before each update: the weights as one vector, whether the loss rebalances, and the rows of the window."""
    seen, step = [], job.step

    def stepped(windows: list[np.ndarray], *moment: int) -> torch.Tensor:
        vector = torch.nn.utils.parameters_to_vector(job.model.parameters()).detach().clone()
        seen.append((vector, job.loss.active, job.gather.rows(windows[0])))
        return step(windows, *moment)

    stepped.span = 1  # type: ignore[attr-defined]
    job.step = stepped  # type: ignore[assignment]
    return seen


LOSSES = {
    "loss=weighted_ce": "loss=cross_entropy",
    "loss=balanced_softmax": "loss=cross_entropy",
    "loss=cb_focal loss.gamma=1": "loss=focal loss.gamma=1 loss.alpha=null",
    "loss=weighted_bce": "loss=bce",
}


@pytest.mark.parametrize("loss", LOSSES)
def test_until_the_start_it_is_the_plain_run(job_of: Callable, loss: str) -> None:
    """Bit for bit, rows and dropout masks included; from the start on, which is inside an epoch, it is not."""
    runs = []
    for overrides in ([*loss.split(), "reweight.start=10 steps"], LOSSES[loss].split()):
        job, heard = job_of(*overrides)
        runs.append((traced(job), heard.evaluations))
        fit(job)
    (deferred, its_scores), (plain, scores) = runs
    for step in range(20):
        np.testing.assert_array_equal(deferred[step][2], plain[step][2])
        assert torch.equal(deferred[step][0], plain[step][0]) is (step <= 10)  # the update of step 10 is the first that differs
    assert [active for _, active, _ in deferred] == [False] * 10 + [True] * 10
    for mine, other in list(zip(its_scores, scores, strict=True))[:5]:
        assert mine.step <= 10
        np.testing.assert_array_equal(mine.logits, other.logits)
        assert mine.metrics == pytest.approx(other.metrics, nan_ok=True)


@pytest.mark.parametrize("sampler", ["class_balanced", "random_under"])
def test_until_the_start_rows_are_dealt_as_they_are(job_of: Callable, sampler: str) -> None:
    """In windows of the sampler's size, and then in those that it deals without deferral."""
    job, _ = job_of("loss=cross_entropy", f"sampler={sampler}", "trainer.max_steps=40", "reweight.start=30 steps")
    usual, _ = job_of("loss=cross_entropy", f"sampler={sampler}", "trainer.max_steps=40")
    seen, expected = traced(job), traced(usual)
    fit(job)
    fit(usual)
    counts = np.bincount(np.concatenate([rows for _, _, rows in seen[:30]]), minlength=410)
    labels = job.gather.train.labels()
    assert counts[labels == 0].mean() == pytest.approx(counts[labels == 1].mean(), rel=0.1)
    for (_, _, rows), (_, _, other) in zip(seen[30:], expected[30:], strict=True):
        np.testing.assert_array_equal(rows, other)


@pytest.mark.parametrize(("start", "step"), [("7 steps", 7), ("50%", 10), ("2 epochs", 14), ("80%", 16)])
def test_the_start_in_any_unit(job_of: Callable, start: str, step: int) -> None:
    job, _ = job_of("loss=weighted_ce", f"reweight.start={start}")
    seen = traced(job)
    fit(job)
    assert job.starts_at == step
    assert [active for _, active, _ in seen].index(True) == step


def test_the_best_weights_are_of_after_the_start(job_of: Callable) -> None:
    """A learning rate that wrecks the model once the weights are at work: what was better before does not come back."""
    job, heard = job_of("loss=weighted_ce", "reweight.start=10 steps", "optimizer=sgd", "monitor=val/loss", "scheduler=constant")
    job.schedule.factor = lambda step: 1.0 if step < 10 else 1e4  # type: ignore[method-assign]
    fit(job)
    losses = {e.step: e.metrics["loss"] for e in heard.evaluations}
    after = {step: loss for step, loss in losses.items() if step > 10}
    assert max(losses[8], losses[10]) < min(after.values())
    assert job.best.best_step == min(after, key=after.__getitem__)
    assert checkpoint.load(job.best_path)["step"] == job.best.best_step
    assert [e.improved for e in heard.evaluations if e.step == 12] == [True]


def test_patience_does_not_run_out_before_there_is_anything_to_wait_for(job_of: Callable) -> None:
    """No evaluation improves: patience counts those after the start, and one at the start itself is still of plain training."""
    stop = ["trainer.early_stopping.patience=2", "trainer.early_stopping.min_steps=0", "optimizer.lr=1e-12", "reweight.start=10 steps"]
    job, heard = job_of("loss=weighted_ce", *stop)
    assert fit(job).startswith("early stopping: no better val/f1_macro in 2 evaluations")
    assert [e.step for e in heard.evaluations] == [2, 4, 6, 8, 10, 12, 14, 16]  # 12 is the best, 14 and 16 are not better


def test_a_run_that_ends_before_the_start_has_the_natural_prior(job_of: Callable, compose: Callable[..., dict[str, Any]]) -> None:
    """Its limit is in epochs, so that it is not known before the data is that the start lies behind it."""
    overrides = ["loss=weighted_ce", "sampler=class_balanced", "reweight.start=30 steps", "trainer.max_steps=null", "trainer.max_epochs=2"]
    job, _ = job_of(*overrides)
    assert not job.ledger.trivial
    fit(job)
    assert job.position.step == 14
    assert not job.loss.active
    assert job.ledger.trivial
    np.testing.assert_array_equal(job.ledger.sampled_C, job.ledger.natural_C)
    settings = read_settings(compose(*BASE, *overrides))
    outcome = conclude(job, settings, read_data(settings)[0], "stopped", 1.0)
    assert outcome.readout.ledger.trivial
    np.testing.assert_array_equal(outcome.readout.logits(np.array([[0.25, -1.0]])), [[0.25, -1.0]])


def test_a_run_that_ends_after_the_start_has_the_moved_one(job_of: Callable) -> None:
    """The sampler balances; the automatic weights find nothing left to do."""
    job, _ = job_of("loss=cross_entropy", "sampler=class_balanced", "reweight.start=10 steps")
    fit(job)
    np.testing.assert_allclose(job.ledger.sampled_C, [0.5, 0.5], atol=0.01)
    natural = job.facts.class_counts / 410
    np.testing.assert_allclose(job.ledger.natural_C, natural)
    np.testing.assert_allclose(job.ledger.correction_C, np.log(natural / job.ledger.sampled_C))


@pytest.mark.parametrize("start", [6, 14, 30])
def test_a_run_killed_after_its_last_update_has_the_prior_of_its_weights(job_of: Callable, start: int) -> None:
    """Nothing is left to train, so the checkpoint alone tells whether the weights ever saw the other prior."""
    overrides = ["loss=weighted_ce", f"reweight.start={start} steps", "trainer.max_steps=null", "trainer.max_epochs=2"]
    job, _ = job_of(*overrides)
    fit(job)
    again, _ = job_of(*overrides)
    again.load_state_dict(checkpoint.load(job.last_path))
    fit(again)
    assert again.position.step == 14
    assert again.loss.active is job.loss.active is (start < 14)
    assert again.ledger.as_dict() == job.ledger.as_dict()
    assert again.ledger.trivial is (start >= 14)


@pytest.mark.parametrize("loss", ["cross_entropy", "focal"])
def test_nothing_to_defer_is_refused(job_of: Callable, loss: str) -> None:
    with pytest.raises(ConfigError, match=r"reweight\.start: neither the sampler nor the loss rebalances classes here"):
        job_of(f"loss={loss}", "reweight.start=50%")
