"""What models over sequences of words share: the embedding, its life in training, and the last layer.

B batch, T tokens, E embedding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from recipes.data.batch import Batch
from recipes.data.facts import Task
from recipes.models.base import Model
from recipes.models.embedding import IN_WEIGHTS, WordEmbedding
from recipes.models.heads import HeadKind, check_bias, make_head
from recipes.models.init import BiasInit, Init, init_last_bias, init_weights


class SequenceModel(Model):
    """A model whose `embedding` makes hidden_BTE of the words in their order. Subclasses write `encode`."""

    representation = "tokens"
    embedding: WordEmbedding

    @classmethod
    def inference_settings(cls, settings: Mapping[str, Any], weights: Mapping[str, Tensor]) -> dict[str, Any]:
        """No file is read again: the embedding comes with the weights."""
        dim = weights["embedding.weight"].shape[1]
        return {**settings, "dim": dim, "vectors": None if settings.get("vectors") is None else IN_WEIGHTS}

    def embed(self, batch: Batch) -> Tensor:
        """hidden_BTE"""
        assert batch.tokens_BT is not None
        return self.embedding(batch.tokens_BT)

    def before_step(self, step: int, steps_per_epoch: int, total_steps: int) -> None:
        """Free the embedding when its time has come, unless the head alone is trained."""
        if not self.frozen:
            self.embedding.before_step(step, steps_per_epoch, total_steps)

    def after_step(self) -> None:
        self.embedding.after_step()


class Labels(NamedTuple):
    """The facts that the last layer depends on."""

    num_classes: int
    task: Task
    class_counts: np.ndarray
    train_rows: int


def last_layer(
    model: nn.Module,
    width: int,
    labels: Labels,
    head: HeadKind,
    scale: float,
    init: Init,
    bias_init: BiasInit,
) -> nn.Linear:
    """The head over `width` features. Its weights, and those of the model's linear layers and convolutions, are drawn as `init` says."""
    check_bias(head, bias_init, without="zero")
    last = make_head(head, width, labels.num_classes, scale)
    init_weights([m for m in (*model.modules(), last) if isinstance(m, nn.Linear | nn.Conv2d)], init)
    if head == "linear":
        init_last_bias(last.bias, bias_init, labels.task, labels.class_counts, labels.train_rows)
    return last


def spans(batch: Batch) -> Tensor:
    """(B,) int64 words that a model reads of each row, at least one: an empty text is seen as one zero vector."""
    return batch.span_B.clamp(min=1)


def open_words(span_B: Tensor, width: int) -> Tensor:
    """(B, width) bool: the positions that lie in each row's span."""
    return torch.arange(width, device=span_B.device) < span_B[:, None]


def closed_words(span_B: Tensor, like: Tensor) -> Tensor:
    """(B, T, 1) zero inside each row's span, -inf behind it: to be added before a maximum. T, type and device are those of `like`."""
    open_BT = open_words(span_B, like.shape[1])
    return like.new_zeros(open_BT.shape).masked_fill_(~open_BT, -math.inf)[:, :, None]
