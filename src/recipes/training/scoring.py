"""Whole splits through the model: no gradients, no dropout, nothing averaged over batches.

N rows of a split, C classes or labels.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor

from recipes.data.facts import Facts
from recipes.data.split import Split
from recipes.evaluation import Readout, evaluate
from recipes.losses.base import Loss
from recipes.models.base import Model
from recipes.training.events import Evaluation
from recipes.training.precision import Precision


@torch.no_grad()
def score(model: Model, split: Split, batch_size: int, precision: Precision) -> Tensor:
    """logits_NC of every row, in the split's order, float32 (or float64 as the model is) on the device.

    Rows go through in order of length: padding never changes a result, so this only saves work.
    """
    order = split.by_length()
    was_training = model.training
    model.eval()
    try:
        logits_NC: Tensor | None = None
        for start in range(0, len(order), batch_size):
            batch = split.batch(order[start : start + batch_size])
            with precision.autocast():
                logits_BC = model(batch)
            logits_BC = logits_BC if logits_BC.dtype == torch.float64 else logits_BC.float()
            if logits_NC is None:
                logits_NC = logits_BC.new_empty(len(split), logits_BC.shape[1])
            logits_NC[batch.rows] = logits_BC
    finally:
        model.train(was_training)
    assert logits_NC is not None, "an empty split cannot be scored"
    return logits_NC


@torch.no_grad()
def judge(
    raw_NC: Tensor,
    loss: Loss,
    split: Split,
    facts: Facts,
    readout: Readout,
    step: int = 0,
    epoch: float = 0.0,
    started: float | None = None,
) -> Evaluation:
    """Metrics of one split from its raw logits: the training loss of these, the rest of the readout's probabilities and decisions."""
    started = time.perf_counter() if started is None else started
    weights_N = split.weights.to(raw_NC.device)
    training = loss.training
    loss.eval()  # a loss that keeps statistics of training does not take these rows for it
    loss_N = loss(raw_NC, split.targets.to(raw_NC.device))
    loss.train(training)
    mean_loss = float((loss_N * weights_N).sum() / weights_N.sum())
    raw, labels = raw_NC.cpu().numpy(), split.labels()
    weights = split.given_weights
    logits, decided = readout.logits(raw), readout.decide(raw)
    metrics, per_class = evaluate(logits, labels, facts.task, facts.class_names, weights=weights, decided=decided)
    return Evaluation(
        split=split.name,
        step=step,
        epoch=epoch,
        metrics={"loss": mean_loss, **metrics},
        per_class=per_class,
        logits=logits,
        decided=decided,
        targets=labels,
        weights=weights,
        seconds=time.perf_counter() - started,
    )
