"""A small Transformer encoder (Vaswani et al. 2017), trained from scratch.

B batch, T tokens, E embedding, D width of the encoder, A attention heads, F inner width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from recipes.config.check import settings_of
from recipes.config.duration import Duration
from recipes.config.types import Fraction, PositiveFloat, PositiveInt
from recipes.data.batch import Batch
from recipes.data.facts import Needs, Task
from recipes.errors import ConfigError
from recipes.models.embedding import Sparse, UnknownWord, WordEmbedding
from recipes.models.heads import HeadKind
from recipes.models.init import BiasInit, Init
from recipes.models.sequence import Labels, SequenceModel, last_layer, open_words, spans


class Transformer(SequenceModel):
    """Word vectors and positions, `layers` blocks with the norm before each part (Xiong et al. 2020), pooling, a linear layer.

    width: numbers a position; word vectors of another `dim` are projected to it. heads must divide it. inner: width of the two-layer
    network of a block (GELU). positions: `learned`, or the `sinusoidal` ones of the paper, to which words are added times sqrt(width).
    max_positions: the words that are read; what a text has beyond them is not, with either kind of positions, since attention costs the
    square of the length.
    pooling: the `mean` of a text's positions, or `cls`, a learned vector that stands before the text.
    dropout: as in the paper, of words with their positions and of what each part adds, and inside the two-layer network; not of attention
    weights: without that they are never stored, (T, T) for each row and head, and a step on long texts takes half the time.
    An empty text is seen as one zero vector.

    Attention is computed by one function in training and in evaluation, so that no fast path of torch's own encoder can differ.
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
        width: PositiveInt = 128,
        layers: PositiveInt = 2,
        heads: PositiveInt = 4,
        inner: PositiveInt = 256,
        positions: Literal["learned", "sinusoidal"] = "learned",
        max_positions: PositiveInt = 512,
        pooling: Literal["mean", "cls"] = "mean",
        dropout: Fraction = 0.1,
        head: HeadKind = "linear",
        scale: PositiveFloat = 30.0,
        init: Init = "default",
        bias_init: BiasInit = "zero",
    ) -> None:
        super().__init__()
        if width % heads:
            fits = ", ".join(str(n) for n in range(1, min(width, 16) + 1) if width % n == 0)
            raise ConfigError(f"model.heads: {heads} heads do not divide model.width={width}; use model.heads={fits}, or another width")
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
            default_dim=width,
        )
        dim, self.max_positions = self.embedding.embedding_dim, max_positions
        self.project = None if dim == width else nn.Linear(dim, width, bias=False)
        self.positions = nn.Parameter(torch.empty(max_positions, width).uniform_(-0.25, 0.25)) if positions == "learned" else None
        self.cls = nn.Parameter(torch.empty(width).uniform_(-0.25, 0.25)) if pooling == "cls" else None
        self.blocks = nn.ModuleList(Block(width, heads, inner, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        labels = Labels(num_classes, task, class_counts, train_rows)
        self.head = last_layer(self, width, labels, head, scale, init, bias_init)

    @classmethod
    def needs(cls, settings: Mapping[str, Any]) -> Needs:
        """Sequences of no more words than there are positions, so that the run tells how many texts are longer."""
        return Needs(cls.representation, max_length=settings.get("max_positions", settings_of(cls)["max_positions"][1]))

    def encode(self, hidden: Tensor, batch: Batch) -> Tensor:
        """(B, D) from hidden_BTE"""
        states_BTD, open_BT = self._prepare(hidden, batch)
        for block in self.blocks:
            states_BTD = block(states_BTD, open_BT)
        if self.cls is not None:
            return self.norm(states_BTD[:, 0])
        states_BTD = self.norm(states_BTD) * open_BT[:, :, None]
        return states_BTD.sum(1) / open_BT.sum(1, keepdim=True)

    def attention(self, batch: Batch) -> Tensor:
        """(B, T) how the pooled position, or the mean of all, attends to each word in the last block; the mean over its heads."""
        hidden = self.embed(batch)
        states_BTD, open_BT = self._prepare(hidden, batch)
        for block in self.blocks[:-1]:
            states_BTD = block(states_BTD, open_BT)
        last = self.blocks[-1]
        assert isinstance(last, Block)
        weights_BTT = last.weights(states_BTD, open_BT).mean(1)
        if self.cls is not None:
            seen_BT = weights_BTT[:, 0, 1:]  # what the vector that stands before the text sees of itself is no word
            seen_BT = seen_BT / seen_BT.sum(1, keepdim=True)
        else:
            seen_BT = (weights_BTT * open_BT[:, :, None]).sum(1) / open_BT.sum(1, keepdim=True)
        seen_BT = functional.pad(seen_BT, (0, hidden.shape[1] - seen_BT.shape[1]))
        return seen_BT * open_words(batch.span_B, hidden.shape[1])

    def _prepare(self, hidden: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """(B, T, D) what the first block reads, and which positions of it are open; `cls` stands at the first."""
        words_BTD = hidden[:, : self.max_positions]
        span_B = spans(batch).clamp(max=self.max_positions)
        if self.project is not None:
            words_BTD = self.project(words_BTD)
        width, length = words_BTD.shape[2], words_BTD.shape[1]
        if self.positions is not None:
            words_BTD = words_BTD + self.positions[:length].to(words_BTD.dtype)
        else:
            words_BTD = words_BTD * math.sqrt(width) + sinusoids(length, width, words_BTD)
        if self.cls is not None:
            first_B1D = self.cls.to(words_BTD.dtype).expand(len(words_BTD), 1, -1)
            words_BTD, span_B, length = torch.cat((first_B1D, words_BTD), dim=1), span_B + 1, length + 1
        return self.dropout(words_BTD), open_words(span_B, length)


def _attend(q: Tensor, k: Tensor, v: Tensor, open_B11T: Tensor) -> Tensor:
    """(B, A, T, d). On the CPU in fp32 also under autocast: there torch's kernel for bf16 takes twelve times as long for the gradient."""
    if q.device.type != "cpu":
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=open_B11T)
    with torch.autocast("cpu", enabled=False):
        q, k, v = (x.float() if x.dtype == torch.bfloat16 else x for x in (q, k, v))
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=open_B11T)


class Block(nn.Module):
    """x + attention(norm(x)), then x + network(norm(x))."""

    def __init__(self, width: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states_BTD: Tensor, open_BT: Tensor) -> Tensor:
        q, k, v = self._qkv(states_BTD)
        seen_BATd = _attend(q, k, v, open_BT[:, None, None])
        states_BTD = states_BTD + self.dropout(self.out(seen_BATd.transpose(1, 2).flatten(2)))
        inner_BTF = self.dropout(functional.gelu(self.up(self.norm2(states_BTD))))
        return states_BTD + self.dropout(self.down(inner_BTF))

    def weights(self, states_BTD: Tensor, open_BT: Tensor) -> Tensor:
        """(B, A, T, T) how each position (third) attends to each (fourth)."""
        q, k, _ = self._qkv(states_BTD)
        scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[3])
        return scores.masked_fill(~open_BT[:, None, None], -math.inf).softmax(3)

    def _qkv(self, states_BTD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (B, A, T, D / A)."""
        rows, length, width = states_BTD.shape
        parts = self.qkv(self.norm1(states_BTD)).view(rows, length, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        return q, k, v


def sinusoids(length: int, width: int, like: Tensor) -> Tensor:
    """(length, width) sin and cos, in turn, of position / 10000^(2i / width) (Vaswani et al. 2017, section 3.5); made like `like`."""
    rates = torch.exp(torch.arange(0, width, 2, dtype=torch.float64, device=like.device) * (-math.log(10_000) / width))
    angles = torch.arange(length, dtype=torch.float64, device=like.device)[:, None] * rates
    return torch.stack((angles.sin(), angles.cos()), dim=2).flatten(1)[:, :width].to(like.dtype)
