"""HAN (Yang et al. 2016, "Hierarchical Attention Networks for Document Classification").

B batch, T tokens, E embedding, N sentences of the batch, W words of a sentence, S sentences of a text, H hidden of both directions,
L words of the batch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from recipes.config.duration import Duration
from recipes.config.types import Fraction, PositiveFloat, PositiveInt
from recipes.data.batch import Batch
from recipes.data.facts import Task
from recipes.models.attention import AttentionPool
from recipes.models.embedding import Sparse, UnknownWord, WordEmbedding
from recipes.models.heads import HeadKind
from recipes.models.init import BiasInit, Init
from recipes.models.recurrent import Recurrent
from recipes.models.sequence import Labels, SequenceModel, last_layer, open_words, spans

_ENDINGS = ".!?;\u2026\n\r\u3002\uff01\uff1f\uff1b\uff0e\u061f\u06d4\u0964"  # of Latin, Chinese, Arabic and Indic scripts
_BEHIND = "\"'\u201d\u2019\u00bb)]\u300d\u300f\uff09"  # what may follow the sign inside one token, where words are cut at blanks


class HAN(SequenceModel):
    """A bidirectional GRU and attention over the words of each sentence, then both over the sentences of the text, a linear layer.

    A sentence ends with a token that ends in a sign such as `.`, `!`, `?`, `;` or their kin in other scripts, or is a line break, and
    with the tokens behind it that are nothing but signs. `max_sentence` words are the longest: a text without signs is cut there. Of
    two texts that are mixed as word vectors, the ends of both count. Padding changes nothing. An empty text is one sentence of one zero
    vector.

    As published: word vectors of 200 numbers, 50 states of each direction on either level, hence context vectors of 100.
    dropout: of what the last layer reads; the paper has none.
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
        hidden: PositiveInt = 50,
        max_sentence: PositiveInt = 100,
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
            default_dim=200,
        )
        self.words = Recurrent("gru", self.embedding.embedding_dim, hidden)
        self.word_pool = AttentionPool(2 * hidden)
        self.sentences = Recurrent("gru", 2 * hidden, hidden)
        self.sentence_pool = AttentionPool(2 * hidden)
        self.dropout = nn.Dropout(dropout)
        self.max_sentence = max_sentence
        # On the host, whatever the device of the model: how many sentences there are decides the shapes of what follows.
        self._ends_V = torch.tensor([_ending(word) for word in vocabulary] + [0] * (vocab_size - len(vocabulary)), dtype=torch.int8)
        labels = Labels(num_classes, task, class_counts, train_rows)
        self.head = last_layer(self, 2 * hidden, labels, head, scale, init, bias_init)

    def encode(self, hidden: Tensor, batch: Batch) -> Tensor:
        """(B, H) from hidden_BTE. On CUDA it waits for the device, which has the tokens."""
        pooled_BH, _ = self._read(hidden, self._cut(batch))
        return self.dropout(pooled_BH)

    def attention(self, batch: Batch) -> Tensor:
        """(B, T) the weight of each word in its sentence times that of the sentence in the text."""
        hidden, found = self.embed(batch), self._cut(batch)
        _, weights_L = self._read(hidden, found)
        at_BT = weights_L.new_zeros(hidden.shape[:2]).index_put((found.row_L, found.time_L), weights_L)
        return at_BT * open_words(batch.span_B, hidden.shape[1])

    def _read(self, hidden: Tensor, found: Sentences) -> tuple[Tensor, Tensor]:
        """(B, H) and the weight of each word in its text, (L,)."""
        word_L, row_L = hidden[found.row_L, found.time_L], found.row_L
        words_NWE = hidden.new_zeros(len(found.words_N), found.longest, hidden.shape[2])
        words_NWE = words_NWE.index_put((found.sentence_L, found.place_L), word_L)
        states_NWH, _ = self.words(words_NWE, found.words_N)
        sentences_NH, words_NW = self.word_pool(states_NWH, open_words(found.words_N, found.longest))
        texts_BSH = sentences_NH.new_zeros(len(found.sentences_B), found.most, sentences_NH.shape[1])
        texts_BSH = texts_BSH.index_put((found.row_N, found.number_N), sentences_NH)
        states_BSH, _ = self.sentences(texts_BSH, found.sentences_B)
        pooled_BH, sentences_BS = self.sentence_pool(states_BSH, open_words(found.sentences_B, found.most))
        weights_L = words_NW[found.sentence_L, found.place_L] * sentences_BS[row_L, found.number_N[found.sentence_L]]
        return pooled_BH, weights_L

    def _cut(self, batch: Batch) -> Sentences:
        assert batch.tokens_BT is not None
        ends_BT = self._ends_V[batch.tokens_BT.cpu()]
        if batch.partner is not None:
            assert batch.partner.tokens_BT is not None
            assert batch.mix_B2 is not None
            ends_BT = ends_BT.maximum(self._ends_V[batch.partner.tokens_BT.cpu()] * (batch.mix_B2[:, 1:] != 0).cpu())
        return cut(ends_BT, spans(batch).cpu(), self.max_sentence).to(batch.tokens_BT.device)


class Sentences(NamedTuple):
    """Where the sentences of a batch lie."""

    row_L: Tensor  # (L,) int64 text of each word
    time_L: Tensor  # (L,) its place in the text
    sentence_L: Tensor  # (L,) its sentence, counted over the batch
    place_L: Tensor  # (L,) its place in the sentence
    row_N: Tensor  # (N,) text of each sentence
    number_N: Tensor  # (N,) its number in the text
    words_N: Tensor  # (N,) words of each sentence
    sentences_B: Tensor  # (B,) sentences of each text
    longest: int  # words of the longest sentence
    most: int  # sentences of the text that has most

    def to(self, device: torch.device) -> Sentences:
        """The same on another device, without waiting for it."""
        return Sentences(*(t.to(device, non_blocking=True) if isinstance(t, Tensor) else t for t in self))  # type: ignore[arg-type]


def cut(ends_BT: Tensor, span_B: Tensor, max_sentence: int) -> Sentences:
    """The sentences of texts. ends_BT: int8 `_ending` of each token; span_B: (B,) words of each text, at least one."""
    steps_T = torch.arange(ends_BT.shape[1])
    open_BT = steps_T < span_B[:, None]
    ends_BT = ends_BT * open_BT
    starts_BT = functional.pad((ends_BT > 0) & (functional.pad(ends_BT[:, 1:], (0, 1)) < 2), (1, -1))
    starts_BT[:, 0] = True
    starts_BT |= (steps_T - _since(starts_BT)) % max_sentence == 0
    place_BT, number_BT = steps_T - _since(starts_BT), starts_BT.cumsum(1) - 1
    sentences_B = (starts_BT & open_BT).sum(1)
    first_B = sentences_B.cumsum(0) - sentences_B
    row_L, time_L = open_BT.nonzero(as_tuple=True)
    row_N, start_N = (starts_BT & open_BT).nonzero(as_tuple=True)
    sentence_L = (number_BT + first_B[:, None])[open_BT]
    words_N = torch.bincount(sentence_L)
    sizes = words_N, sentences_B, int(words_N.max()), int(sentences_B.max())
    return Sentences(row_L, time_L, sentence_L, place_BT[open_BT], row_N, number_BT[row_N, start_N], *sizes)


def _since(starts_BT: Tensor) -> Tensor:
    """(B, T) where the sentence of each position began."""
    steps_T = torch.arange(starts_BT.shape[1])
    return torch.where(starts_BT, steps_T, 0).cummax(1).values


def _ending(word: str) -> int:
    """2 for a token of nothing but signs that end a sentence, 1 for one that ends in such a sign, 0 for others."""
    if word and not word.strip(_ENDINGS):
        return 2
    return int(word.rstrip(_BEHIND)[-1:] in tuple(_ENDINGS))
