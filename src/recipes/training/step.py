"""One optimizer update from one window of samples, exact for any number of micro-batches.

B batch. A window is what the sampler deals for one update; it is cut into micro-batches of at most `batch_size` only to bound memory.
The loss is reduced once: sum(weight * loss) / sum(weight) over the samples of the whole window that count, and that denominator is known
before the first backward pass. Hence the gradient does not depend on the cut.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from recipes.data.batch import Batch
from recipes.data.split import TrainSplit
from recipes.losses.base import Loss
from recipes.models.base import Model
from recipes.sampling.base import Plan, Sampler
from recipes.training.precision import Precision
from recipes.training.seeding import rng_state, set_rng_state


@dataclass
class Gather:
    """Samples of the plan as batches on the device."""

    train: TrainSplit
    plan: Plan

    @property
    def device(self) -> torch.device:
        return self.train.device

    def __post_init__(self) -> None:
        rows = self.plan.rows
        # The usual plan is every row once; looking rows up in it would be work for nothing on every step.
        self._identity = len(rows) == len(self.train) and bool((rows == np.arange(len(rows))).all())

    def rows(self, samples: np.ndarray) -> np.ndarray:
        return samples if self._identity else self.plan.rows[samples]

    def __call__(self, samples: np.ndarray) -> Batch:
        if self.plan.partners is None or self.plan.mix is None:
            return self.train.batch(self.rows(samples))
        return self.train.batch(self.rows(samples), self.plan.partners[samples], self.plan.mix[samples])


class Step:
    """Computes the gradient of a window: forward, selection, one reduction, backward. Updates nothing."""

    def __init__(
        self,
        forward: Callable[[Batch], Tensor],
        model: Model,
        loss: Loss,
        miner: Sampler,
        gather: Gather,
        precision: Precision,
        batch_size: int,
    ) -> None:
        self.forward, self.model, self.loss, self.miner = forward, model, loss, miner
        self.gather, self.precision, self.batch_size = gather, precision, batch_size
        # Without a weight column the denominator is a count, which spares the small steps a few operations.
        self._weights = None if not gather.train.weighted else gather.train.weights.cpu().numpy()

    def __call__(self, window: np.ndarray, epoch: int) -> Tensor:
        """Accumulate the window's gradient; returns its mean loss, detached, on the device."""
        if len(window) <= self.batch_size:
            return self._whole(window, epoch)
        pieces = [window[i : i + self.batch_size] for i in range(0, len(window), self.batch_size)]
        keeps: list[Tensor | None] = self._select(pieces, epoch) if self.miner.mines else [None] * len(pieces)
        denominator = self._denominator(window, keeps)
        total = None
        for samples, keep in zip(pieces, keeps, strict=True):
            batch = self.gather(samples)
            loss = self._weighted_sum(self._losses(batch)[1], batch, keep) / denominator
            self.precision.backward(loss)
            total = loss.detach() if total is None else total + loss.detach()
        assert total is not None
        return total

    def _whole(self, window: np.ndarray, epoch: int) -> Tensor:
        """The window in one pass: mining ranks by the losses of this pass."""
        batch = self.gather(window)
        logits_BC, loss_B = self._losses(batch)
        keep_B = None
        if self.miner.mines:
            with torch.no_grad():
                keep_B = self.miner.select(self.loss.difficulty(logits_BC.detach(), batch.targets), epoch)
        if keep_B is None and self._weights is None:
            loss = loss_B.mean()  # the same number in one operation, which small models notice
        else:
            loss = self._weighted_sum(loss_B, batch, keep_B) / self._denominator(window, [keep_B])
        self.precision.backward(loss)
        return loss.detach()

    def _losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        with self.precision.autocast():
            logits_BC = self.forward(batch)
        return logits_BC, self.loss(logits_BC, batch.targets)

    def _weighted_sum(self, loss_B: Tensor, batch: Batch, keep_B: Tensor | None) -> Tensor:
        if keep_B is not None:
            # where, not a product: a dropped sample with an infinite loss would still make the sum NaN.
            loss_B = torch.where(keep_B, loss_B, 0)
        return loss_B.sum() if self._weights is None else (loss_B * batch.weights).sum()

    def _denominator(self, window: np.ndarray, keeps: list[Tensor | None]) -> Tensor | float:
        """Sum of the weights of the samples that count in the whole window."""
        kept = [k for k in keeps if k is not None]
        if self._weights is None:
            return len(window) if not kept else torch.cat(kept).sum()
        weights = self._weights[self.gather.rows(window)]
        if not kept:
            return max(float(weights.sum()), np.finfo(np.float32).tiny)
        keep = torch.cat(kept)
        return (torch.as_tensor(weights, device=keep.device) * keep).sum().clamp_min(np.finfo(np.float32).tiny)

    @torch.no_grad()
    def _select(self, pieces: list[np.ndarray], epoch: int) -> list[Tensor | None]:
        """Which samples count, ranked over the whole window: one more forward pass, with the dropout masks of the pass that follows."""
        device = self.gather.device
        rng, buffers = rng_state(device), [b.clone() for b in self.model.buffers()]
        scored = []
        for samples in pieces:
            batch = self.gather(samples)
            with self.precision.autocast():
                logits_BC = self.forward(batch)
            scored.append(self.loss.difficulty(logits_BC, batch.targets))
        set_rng_state(rng, device)
        for buffer, saved in zip(self.model.buffers(), buffers, strict=True):
            buffer.copy_(saved)  # running statistics of batch norm move in the second pass only
        keep = self.miner.select(torch.cat(scored), epoch)
        return [None] * len(pieces) if keep is None else list(keep.split([len(p) for p in pieces]))


class Ema:
    """Exponential moving average of the weights, evaluated and kept in place of the raw ones. Buffers stay the model's own."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self._live = list(model.parameters())
        self._average = [p.detach().clone() for p in self._live]

    @torch.no_grad()
    def update(self) -> None:
        torch._foreach_lerp_(self._average, [p.detach() for p in self._live], 1 - self.decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the model's weights and the averaged ones; a second call puts them back."""
        for live, average in zip(self._live, self._average, strict=True):
            kept = live.detach().clone()
            live.copy_(average)
            average.copy_(kept)

    def state_dict(self) -> list[Tensor]:
        return self._average

    def load_state_dict(self, state: list[Tensor]) -> None:
        for average, saved in zip(self._average, state, strict=True):
            average.copy_(saved)
