"""One optimizer update from one window of samples, exact for any number of micro-batches.

B batch. A window is what the sampler deals for one update; it is cut into micro-batches of at most `batch_size` only to bound memory.
The loss is reduced once: sum(weight * loss) / sum(weight) over the samples of the whole window that count, and that denominator is known
before the first backward pass. Hence the gradient does not depend on the cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from recipes.augmentation import Augment
from recipes.data.batch import Batch
from recipes.data.split import TrainSplit
from recipes.losses.base import Loss
from recipes.models.base import Model
from recipes.randomness import generator
from recipes.sampling.base import Plan, Sampler
from recipes.training.precision import Precision
from recipes.training.seeding import rng_state, set_rng_state

Piece = Callable[[], Batch]


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
        if self.plan.made is not None:
            self.train = self.train.with_made(self.plan.made.features, self.plan.made.levels, self.plan.made.labels)

    def rows(self, samples: np.ndarray) -> np.ndarray:
        return samples if self._identity else self.plan.rows[samples]

    def __call__(self, samples: np.ndarray) -> Batch:
        if self.plan.partners is None or self.plan.mix is None:
            return self.train.batch(self.rows(samples))
        return self.train.batch(self.rows(samples), self.plan.partners[samples], self.plan.mix[samples])


class Step:
    """Computes the gradient of a window: forward, selection, one reduction, backward. Updates nothing.

    weighted: whether the rows' weights weigh the loss; they do not where the sampler deals rows by weight already.
    """

    span = 1  # windows a call

    def __init__(
        self,
        forward: Callable[[Batch], Tensor],
        model: Model,
        loss: Loss,
        miner: Sampler,
        augment: Augment,
        gather: Gather,
        precision: Precision,
        batch_size: int,
        seed: int,
        weighted: bool,
    ) -> None:
        self.forward, self.model, self.loss, self.miner, self.augment = forward, model, loss, miner, augment
        self.gather, self.precision, self.batch_size, self.seed = gather, precision, batch_size, seed
        # Without a weight column the denominator is a count, which spares the small steps a few operations.
        self._weights = gather.train.weights.cpu().numpy() if weighted else None

    def __call__(self, windows: Sequence[np.ndarray], epoch: int, step: int) -> Tensor:
        """Accumulate the gradient of one window; returns its mean loss, detached, on the device. `step` counts the windows before it."""
        (window,) = windows
        pieces = self._pieces(window, step)
        if len(pieces) == 1:
            return self._whole(window, pieces[0](), epoch)
        if self.loss.batchwise:
            return self._batchwise(window, pieces)
        keeps: list[Tensor | None] = self._select(pieces, epoch) if self.miner.mines else [None] * len(pieces)
        denominator = self._denominator(window, keeps)
        total = None
        for piece, keep in zip(pieces, keeps, strict=True):
            batch = piece()
            loss = self._weighted_sum(self._per_sample(self.loss, self._logits(batch), batch), batch, keep) / denominator
            self.precision.backward(loss)
            total = loss.detach() if total is None else total + loss.detach()
        assert total is not None
        return total

    def _pieces(self, window: np.ndarray, step: int) -> list[Piece]:
        """The micro-batches, each gathered when it is asked for; an augmented window is made as a whole and cut."""
        cuts = range(0, len(window), self.batch_size)
        if not self.augment.changes:
            return [partial(self.gather, window[i : i + self.batch_size]) for i in cuts]
        whole = self.augment(self.gather(window), generator(self.seed, "augment", step))
        if len(cuts) == 1:
            return [lambda: whole]
        places = torch.arange(len(window), device=self.gather.device)
        return [partial(whole.take, places[i : i + self.batch_size]) for i in cuts]

    def _whole(self, window: np.ndarray, batch: Batch, epoch: int) -> Tensor:
        """The window in one pass: mining ranks by the losses of this pass."""
        logits_BC = self._logits(batch)
        loss_B = self._per_sample(self.loss, logits_BC, batch)
        keep_B = None
        if self.miner.mines:
            with torch.no_grad():
                difficulty_B = self._per_sample(self.loss.difficulty, logits_BC.detach(), batch)
                keep_B = self.miner.select(difficulty_B, batch.targets, epoch)
        if keep_B is None and self._weights is None:
            loss = loss_B.mean()  # the same number in one operation, which small models notice
        else:
            loss = self._weighted_sum(loss_B, batch, keep_B) / self._denominator(window, [keep_B])
        self.precision.backward(loss)
        return loss.detach()

    def _batchwise(self, window: np.ndarray, pieces: list[Piece]) -> Tensor:
        """A loss that compares samples sees the logits of the whole window; their gradient then goes back piece by piece.

        One more forward pass, without a graph, is what exactness costs here (Gao et al. 2021, gradient caching).
        """
        logits, batches = self._without_graph(pieces)
        leaf_WC = torch.cat(logits).requires_grad_()
        targets_W, weights_W = torch.cat([b.targets for b in batches]), torch.cat([b.weights for b in batches])
        loss_W = self.loss(leaf_WC, targets_W)
        loss = (loss_W.sum() if self._weights is None else (loss_W * weights_W).sum()) / self._denominator(window, [None])
        (gradient_WC,) = torch.autograd.grad(loss, leaf_WC)
        for batch, gradient_BC in zip(batches, gradient_WC.split([len(b) for b in batches]), strict=True):
            logits_BC = self._logits(batch)
            self.precision.backward((logits_BC * gradient_BC.to(logits_BC.dtype)).sum())
        return loss.detach()

    def _logits(self, batch: Batch) -> Tensor:
        with self.precision.autocast():
            return self.forward(batch)

    def _per_sample(self, function: Callable[[Tensor, Tensor], Tensor], logits_BC: Tensor, batch: Batch) -> Tensor:
        """loss_B; of a mixture with two labels, that of either in its share."""
        own_B = function(logits_BC, batch.targets)
        if batch.share_B is None or batch.partner is None:
            return own_B
        return batch.share_B * own_B + (1 - batch.share_B) * function(logits_BC, batch.partner.targets)

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
    def _select(self, pieces: list[Piece], epoch: int) -> list[Tensor | None]:
        """Which samples count, ranked over the whole window."""
        logits, batches = self._without_graph(pieces)
        scored = [self._per_sample(self.loss.difficulty, z, batch) for z, batch in zip(logits, batches, strict=True)]
        keep = self.miner.select(torch.cat(scored), torch.cat([b.targets for b in batches]), epoch)
        return [None] * len(pieces) if keep is None else list(keep.split([len(b) for b in batches]))

    @torch.no_grad()
    def _without_graph(self, pieces: list[Piece]) -> tuple[list[Tensor], list[Batch]]:
        """One more forward pass, with the dropout masks of the pass that follows; running statistics move in that one only."""
        device = self.gather.device
        rng, buffers = rng_state(device), [b.clone() for b in self.model.buffers()]
        batches = [piece() for piece in pieces]
        logits = [self._logits(batch) for batch in batches]
        set_rng_state(rng, device)
        for buffer, saved in zip(self.model.buffers(), buffers, strict=True):
            buffer.copy_(saved)
        return logits, batches


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
