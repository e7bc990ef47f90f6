"""The step of a model that trains without autograd: forward, loss and update of many windows in one call.

N rows of several windows. A window of n rows is n updates here, each a step of `lr * weight / sum of the window's weights` along the row's
own gradient. Their sum is, to first order in the learning rate, the one update that autograd makes of the window: so the settings mean the
same in both ways, but a rate that is too high for one large step may be none for many small ones.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from recipes.losses.base import Loss
from recipes.models.fused import FusedUpdate
from recipes.optim import Schedule, is_plain_sgd
from recipes.randomness import generator
from recipes.training.step import Gather

if TYPE_CHECKING:
    from recipes.training.job import Job

_SPAN = 64  # windows a call, so that what a call costs does not show


class FusedStep:
    """Trains on windows at once, weights included: no gradient is left for the optimizer. window: rows of a full one.

    The learning rate falls from row to row, in proportion to the ids that were read, from that of the window's update to that of the next.
    """

    span = _SPAN

    def __init__(
        self,
        update: FusedUpdate,
        loss: Loss,
        gather: Gather,
        schedule: Schedule,
        lr: float,
        seed: int,
        window: int,
        weighted: bool,
        total_steps: int,
    ) -> None:
        self.update, self.loss, self.gather, self.schedule, self.lr, self.window = update, loss, gather, schedule, lr, window
        self.total_steps, self.seed = total_steps, int(generator(seed, "fused step").integers(2**62))
        self._weights = gather.train.weights.numpy() if weighted else None

    def __call__(self, windows: Sequence[np.ndarray], epoch: int, step: int) -> Tensor:
        """Train on the windows in turn; returns the mean of their mean losses. `step` counts the windows before these."""
        rows = self.gather.rows(np.concatenate(windows))
        sizes = np.array([len(window) for window in windows])
        window_of = np.repeat(np.arange(len(windows)), sizes)
        weights = np.ones(len(rows)) if self._weights is None else self._weights[rows].astype(np.float64)
        shares = weights / np.maximum(np.bincount(window_of, weights), np.finfo(np.float32).tiny)[window_of]
        objective = self.loss.objective()
        assert objective is not None  # otherwise the step would have been autograd's
        rates = (self._rates(rows, window_of, step) * shares).astype(np.float32)
        losses = self.update(self.gather.train, rows, rates, objective, self.seed, step * self.window)
        return torch.tensor(float((losses * shares).sum() / len(windows)))

    def _rates(self, rows: np.ndarray, window_of: np.ndarray, step: int) -> np.ndarray:
        """(N,) learning rate of each row."""
        ends = self.total_steps
        factors = np.array([self.schedule.factor(min(step + k, ends)) for k in range(int(window_of[-1]) + 2)]) * self.lr
        sizes = self.gather.train.row_sizes(rows).astype(np.float64)
        read = np.cumsum(sizes)
        bounds = np.concatenate([[0.0], read[np.flatnonzero(np.diff(window_of, append=window_of[-1] + 1))]])
        first, last = bounds[window_of], bounds[window_of + 1]
        share = (read - sizes - first) / np.maximum(last - first, 1)  # of the window's ids, before the row is read
        return factors[window_of] + share * (factors[window_of + 1] - factors[window_of])


def fused_step(job: Job) -> tuple[FusedStep | None, str]:
    """The model's own step where there is one for this configuration, and in words which step trains and why; "" for a model without."""
    offer = job.model.fused_update
    if offer is None:
        return None, ""
    if not job.settings.fused:
        return None, "autograd (trainer.fused=false)"
    objective, reason = job.loss.objective(), _obstacle(job)
    if objective is None or reason is not None:
        return None, f"autograd; the fused step needs {reason}"
    threads = 1 if job.settings.deterministic else torch.get_num_threads()
    started = time.perf_counter()
    update = offer(objective, threads)
    if isinstance(update, str):
        return None, f"autograd; no fused step: {update}"
    group = job.optimizer.param_groups[0]
    lr, window = float(group["initial_lr"]), job.settings.window
    args = (job.loss, job.gather, job.schedule, lr, job.seed, window, job.weighted, job.total_steps)
    shared = "" if threads == 1 else f" on {threads} threads without locks, whose results differ a little from run to run"
    return FusedStep(update, *args), f"fused{shared} (ready in {time.perf_counter() - started:.1f} s)"


def _obstacle(job: Job) -> str | None:
    """What the settings would have to be that a step without gradients cannot follow; None where it can."""
    s = job.settings
    checks = [
        (job.gather.device.type == "cpu", "trainer.device=cpu"),
        (job.precision.dtype is None or s.precision == "auto", "trainer.precision=fp32"),
        (is_plain_sgd(job.optimizer) and job.sam_rho is None, "optimizer=sgd without momentum, decay, l1 and sam_rho"),
        (s.clip == "none", "trainer.clip=none"),
        (s.ema is None, "trainer.ema=null"),
        (not s.compile, "trainer.compile=false"),
        (not job.augment.changes, "augment=none"),
        (not job.miner.mines, "mining=none and a sampler that selects nothing"),
        (job.gather.plan.partners is None and job.gather.plan.made is None, "a sampler that makes no rows"),
        (job.loss.objective() is not None, "loss=cross_entropy, weighted_ce, bce, ova, weighted_bce, hierarchical_softmax or "
                                                   "negative_sampling, without label smoothing"),
    ]  # fmt: skip
    return " and ".join(need for holds, need in checks if not holds) or None
