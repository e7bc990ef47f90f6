"""TextRCNN (Lai et al. 2015, "Recurrent Convolutional Neural Networks for Text Classification").

B batch, T tokens, E embedding, H hidden of one direction, L latent.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from recipes.config.duration import Duration
from recipes.config.types import Fraction, PositiveFloat, PositiveInt
from recipes.data.batch import Batch
from recipes.data.facts import Task
from recipes.models.embedding import Sparse, UnknownWord, WordEmbedding
from recipes.models.heads import HeadKind
from recipes.models.init import BiasInit, Init
from recipes.models.recurrent import Cell, Recurrent
from recipes.models.sequence import Labels, SequenceModel, closed_words, last_layer, spans


class TextRCNN(SequenceModel):
    """Each word between its contexts, x = [left; word; right], y = tanh(W x + b), the maximum of y over the text, a linear layer.

    left and right are states of a recurrent network that has read all words before, or behind, the word and not the word itself
    (equations 1 to 5). Before the first word and behind the last one stand learned contexts, which all texts share. The paper's network
    has no gates, `cell=rnn`. An empty text is seen as one zero vector.

    hidden: states of each direction. latent: width of y. dropout: of what the last layer reads; the paper has none.
    """

    def __init__(
        self,
        num_classes: int,
        vocab_size: int,
        vocabulary: tuple[str, ...],
        task: Task,
        class_counts: np.ndarray,
        train_rows: int,
        *,
        vectors: str | None = None,
        dim: PositiveInt | None = None,
        unknown_range: PositiveFloat | None = 0.25,
        unknown_word: UnknownWord = "zero",
        freeze: bool = False,
        unfreeze: Duration | None = None,
        sparse: Sparse = "auto",
        cell: Cell | Literal["rnn"] = "lstm",
        hidden: PositiveInt = 100,
        latent: PositiveInt = 100,
        dropout: Fraction = 0.5,
        head: HeadKind = "linear",
        scale: PositiveFloat = 30.0,
        init: Init = "default",
        bias_init: BiasInit = "zero",
    ) -> None:
        super().__init__()
        self.embedding = WordEmbedding(
            vocab_size,
            vocabulary,
            vectors=vectors,
            dim=dim,
            unknown_range=unknown_range,
            unknown_word=unknown_word,
            freeze=freeze,
            unfreeze=unfreeze,
            sparse=sparse,
        )
        dim = self.embedding.embedding_dim
        self.rnn = Recurrent(cell, dim, hidden)
        self.outer = nn.Parameter(torch.empty(2, hidden).uniform_(-1, 1) / hidden**0.5)
        self.project = nn.Linear(dim + 2 * hidden, latent)
        self.dropout = nn.Dropout(dropout)
        labels = Labels(num_classes, task, class_counts, train_rows)
        self.head = last_layer(self, latent, labels, head, scale, init, bias_init)

    def encode(self, hidden: Tensor, batch: Batch) -> Tensor:
        """(B, L) from hidden_BTE"""
        span_B = spans(batch)
        outer_2BH = self.outer[:, None].expand(-1, len(span_B), -1).contiguous()
        states_BTH, _ = self.rnn(hidden, span_B, outer_2BH)
        after_BTH, before_BTH = states_BTH.chunk(2, dim=2)  # of each word: the state behind it, and, coming from the end, before it
        first_B1H, last_B1H = outer_2BH[:, :, None].to(states_BTH.dtype)
        left_BTH = torch.cat((first_B1H, after_BTH[:, :-1]), dim=1)
        steps_T = torch.arange(hidden.shape[1], device=hidden.device)
        ends_BT1 = (steps_T == span_B[:, None] - 1)[:, :, None]
        right_BTH = torch.where(ends_BT1, last_B1H, torch.cat((before_BTH[:, 1:], last_B1H), dim=1))
        latent_BTL = torch.tanh(self.project(torch.cat((left_BTH, hidden, right_BTH), dim=2)))
        return self.dropout((latent_BTL + closed_words(span_B, latent_BTL)).amax(1))
