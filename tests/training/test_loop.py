"""What the loop does at each step, seen through small jobs on the CPU."""

from __future__ import annotations

import math
import os
import re
import signal
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recipes.cli.assemble import assemble, read_data
from recipes.cli.settings import read_settings
from recipes.errors import ConfigError, NonFiniteError
from recipes.training import checkpoint
from recipes.training.events import Evaluation, Listener, StepLog
from recipes.training.job import Job
from recipes.training.loop import fit
from recipes.training.scoring import score

# 410 train rows
BASE = ["data=breast_cancer", "model=mlp", "model.widths=[8]", "trainer.device=cpu", "trainer.early_stopping.patience=null",
        "trainer.max_epochs=10", "trainer.batch_size=64", "scheduler=constant", "loss=cross_entropy"]  # fmt: skip


class Recorder(Listener):
    def __init__(self) -> None:
        self.logs: list[StepLog] = []
        self.evaluations: list[Evaluation] = []

    def log(self, log: StepLog) -> None:
        self.logs.append(log)

    def evaluated(self, evaluation: Evaluation) -> None:
        self.evaluations.append(evaluation)


@pytest.fixture
def job_of(compose: Callable[..., dict[str, Any]], tmp_path: Path) -> Callable[..., tuple[Job, Recorder]]:
    def make(*overrides: str) -> tuple[Job, Recorder]:
        settings = read_settings(compose(*BASE, *overrides))
        recorder = Recorder()
        return assemble(settings, read_data(settings)[0], tmp_path / "run", recorder), recorder

    return make


def spied(job: Job, call: Callable[[np.ndarray], None]) -> None:
    """Call with the rows of each window, after its gradient is there."""
    step = job.step

    def stepped(windows: list[np.ndarray], *moment: int) -> torch.Tensor:
        loss = step(windows, *moment)
        call(windows[0])
        return loss

    stepped.span = 1  # type: ignore[attr-defined]
    job.step = stepped  # type: ignore[assignment]


def weights(job: Job) -> list[torch.Tensor]:
    return [p.detach().clone() for p in job.model.parameters()]


EVERY = {
    "5 steps": [5, 10, 15, 20],
    "25%": [5, 10, 15, 20],
    "1 epochs": [7, 14, 20],
    "0.5 epochs": [4, 8, 12, 16, 20],
    "null": [7, 14, 20],
}


@pytest.mark.parametrize(("every", "steps"), EVERY.items())
def test_when_it_evaluates(job_of: Callable, every: str, steps: list[int]) -> None:
    """An epoch is 7 steps of 64 rows; the last step is always evaluated."""
    job, heard = job_of("trainer.max_steps=20", f"trainer.eval_every={every}")
    fit(job)
    assert [e.step for e in heard.evaluations] == steps
    assert heard.evaluations[0].epoch == pytest.approx(steps[0] / 7)


def test_steps_are_updates_however_many_batches_they_take(job_of: Callable) -> None:
    job, _ = job_of("trainer.max_steps=5", "trainer.batch_size=20", "trainer.accumulate=4", "trainer.max_epochs=3")
    windows, passes = [], []
    spied(job, lambda window: windows.append(window))
    job.model.register_forward_hook(lambda model, _, out: passes.append(len(out)) if model.training else None)
    reason = fit(job)
    assert job.steps_per_epoch == math.ceil(410 / 80)
    assert [len(w) for w in windows] == [80] * 5
    assert passes == [20] * 20
    assert (job.position.step, job.position.updates) == (5, 5)
    assert all(int(state["step"]) == 5 for state in job.optimizer.state.values())
    assert reason == "reached 5 steps (0.833333 epochs), the limit"


def test_an_epoch_deals_every_row_once(job_of: Callable) -> None:
    job, _ = job_of("trainer.max_epochs=2", "trainer.batch_size=32", "trainer.accumulate=2")
    windows: list[np.ndarray] = []
    spied(job, windows.append)
    fit(job)
    assert [len(w) for w in windows] == ([64] * 6 + [26]) * 2
    for epoch in (windows[:7], windows[7:]):
        assert sorted(np.concatenate(epoch).tolist()) == list(range(410))


def test_the_logged_loss_is_the_mean_since_the_last_log(job_of: Callable) -> None:
    job, heard = job_of("trainer.max_steps=12", "trainer.log_every=5")
    losses: list[float] = []
    record = job.meter.record
    job.meter.record = lambda loss, *rest, **more: (losses.append(float(loss)), record(loss, *rest, **more))  # type: ignore[method-assign]
    fit(job)
    assert [log.step for log in heard.logs] == [5, 7, 10, 12]  # and at the end of the epoch
    for log, part in zip(heard.logs, (losses[:5], losses[5:7], losses[7:10], losses[10:]), strict=True):
        assert log.loss == pytest.approx(np.mean(part), rel=1e-6)


def test_a_skipped_update_moves_neither_schedule_nor_average(job_of: Callable) -> None:
    """A gradient that overflows makes fp16's scaler skip: simulated here, since the CPU has no fp16 training."""
    job, _ = job_of("trainer.max_steps=12", "scheduler=linear", "trainer.ema=0.5", "optimizer.lr=0.01")
    job.precision.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    bad, seen = {2, 3, 7}, []

    def overflow(window: np.ndarray) -> None:
        seen.append((job.position.step, job.optimizer.param_groups[0]["lr"], weights(job), [a.clone() for a in job.ema.state_dict()]))
        if job.position.step in bad:
            next(job.model.parameters()).grad.fill_(math.inf)

    spied(job, overflow)
    fit(job)
    assert (job.position.step, job.position.updates) == (12, 9)
    assert all(int(state["step"]) == 9 for state in job.optimizer.state.values())
    taken = 0
    for (step, lr, before, average), (_, _, after, next_average) in pairwise(seen):
        assert lr == pytest.approx(0.01 * job.schedule.factor(taken), rel=1e-12)
        moved = step not in bad
        assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True)) is moved
        assert any(not torch.equal(a, b) for a, b in zip(average, next_average, strict=True)) is moved
        taken += moved


def test_averaged_weights_are_what_is_scored_and_kept(job_of: Callable) -> None:
    job, heard = job_of("trainer.max_steps=10", "trainer.ema=0.8", "optimizer.lr=0.05", "trainer.eval_every=5 steps", "monitor=val/loss")
    average = [w.double() for w in weights(job)]
    expected = {}
    after = job.model.after_step

    def averaged() -> None:
        after()
        for a, w in zip(average, weights(job), strict=True):
            a.mul_(0.8).add_(w.double(), alpha=0.2)
        expected[job.position.step + 1] = [a.clone() for a in average]

    job.model.after_step = averaged  # type: ignore[method-assign]
    fit(job)
    step = job.best.best_step
    best, last = checkpoint.load(job.best_path)["model"], checkpoint.load(job.last_path)["model"]
    for name, a, kept in zip(dict(job.model.named_parameters()), expected[step], weights(job), strict=True):
        torch.testing.assert_close(best[name].double(), a, rtol=1e-5, atol=1e-6)
        assert torch.equal(best[name], kept), "after the run the model holds what was kept"
        assert not torch.equal(best[name], last[name]), "training goes on from the raw weights"
    logits = score(job.model, job.val, 1024, job.precision).numpy()
    np.testing.assert_array_equal(logits, next(e for e in heard.evaluations if e.step == step).logits)


def test_the_best_weights_come_back(job_of: Callable) -> None:
    """A learning rate that wrecks the model after its best evaluation."""
    job, heard = job_of("trainer.max_steps=12", "trainer.eval_every=2 steps", "optimizer=sgd", "scheduler=exponential", "monitor=val/loss")
    job.schedule.factor = lambda step: 1.0 if step < 6 else 1e4  # type: ignore[method-assign]
    at = {}
    spied(job, lambda window: at.setdefault(job.position.step, weights(job)))
    fit(job)
    losses = {e.step: e.metrics["loss"] for e in heard.evaluations}
    assert job.best.best_step == min(losses, key=losses.__getitem__) == 6
    assert all(torch.equal(a, b) for a, b in zip(weights(job), at[6], strict=True))
    assert [e.step for e in heard.evaluations if e.improved][-1] == 6


def test_early_stopping_returns_a_reason_and_may_follow_another_metric(job_of: Callable) -> None:
    stop = ["trainer.early_stopping.patience=3", "trainer.early_stopping.monitor=val/loss", "trainer.early_stopping.min_delta=5"]
    stop += ["trainer.early_stopping.min_steps=0", "trainer.eval_every=1 epochs"]
    job, heard = job_of("trainer.max_epochs=50", *stop)
    reason = fit(job)
    assert reason.startswith("early stopping: no better val/loss in 3 evaluations (best 0.")
    assert reason.endswith("at step 7)")
    assert len(heard.evaluations) == 4
    assert job.best.monitor == "val/f1_macro"
    late, heard = job_of("trainer.max_epochs=50", *stop, "trainer.early_stopping.min_steps=40")
    fit(late)
    assert [e.step for e in heard.evaluations] == [7, 14, 21, 28, 35, 42]


@pytest.mark.parametrize(
    ("overrides", "whole"),
    [
        ([], True),
        (["trainer.eval_every=1 steps"], True),
        (["optimizer=sgd", "trainer.clip=none"], True),
        (["model.norm=batch"], False),  # the bad forward pass spoils the running statistics: that state is not the last good one
    ],
)
def test_what_is_not_finite_is_refused(job_of: Callable, overrides: list[str], whole: bool) -> None:
    common = ["optimizer.lr=1e30", "trainer.max_steps=50", "trainer.checkpoint.every=20 steps", *overrides]
    job, _ = job_of(*common)
    windows: list[np.ndarray] = []
    job.gather.rows, rows = (lambda w: (windows.append(w), rows(w))[1]), job.gather.rows  # type: ignore[method-assign]
    with pytest.raises(NonFiniteError) as caught:
        fit(job)
    told = str(caught.value)
    match = re.match(r"the (loss|gradient) of step (\d+) is not finite: loss (\S+), learning rate 1e\+30, gradient norm (\S+)\n", told)
    assert match is not None, told
    assert int(match[2]) == job.position.step
    assert not (math.isfinite(float(match[3])) and math.isfinite(float(match[4])))
    shown = re.search(r"rows of the batch \(of the train split\): ([\d, ]+), \.\.\. \(64 rows\)", told)
    assert shown is not None
    assert [int(r) for r in shown[1].split(",")] == windows[-1][:20].tolist()
    assert told.endswith(f"the last good state is in {job.last_path}")
    state = checkpoint.load(job.last_path)
    assert job.is_finite() is whole
    assert state["step"] == (job.position.step if whole else 0)
    assert all(torch.isfinite(t).all() for t in state["model"].values() if t.is_floating_point())
    again, _ = job_of(*common)
    again.load_state_dict(state)


def test_evaluation_leaves_training_as_it_was(job_of: Callable) -> None:
    """With dropout and batch norm: evaluating ten times as often changes no bit of the weights."""
    end = []
    for every in ("10 steps", "1 steps"):
        job, _ = job_of("trainer.max_steps=10", "model.norm=batch", "model.dropout=0.5", f"trainer.eval_every={every}", "data.cache=off")
        job.load_best = lambda: None  # type: ignore[method-assign]
        fit(job)
        assert job.model.training
        end.append(weights(job))
    assert all(torch.equal(a, b) for a, b in zip(*end, strict=True))


@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_a_signal_is_honoured_after_the_step(job_of: Callable, number: int, name: str) -> None:
    job, _ = job_of("trainer.max_steps=20")
    handlers = signal.getsignal(number)
    spied(job, lambda window: os.kill(os.getpid(), number) if job.position.step == 3 else None)
    assert fit(job) == f"interrupted by {name}"
    assert job.position.step == checkpoint.load(job.last_path)["step"] == 4
    assert signal.getsignal(number) is handlers


def test_a_second_ctrl_c_is_immediate(job_of: Callable) -> None:
    job, _ = job_of("trainer.max_steps=20")

    def twice(window: np.ndarray) -> None:
        if job.position.step == 3:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    spied(job, twice)
    with pytest.raises(KeyboardInterrupt):
        fit(job)
    assert job.position.step == 3


def test_older_checkpoints_stay_beside_the_last(job_of: Callable) -> None:
    job, _ = job_of("trainer.max_steps=12", "trainer.checkpoint.every=3 steps", "trainer.checkpoint.keep=3")
    fit(job)
    steps = {p.name: checkpoint.load(p)["step"] for p in job.last_path.parent.glob("*.pt")}
    assert steps == {"last.pt": 12, "step-000000009.pt": 9, "step-000000006.pt": 6, "best.pt": job.best.best_step}


def test_without_validation_the_last_weights_stay(job_of: Callable) -> None:
    job, heard = job_of("trainer.max_steps=5", "data.val_fraction=0")
    fit(job)
    assert heard.evaluations == []
    assert not job.best_path.exists()
    assert math.isnan(job.best.best)
    last = checkpoint.load(job.last_path)["model"]
    assert all(torch.equal(last[name], p) for name, p in job.model.named_parameters())


def test_the_shown_rate_leaves_evaluation_out_and_no_training(job_of: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock on which an update takes a second and an evaluation or a checkpoint a hundred."""
    job, heard = job_of("trainer.max_steps=6", "trainer.log_every=6", "trainer.eval_every=4 steps", "trainer.batch_size=64")
    now = [0.0]
    monkeypatch.setattr("recipes.training.job.time.perf_counter", lambda: now[0])
    job.pace()

    def take(seconds: float) -> None:
        now[0] += seconds

    observe, state_dict = job.best.observe, job.state_dict
    job.best.observe = lambda *given: (take(100), observe(*given))[1]  # type: ignore[method-assign]
    job.state_dict = lambda: (take(100), state_dict())[1]  # type: ignore[method-assign]
    spied(job, lambda window: take(1))
    fit(job)
    assert heard.logs[0].rows_per_second == pytest.approx(64)


def test_a_sampler_that_deals_too_few_batches_is_a_bug_that_is_told(job_of: Callable) -> None:
    job, _ = job_of("trainer.max_steps=20")
    job.sampler.batches = lambda plan, labels, size, rng, moment: iter([np.arange(size)] * 3)  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=r"Shuffle\.steps_per_epoch says 7 batches, and Shuffle\.batches dealt 3"):
        fit(job)


def test_plateau_needs_a_validation_split(job_of: Callable, text_csv: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.val_fraction=0 leaves no validation split"):
        job_of("scheduler=plateau", "data.val_fraction=0")
    lines = text_csv.read_text().splitlines()
    base = ["data=file", f"data.path={tmp_path / 'split.csv'}", "data.split=split", "data.val_fraction=0", "scheduler=plateau"]
    for parts, fits in ((("train", "val"), True), (("train", "test"), False)):
        rows = [f"{line},{parts[i % 4 == 0]}" for i, line in enumerate(lines[1:])]
        (tmp_path / "split.csv").write_text("\n".join([lines[0] + ",split", *rows]) + "\n")
        if fits:
            assert job_of(*base)[0].val is not None
        else:
            with pytest.raises(ConfigError, match="the data has no validation split"):
                job_of(*base)
