"""Batch norm's running statistics, of natural rows instead of those that a sampler dealt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch

from recipes.data.batch import Batch
from recipes.models.base import Model, batch_norms


@contextmanager
def recalibrated(model: Model, batches: Iterable[Batch], keep: bool = False) -> Iterator[None]:
    """Inside, batch norm's running mean and variance are averages over `batches`; afterwards those of training again, unless `keep`.

    Each batch counts by its rows, and nothing decays: the mean is that of all rows, the variance the mean of the batches' unbiased
    variances, so batches should be random (Izmailov et al. 2018, section 3.2). As in training, a layer reads what the one before it
    made with the batch's own statistics; dropout is off, as it is in evaluation. Batches of one row have no variance and are left out.
    Costs a forward pass over `batches`; a model without batch norm does not look at them, nor one whose encoder is frozen, to which its
    statistics belong.
    """
    norms = [] if model.frozen else batch_norms(model)
    saved = [{name: buffer.clone() for name, buffer in norm.named_buffers()} for norm in norms]
    try:
        if norms:
            _average(model, batches)
        yield
    finally:
        if not keep:
            for norm, buffers in zip(norms, saved, strict=True):
                for name, buffer in norm.named_buffers():
                    buffer.copy_(buffers[name])


@torch.no_grad()
def _average(model: Model, batches: Iterable[Batch]) -> None:
    """Run the batches through the model, its batch norms in training and the rest in evaluation; each batch counts by its rows."""
    norms, was_training = batch_norms(model), model.training
    momenta = [norm.momentum for norm in norms]
    model.eval()
    seen = 0
    try:
        for norm in norms:
            norm.train()
        for batch in batches:
            if len(batch) == 1:
                continue
            seen += len(batch)
            for norm in norms:  # the first batch replaces what was there
                norm.momentum = len(batch) / seen
            model(batch)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        model.train(was_training)
