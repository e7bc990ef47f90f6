"""DPCNN (Johnson & Zhang 2017, "Deep Pyramid Convolutional Neural Networks for Text Categorization").

B batch, T tokens, E embedding, M feature maps, P positions of the block.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from recipes.config.duration import Duration
from recipes.config.types import Fraction, NonNegativeInt, PositiveFloat, PositiveInt
from recipes.data.batch import Batch
from recipes.data.facts import Task
from recipes.models.embedding import Sparse, UnknownWord, WordEmbedding
from recipes.models.heads import HeadKind
from recipes.models.init import BiasInit, Init
from recipes.models.sequence import Labels, SequenceModel, last_layer, open_words, spans


class DPCNN(SequenceModel):
    """A region embedding, then blocks of two convolutions with a shortcut, each on half of the positions of the one before.

    The region embedding is a linear convolution of three words; the convolutions of a block, also of width three, read what their
    activation (ReLU) makes of their input, z + W2 r(W1 r(z) + b1) + b2. Between blocks stands a maximum over three positions in steps
    of two; the last block's positions that are left have one maximum. With 6 halvings a text of up to 64 words comes down to one vector.

    Each row is halved by its own length, ceil(n / 2), and what lies behind its end is zero before each convolution and never a maximum:
    neither padding nor other rows change a result. An empty text is seen as one zero vector. The paper's first weights are normal with
    deviation 0.01, and it adds embeddings learned without labels, which are not here.

    halvings: blocks but the first. dropout: of what the last layer reads.
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
        maps: PositiveInt = 250,
        halvings: NonNegativeInt = 6,
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
        self.region = _convolution(self.embedding.embedding_dim, maps)
        self.blocks = nn.ModuleList(Block(maps) for _ in range(halvings + 1))
        self.dropout = nn.Dropout(dropout)
        labels = Labels(num_classes, task, class_counts, train_rows)
        self.head = last_layer(self, maps, labels, head, scale, init, bias_init)

    def encode(self, hidden: Tensor, batch: Batch) -> Tensor:
        """(B, M) from hidden_BTE"""
        span_B = spans(batch)
        # A row of height 1 whose channels lie next to each other: the layout in which oneDNN and cuDNN are fast.
        open_B11P = _open(span_B, hidden.shape[1], hidden.dtype)
        maps_BM1P = self.region(hidden.transpose(1, 2).unsqueeze(2)) * open_B11P
        for number, block in enumerate(self.blocks):
            if number:
                maps_BM1P, span_B = _halved(maps_BM1P, open_B11P), (span_B + 1) // 2
                open_B11P = _open(span_B, maps_BM1P.shape[3], hidden.dtype)
            maps_BM1P = maps_BM1P + block(maps_BM1P, open_B11P)
        return self.dropout(_closed(maps_BM1P, open_B11P).amax(dim=(2, 3)))


class Block(nn.Module):
    """W2 r(W1 r(z) + b1) + b2, zero behind each row's end."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.first, self.second = _convolution(maps, maps), _convolution(maps, maps)

    def forward(self, maps_BM1P: Tensor, open_B11P: Tensor) -> Tensor:
        inner_BM1P = self.first(functional.relu(maps_BM1P)) * open_B11P
        return self.second(functional.relu(inner_BM1P)) * open_B11P


def _convolution(channels: int, maps: int) -> nn.Conv2d:
    return nn.Conv2d(channels, maps, (1, 3), padding=(0, 1))


def _open(span_B: Tensor, width: int, dtype: torch.dtype) -> Tensor:
    """(B, 1, 1, P) one inside each row's span, zero behind it."""
    return open_words(span_B, width).to(dtype)[:, None, None]


def _closed(maps_BM1P: Tensor, open_B11P: Tensor) -> Tensor:
    """With -inf behind each row's end. Adding costs less than masked_fill, whose backward pass is one more pass over the positions."""
    return maps_BM1P + torch.zeros_like(open_B11P).masked_fill_(open_B11P == 0, -math.inf).to(maps_BM1P.dtype)


def _halved(maps_BM1P: Tensor, open_B11P: Tensor) -> Tensor:
    """Maxima of the positions 2p to 2p + 2 that lie in the span, ceil(P / 2) of them, zero behind the row's new end."""
    closed = _closed(maps_BM1P, open_B11P)
    closed = functional.pad(closed, (0, 1 + closed.shape[3] % 2), value=-math.inf)
    pooled_BM1P = functional.max_pool2d(closed, (1, 3), stride=(1, 2))
    return torch.where(open_B11P[..., ::2] != 0, pooled_BM1P, 0)
