"""TextCNN (Kim 2014, "Convolutional Neural Networks for Sentence Classification").

B batch, T tokens, E embedding (both channels of `multichannel`), M feature maps of one width, P window positions, H maps of all widths.
"""

from __future__ import annotations

import logging
import math
from typing import Annotated, Literal

import numpy as np
import torch
from torch import Tensor, nn

from recipes.config.duration import Duration
from recipes.config.types import Fraction, Length, PositiveFloat, PositiveInt
from recipes.data.batch import Batch
from recipes.data.facts import Task
from recipes.errors import ConfigError
from recipes.models.embedding import Sparse, UnknownWord, WordEmbedding
from recipes.models.heads import HeadKind
from recipes.models.init import BiasInit, Init
from recipes.models.sequence import Labels, SequenceModel, last_layer, spans

_WIDTHS: list[PositiveInt] = [3, 4, 5]
# Activations that never fall: they commute with the maximum, so they are applied once a map instead of once a position.
_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
_SHORT_AND_LONG = 32  # rows from which two convolutions of half of them cost less than one
_log = logging.getLogger(__name__)


class TextCNN(SequenceModel):
    """Convolutions over word embeddings, the maximum of each map over the text, dropout, a linear layer.

    The convolution is wide: each text is continued by zeros on both sides, so that every word is seen by every tap of a filter. A
    window that reaches no word of the text does not take part in the maximum; padding therefore changes nothing, and texts shorter
    than a filter work. An empty text is seen as one zero vector.

    mode: `rand` learns the embedding from random rows; `static` keeps pretrained `vectors` (and the random rows of words that the
    file lacks) fixed, or fixed until `unfreeze`; `nonstatic` trains them further; `multichannel` does both, each channel with filter
    weights of its own, and its fixed channel stays so.
    `unknown_word` is where the vector of words outside the vocabulary begins: Kim's code gives each a random one.
    `max_norm` bounds the L2 norm of each class's weights in the last layer after every update; with `head=cosine`, which divides by the
    norms and multiplies by `scale`, there is nothing to bound.
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
        mode: Literal["rand", "static", "nonstatic", "multichannel"] = "rand",
        vectors: str | None = None,
        dim: PositiveInt | None = None,
        unknown_range: PositiveFloat | None = 0.25,
        unknown_word: UnknownWord = "zero",
        unfreeze: Duration | None = None,
        sparse: Sparse = "auto",
        widths: Annotated[list[PositiveInt], Length(1)] = _WIDTHS,
        maps: PositiveInt = 100,
        activation: Literal["relu", "leaky_relu", "tanh", "sigmoid"] = "relu",
        dropout: Fraction = 0.5,
        head: HeadKind = "linear",
        scale: PositiveFloat = 30.0,
        max_norm: PositiveFloat | None = None,
        init: Init = "default",
        bias_init: BiasInit = "zero",
    ) -> None:
        super().__init__()
        _check(mode, vectors, unfreeze)
        self.widths, self.max_norm = list(widths), max_norm
        self.embedding = WordEmbedding(
            vocab_size,
            vocabulary,
            vectors=vectors,
            dim=dim,
            unknown_range=unknown_range,
            unknown_word=unknown_word,
            freeze=mode == "static",
            unfreeze=unfreeze,
            sparse=sparse,
        )
        rows_VE = self.embedding.weight.detach()
        self.fixed = nn.Embedding.from_pretrained(rows_VE.clone(), freeze=True, padding_idx=0) if mode == "multichannel" else None
        channels = rows_VE.shape[1] * (1 if self.fixed is None else 2)
        self.convolutions = nn.ModuleList(nn.Conv2d(channels, maps, (1, width), padding=(0, width - 1)) for width in widths)
        self.activation = _ACTIVATIONS[activation]()
        self.dropout = nn.Dropout(dropout)
        if head == "cosine" and max_norm is not None:
            _log.info("model.max_norm: a cosine head divides by the norms of its weights, so there is nothing to bound")
        labels = Labels(num_classes, task, class_counts, train_rows)
        self.head = last_layer(self, maps * len(widths), labels, head, scale, init, bias_init)

    def embed(self, batch: Batch) -> Tensor:
        """hidden_BTE"""
        hidden_BTE = super().embed(batch)
        return hidden_BTE if self.fixed is None else torch.cat((self.fixed(batch.tokens_BT), hidden_BTE), dim=2)

    def encode(self, hidden: Tensor, batch: Batch) -> Tensor:
        """(B, H) from hidden_BTE"""
        hidden, span_B = autocast_once(hidden), spans(batch)  # autocast would cast it anew for every width
        if hidden.is_cuda or not self.training or len(hidden) < _SHORT_AND_LONG:
            return self.dropout(self.activation(self._highest(hidden, span_B)))
        # Short texts and long ones apart: half of a batch is then not padded to its longest text, which a CPU would compute for nothing.
        order_B = span_B.argsort()
        halves = [(rows, int(span_B[rows[-1]])) for rows in order_B.chunk(2)]
        highest = [self._highest(hidden[:, :longest].index_select(0, rows), span_B[rows]) for rows, longest in halves]
        return self.dropout(self.activation(torch.cat(highest)[order_B.argsort()]))

    def _highest(self, hidden_BTE: Tensor, span_B: Tensor) -> Tensor:
        """(B, H) the maximum of each map over the windows that reach a word of the text."""
        # A row of height 1 whose channels lie next to each other in memory: the layout in which oneDNN and cuDNN are fast. With two
        # cores, forward and backward take half the time of a matrix product over unfolded windows.
        hidden_BE1T = hidden_BTE.transpose(1, 2).unsqueeze(2)
        # Positions are the places of a window's first tap; from the end of the text on, a window sees nothing of it.
        first_P = torch.arange(1 - max(self.widths), hidden_BTE.shape[1], device=hidden_BTE.device)
        closed_BP = torch.zeros(len(span_B), len(first_P), device=hidden_BTE.device).masked_fill_(first_P >= span_B[:, None], -math.inf)
        highest = []
        for conv in self.convolutions:
            seen_BMP = conv(hidden_BE1T).squeeze(2)
            # Adding costs less than masked_fill, whose backward pass is one more pass over the positions.
            seen_BMP = seen_BMP + closed_BP[:, None, -seen_BMP.shape[2] :].to(seen_BMP.dtype)
            highest.append(_maximum(seen_BMP))
        return torch.cat(highest, dim=1)

    @torch.no_grad()
    def after_step(self) -> None:
        """Keep the padding row at zero and the last layer inside `max_norm`."""
        super().after_step()
        if self.max_norm is not None and type(self.head) is nn.Linear:
            self.head.weight.renorm_(p=2, dim=0, maxnorm=self.max_norm)


def autocast_once(hidden: Tensor) -> Tensor:
    """In the number format that autocast multiplies in, where it is on and `hidden` is not double."""
    kind = hidden.device.type
    return hidden.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) and hidden.dtype == torch.float32 else hidden


def _maximum(seen_BMP: Tensor) -> Tensor:
    """(B, M) the maximum over positions."""
    if seen_BMP.is_cuda:
        return seen_BMP.amax(dim=2)  # the gradient of max_pool2d is not deterministic there
    # Its gradient goes to one position by its index, where that of amax compares all of them anew: a sixth of the step in bf16.
    return nn.functional.max_pool2d(seen_BMP.unsqueeze(2), (1, seen_BMP.shape[2])).flatten(1)


def _check(mode: str, vectors: str | None, unfreeze: Duration | str | None) -> None:
    if mode != "rand" and vectors is None:
        raise ConfigError(
            f"model.vectors: mode '{mode}' starts from pretrained vectors, and no file is given; "
            "add model.vectors=<path of a .vec or .txt file>, or choose model.mode=rand"
        )
    if mode == "rand" and vectors is not None:
        raise ConfigError(
            f"model.mode: 'rand' would not read model.vectors='{vectors}'; "
            "choose model.mode=nonstatic (static, multichannel), or model.vectors=null"
        )
    if unfreeze is not None and mode != "static":
        raise ConfigError(f"model.unfreeze: '{unfreeze}' frees what mode 'static' fixes, and the mode is '{mode}'; use model.mode=static")
