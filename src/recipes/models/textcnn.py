"""TextCNN (Kim 2014, "Convolutional Neural Networks for Sentence Classification").

B batch, T tokens, E embedding (both channels of `multichannel`), M feature maps of one width, P window positions, H maps of all widths.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from recipes.config.types import Fraction, Length, PositiveFloat, PositiveInt
from recipes.data.batch import Batch
from recipes.data.facts import Task
from recipes.data.vectors import read_vectors
from recipes.errors import ConfigError
from recipes.models.base import Model
from recipes.models.heads import HeadKind, check_bias, make_head
from recipes.models.init import BiasInit, Init, init_last_bias, init_weights

IN_WEIGHTS = "in the weights"  # what a saved model names instead of a file that its machine may not have

_DIM = 128
_WIDTHS: list[PositiveInt] = [3, 4, 5]
# Activations that never fall: they commute with the maximum, so they are applied once a map instead of once a position.
_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
_log = logging.getLogger(__name__)


class TextCNN(Model):
    """Convolutions over word embeddings, the maximum of each map over the text, dropout, a linear layer.

    The convolution is wide: each text is continued by zeros on both sides, so that every word is seen by every tap of a filter. A
    window that reaches no word of the text does not take part in the maximum; padding therefore changes nothing, and texts shorter
    than a filter work. An empty text is seen as one zero vector.

    mode: `rand` learns the embedding from random rows; `static` keeps pretrained `vectors` (and the random rows of words that the
    file lacks) fixed; `nonstatic` trains them further; `multichannel` does both, each channel with filter weights of its own.
    `unknown_word` is where the vector of words outside the vocabulary begins: Kim's code gives each a random one.
    `max_norm` bounds the L2 norm of each class's weights in the last layer after every update; with `head=cosine`, which divides by the
    norms and multiplies by `scale`, there is nothing to bound.
    """

    representation = "tokens"

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
        unknown_word: Literal["zero", "random"] = "zero",
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
        _check(mode, vectors, unknown_range)
        check_bias(head, bias_init, without="zero")
        self.widths, self.max_norm = list(widths), max_norm
        table = _embedding_rows(vocab_size, vocabulary, vectors, dim, unknown_range, unknown_word == "random")
        self.embedding = nn.Embedding.from_pretrained(table, freeze=mode == "static", padding_idx=0)
        self.fixed = nn.Embedding.from_pretrained(table.clone(), freeze=True, padding_idx=0) if mode == "multichannel" else None
        channels = table.shape[1] * (1 if self.fixed is None else 2)
        self.convolutions = nn.ModuleList(nn.Conv2d(channels, maps, (1, width), padding=(0, width - 1)) for width in widths)
        self.activation = _ACTIVATIONS[activation]()
        self.dropout = nn.Dropout(dropout)
        last = make_head(head, maps * len(widths), num_classes, scale)
        init_weights([*self.convolutions, last], init)
        if head == "linear":
            init_last_bias(last.bias, bias_init, task, class_counts, train_rows)
        elif max_norm is not None:
            _log.info("model.max_norm: a cosine head divides by the norms of its weights, so there is nothing to bound")
        self.head = last

    @classmethod
    def inference_settings(cls, settings: Mapping[str, Any], weights: Mapping[str, Tensor]) -> dict[str, Any]:
        """No file is read again: the embedding comes with the weights."""
        dim = weights["embedding.weight"].shape[1]
        return {**settings, "dim": dim, "vectors": None if settings.get("vectors") is None else IN_WEIGHTS}

    def embed(self, batch: Batch) -> Tensor:
        """hidden_BTE"""
        assert batch.tokens_BT is not None
        hidden_BTE = self.embedding(batch.tokens_BT)
        return hidden_BTE if self.fixed is None else torch.cat((self.fixed(batch.tokens_BT), hidden_BTE), dim=2)

    def encode(self, hidden: Tensor, batch: Batch) -> Tensor:
        """(B, H) from hidden_BTE"""
        # A row of height 1 whose channels lie next to each other in memory: the layout in which oneDNN and cuDNN are fast. With two
        # cores, forward and backward take half the time of a matrix product over unfolded windows.
        hidden_BE1T = hidden.transpose(1, 2).unsqueeze(2)
        span_B1 = batch.span_B.clamp(min=1)[:, None]
        # Positions are the places of a window's first tap; from the end of the text on, a window sees nothing of it.
        first_P = torch.arange(1 - max(self.widths), hidden.shape[1], device=hidden.device)
        closed_BP = torch.zeros(len(span_B1), len(first_P), device=hidden.device).masked_fill_(first_P >= span_B1, -math.inf)
        pooled = []
        for conv in self.convolutions:
            seen_BMP = conv(hidden_BE1T).squeeze(2)
            # Adding costs less than masked_fill, whose backward pass is one more pass over the positions.
            seen_BMP = seen_BMP + closed_BP[:, None, -seen_BMP.shape[2] :].to(seen_BMP.dtype)
            pooled.append(seen_BMP.amax(dim=2))
        return self.dropout(self.activation(torch.cat(pooled, dim=1)))

    @torch.no_grad()
    def after_step(self) -> None:
        """Keep the padding row at zero and the last layer inside `max_norm`."""
        self.embedding.weight[0].zero_()
        if self.max_norm is not None and type(self.head) is nn.Linear:
            self.head.weight.renorm_(p=2, dim=0, maxnorm=self.max_norm)


def _check(mode: str, vectors: str | None, unknown_range: float | None) -> None:
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
    if unknown_range is None and vectors is None:
        raise ConfigError("model.unknown_range: null takes the range from model.vectors, and there are none; give a number such as 0.25")


def _embedding_rows(
    vocab_size: int, vocabulary: tuple[str, ...], vectors: str | None, dim: int | None, unknown_range: float | None, random_unknown: bool
) -> Tensor:
    """(vocab_size, E): U(-a, a), overwritten by the vectors of the file; row 0 (padding) is zero, row 1 (unknown word) unless random."""
    found = None if vectors is None or vectors == IN_WEIGHTS else read_vectors(vectors, vocabulary, "model.vectors")
    if found is not None and dim not in (None, found.dim):
        raise ConfigError(
            f"model.dim: {dim} was asked for, but the vectors in '{vectors}' have {found.dim} numbers; set model.dim=null or {found.dim}"
        )
    if found is not None and len(found.ids) == 0:
        raise ConfigError(
            f"model.vectors: '{vectors}' has none of the {_words(vocabulary)} words of the training data; "
            "is it of the same language and letter case (features.lowercase)?"
        )
    # The same variance as the vectors': that of U(-a, a) is a^2 / 3.
    bound = unknown_range if unknown_range is not None else (0.25 if found is None else math.sqrt(3 * found.rows_VE.var(dtype=np.float64)))
    rows = torch.empty(vocab_size, found.dim if found is not None else dim or _DIM).uniform_(-bound, bound)
    # Where every train word is in the vocabulary, the unknown word is met in new texts only, and a random row of it would be noise.
    if not random_unknown:
        rows[1] = 0
    if found is not None:
        rows[torch.from_numpy(found.ids)] = torch.from_numpy(found.rows_VE)
        known, words = int((found.ids > 1).sum()), _words(vocabulary)
        _log.info(
            "vectors: %s of %s words (%.1f%%) found in %s, %d numbers each; the rest drawn from U(-%.3g, %.3g)",
            f"{known:,}", f"{words:,}", 100 * known / max(words, 1), vectors, found.dim, bound, bound,
        )  # fmt: skip
    rows[0] = 0
    return rows


def _words(vocabulary: tuple[str, ...]) -> int:
    """Words of the vocabulary; ids 0 and 1 are padding and unknown."""
    return max(len(vocabulary) - 2, 0)
