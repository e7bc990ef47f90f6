"""A recurrent network over the words of a text, read in both directions, and one vector of its states.

B batch, T tokens, E embedding, H hidden of all directions together.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from torch import Tensor, nn

from recipes.config.duration import Duration
from recipes.config.types import Fraction, PositiveFloat, PositiveInt
from recipes.data.batch import Batch
from recipes.data.facts import Task
from recipes.models.attention import AttentionPool
from recipes.models.embedding import Sparse, UnknownWord, WordEmbedding
from recipes.models.heads import HeadKind
from recipes.models.init import BiasInit, Init
from recipes.models.recurrent import Cell, Recurrent
from recipes.models.sequence import Labels, SequenceModel, closed_words, last_layer, open_words, spans


class TextRNN(SequenceModel):
    """Word vectors, a (bidirectional) LSTM (Hochreiter & Schmidhuber 1997) or GRU (Cho et al. 2014), pooling, dropout, a linear layer.

    hidden: states of each direction. pooling: the `max` or `mean` of the states of a text's words; `last`, where each direction ends:
    behind the last word and before the first one; `attention`, a mean whose weights are learned (`AttentionPool`). Padding
    is neither read nor pooled. An empty text is seen as one zero vector.
    dropout: of what the last layer reads, and between layers.
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
        cell: Cell = "lstm",
        hidden: PositiveInt = 128,
        layers: PositiveInt = 1,
        bidirectional: bool = True,
        pooling: Literal["max", "mean", "last", "attention"] = "max",
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
        self.rnn = Recurrent(cell, self.embedding.embedding_dim, hidden, layers, bidirectional, dropout)
        width = hidden * (2 if bidirectional else 1)
        self.pooling = pooling
        self.pool = AttentionPool(width) if pooling == "attention" else None
        self.dropout = nn.Dropout(dropout)
        labels = Labels(num_classes, task, class_counts, train_rows)
        self.head = last_layer(self, width, labels, head, scale, init, bias_init)

    def encode(self, hidden: Tensor, batch: Batch) -> Tensor:
        """(B, H) from hidden_BTE"""
        span_B = spans(batch)
        states_BTH, last_BH = self.rnn(hidden, span_B)
        if self.pool is not None:
            pooled_BH, _ = self.pool(states_BTH, open_words(span_B, states_BTH.shape[1]))
        elif self.pooling == "last":
            pooled_BH = last_BH
        elif self.pooling == "mean":
            pooled_BH = states_BTH.sum(1) / span_B[:, None]  # states past the end are zero
        else:
            pooled_BH = (states_BTH + closed_words(span_B, states_BTH)).amax(1)
        return self.dropout(pooled_BH)

    def attention(self, batch: Batch) -> Tensor:
        """(B, T) the weights of the states in the pooled one. Raises ConfigError unless the pooling is `attention`."""
        if self.pool is None:
            return super().attention(batch)
        hidden, span_B = self.embed(batch), spans(batch)
        states_BTH, _ = self.rnn(hidden, span_B)
        _, weights_BT = self.pool(states_BTH, open_words(span_B, hidden.shape[1]))
        return weights_BT * open_words(batch.span_B, hidden.shape[1])
