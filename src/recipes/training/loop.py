"""The one loop. Every model, sampler, loss and schedule runs through it, and it names none of them.

    windows -> step (forward, one reduction, backward) -> clip -> refuse what is not finite -> update
            -> log, evaluate, stop?, save

It is the same on CPU and CUDA; nothing in `_update` waits for a CUDA device, except fp16's scaler.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from recipes.data.split import Split
from recipes.errors import NonFiniteError
from recipes.training.events import StepLog
from recipes.training.job import Job
from recipes.training.scoring import judge, score


def fit(job: Job) -> str:
    """Train until a limit, early stopping or an interrupt; returns the reason. The best weights are then in the model.

    Raises NonFiniteError for a loss or gradient that is not a number, after the last good state was saved, and CheckpointError when the
    disk does not take a checkpoint.
    """
    job.model.train()
    with job.interrupt:
        try:
            if job.position.step == 0:
                if job.initial is not None:  # weights of a finished run compete: training must not end with worse ones
                    _evaluate(job)
                job.save()
            reason = _train(job)
        except NonFiniteError as error:
            raise NonFiniteError(f"{error}\n  {_keep_last_good(job)}") from None
    if job.interrupt.requested is None:
        job.load_best()
    return reason


def _train(job: Job) -> str:
    reason = job.stop_reason()
    job.pace()
    while reason is None and job.position.step < job.total_steps:
        epoch, done = divmod(job.position.step, job.steps_per_epoch)
        for windows in job.spans(epoch, skip=done):
            _update(job, windows, epoch)
            reason = _after_update(job)
            if reason is not None or job.position.step >= job.total_steps:
                break
    return reason or f"reached {job.total_steps:,} steps ({job.epoch:g} epochs), the limit"


def _update(job: Job, windows: list[np.ndarray], epoch: int) -> None:
    """The gradient of a window, and one update of the weights with it; or the updates of several windows, where the step makes them."""
    lr = job.begin_update(len(windows))
    loss = job.step(windows, epoch, job.position.step)
    job.precision.unscale(job.optimizer)
    norm = job.clip()
    rows = job.gather.rows(windows[0] if len(windows) == 1 else np.concatenate(windows))
    job.meter.record(loss, norm, job.position.step, lr, rows, len(windows), skippable=job.precision.scaler is not None)
    if job.precision.step(job.optimizer):
        job.position.updates += len(windows)
        job.model.after_step()
        if job.ema is not None:
            job.ema.update()
    for p in job.parameters:  # zero_grad does the same at twenty times the cost, which a small model notices
        p.grad = None
    job.position.step += len(windows)


def _after_update(job: Job) -> str | None:
    """Log, evaluate and save where they are due; returns the reason to stop, or None."""
    step, reason = job.position.step, None
    last = step >= job.total_steps
    if step % job.settings.log_every == 0 or step % job.steps_per_epoch == 0 or last:
        _log(job)
    if step % job.eval_every == 0 or last:
        reason = _evaluate(job)
    if job.interrupt.requested is not None:
        reason = f"interrupted by {job.interrupt.requested}"
    if step % job.save_every == 0 or last or reason is not None:
        if job.evaluated_at != step:
            job.refuse_bad_weights()
        with job.untimed():
            job.save()
    return reason


def _log(job: Job) -> None:
    loss, norm, rows, steps = job.meter.flush()
    seconds = max(job.pace(), 1e-9)
    rate = rows / seconds
    steps_left = job.total_steps - job.position.step
    lr = float(job.optimizer.param_groups[0]["lr"])
    left = steps_left * seconds / max(steps, 1)
    job.listener.log(StepLog(job.position.step, job.epoch, job.total_steps, loss, lr, norm, rate, left))


def _evaluate(job: Job) -> str | None:
    """Score validation with the weights that would be kept, and remember them when they are the best so far."""
    if job.val is None or job.evaluated_at == job.position.step:
        return None
    job.meter.settle()  # weights that are not numbers are refused before they are scored
    job.refuse_bad_weights()
    with job.untimed():  # the rate that is shown is that of training
        _score(job, job.val)
    return job.stop_reason()


def _score(job: Job, val: Split) -> None:
    s = job.settings
    with job.as_kept():
        raw_NC = score(job.model, val, s.eval_batch_size, job.precision)
        found = judge(raw_NC, job.loss, val, job.facts, job.readout, job.position.step, job.epoch)
        job.stopper.observe(found.metrics, job.position.step)
        improved = job.best.observe(found.metrics, job.position.step)
        if improved:
            job.save_best()
    job.schedule.observe(found.metrics[job.best.monitor.partition("/")[2]], job.best.mode)
    job.evaluated_at = job.position.step
    job.listener.evaluated(dataclasses.replace(found, improved=improved))


def _keep_last_good(job: Job) -> str:
    """On the CPU the weights are still those before the bad step, unless it updated them itself: save them. Else the last checkpoint is
    the last good state."""
    if job.meter.immediate and not job.fused and job.is_finite():
        job.meter.flush()
        job.save()
    return f"the last good state is in {job.last_path}"
