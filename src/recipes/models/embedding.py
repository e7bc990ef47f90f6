"""Word vectors as the sequence models share them: drawn, or read from a file; trained, fixed, or fixed until some step.

V vocabulary, E embedding.
"""

from __future__ import annotations

import logging
import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from recipes.config.duration import Duration
from recipes.data.vectors import Vectors, read_vectors
from recipes.errors import ConfigError

IN_WEIGHTS = "in the weights"  # what a saved model names instead of a file that its machine may not have

UnknownWord = Literal["zero", "random"]
Sparse = Literal["auto"] | bool

_log = logging.getLogger(__name__)


class WordEmbedding(nn.Embedding):
    """A table of word vectors, in which row 0 is padding and stays zero.

    vectors: a file of pretrained vectors; its rows replace those that are drawn from U(-a, a), as Kim (2014) does. dim: numbers a word;
    None: those of the file, or `default_dim`. unknown_range: a; None: the a with which the drawn rows have the variance of the file's.
    unknown_word: where the vector of words outside the vocabulary begins.
    freeze: the table is not trained; with `unfreeze`, not before that point of training, and without decay or moments until then.
    sparse: whether the gradient holds only the rows of the batch. `auto` leaves that to `make_optimizer`, which chooses it where the
    updates are the same; beside Adam, true means that a word's moments stand still while it is not met (torch's SparseAdam).

    Raises ConfigError where the settings contradict each other or the file, and where the file has no word of the vocabulary.
    """

    def __init__(
        self,
        vocab_size: int,
        vocabulary: tuple[str, ...],
        *,
        vectors: str | None = None,
        dim: int | None = None,
        unknown_range: float | None = 0.25,
        unknown_word: UnknownWord = "zero",
        freeze: bool = False,
        unfreeze: Duration | str | None = None,
        sparse: Sparse = "auto",
        default_dim: int = 128,
    ) -> None:
        _check(vectors, unknown_range, freeze, unfreeze, sparse)
        rows_VE = _rows(vocab_size, vocabulary, vectors, dim or default_dim, unknown_range, unknown_word == "random", asked=dim is not None)
        rows, width = rows_VE.shape
        super().__init__(rows, width, padding_idx=0, sparse=sparse is True, _weight=rows_VE)
        self.sparse_where_exact = sparse == "auto"
        self.unfreeze = None if unfreeze is None else _duration(unfreeze)
        # Rows that are to be trained later must be among those that the optimizer is given.
        self.weight.requires_grad_(not freeze or self.unfreeze is not None)

    def before_step(self, step: int, steps_per_epoch: int, total_steps: int) -> None:
        """Fix or free the table, as of the step that comes: a function of the step alone, so that a resumed run does the same."""
        if self.unfreeze is None:
            return
        free = step >= self.unfreeze.steps(steps_per_epoch, total_steps)
        if free and not self.weight.requires_grad:
            _log.info("model.unfreeze: the word vectors are trained from step %s on", f"{step:,}")
        self.weight.requires_grad_(free)

    @torch.no_grad()
    def after_step(self) -> None:
        """Keep the padding row at zero, whatever the optimizer did to it."""
        self.weight[0].zero_()


def _check(vectors: str | None, unknown_range: float | None, freeze: bool, unfreeze: Duration | str | None, sparse: Sparse) -> None:
    if freeze and vectors is None:
        raise ConfigError(
            "model.freeze: it keeps pretrained vectors as they are, and no file is given; "
            "add model.vectors=<path of a .vec or .txt file>, or use model.freeze=false"
        )
    if unfreeze is not None and not freeze:
        raise ConfigError(f"model.unfreeze: '{unfreeze}' frees what model.freeze fixes, and nothing is; add model.freeze=true")
    if sparse is True and freeze and unfreeze is None:
        raise ConfigError("model.sparse: true is about the gradient of the word vectors, and they are not trained; use model.sparse=auto")
    if unknown_range is None and vectors is None:
        raise ConfigError("model.unknown_range: null takes the range from model.vectors, and there are none; give a number such as 0.25")


def _duration(text: Duration | str) -> Duration:
    try:
        return Duration.parse(text)
    except ConfigError as error:
        raise ConfigError(f"model.unfreeze: {error}") from error


def _rows(
    vocab_size: int,
    vocabulary: tuple[str, ...],
    vectors: str | None,
    dim: int,
    unknown_range: float | None,
    random_unknown: bool,
    asked: bool,
) -> Tensor:
    """(V, E): U(-a, a), overwritten by the vectors of the file; row 0 (padding) is zero, row 1 (unknown word) unless random.

    asked: whether the user named `dim`, which the file must then have.
    """
    found = None if vectors is None or vectors == IN_WEIGHTS else _found(vectors, vocabulary)
    if found is not None and asked and dim != found.dim:
        raise ConfigError(
            f"model.dim: {dim} was asked for, but the vectors in '{vectors}' have {found.dim} numbers; set model.dim=null or {found.dim}"
        )
    # The same variance as the vectors': that of U(-a, a) is a^2 / 3.
    bound = unknown_range if unknown_range is not None else (0.25 if found is None else math.sqrt(3 * found.rows_VE.var(dtype=np.float64)))
    rows_VE = torch.empty(vocab_size, dim if found is None else found.dim).uniform_(-bound, bound)
    # Where every train word is in the vocabulary, the unknown word is met in new texts only, and a random row of it would be noise.
    if not random_unknown:
        rows_VE[1] = 0
    if found is not None:
        _fill(rows_VE, found, vocabulary, f"{vectors}", bound)
    rows_VE[0] = 0
    return rows_VE


def fill_from_file(rows_VE: Tensor, vocabulary: tuple[str, ...], vectors: str, bound: float) -> None:
    """Overwrite the rows of the words that a file has vectors of. Raises ConfigError where these have another length, or there are none.

    bound: the a of U(-a, a) from which the other rows were drawn, for the message.
    """
    found, dim = _found(vectors, vocabulary), rows_VE.shape[1]
    if found.dim != dim:
        raise ConfigError(
            f"model.dim: the model has {dim} numbers a word, and the vectors in '{vectors}' have {found.dim}; set model.dim={found.dim}"
        )
    _fill(rows_VE, found, vocabulary, vectors, bound)


def _found(vectors: str, vocabulary: tuple[str, ...]) -> Vectors:
    found = read_vectors(vectors, vocabulary, "model.vectors")
    if len(found.ids) == 0 and vectors.endswith(".bin"):
        raise ConfigError(
            f"model.vectors: '{vectors}' looks like fastText's binary form, and vectors are read as text; "
            "give the .vec file that lies beside it, or write one: python scripts/vectors.py run=<.bin> output=words.vec"
        )
    if len(found.ids) == 0:
        raise ConfigError(
            f"model.vectors: '{vectors}' has none of the {_words(vocabulary)} words of the training data; "
            "is it of the same language and letter case (features.lowercase)?"
        )
    return found


def _fill(rows_VE: Tensor, found: Vectors, vocabulary: tuple[str, ...], vectors: str, bound: float) -> None:
    rows_VE[torch.from_numpy(found.ids)] = torch.from_numpy(found.rows_VE)
    known, words = int((found.ids > 1).sum()), _words(vocabulary)
    _log.info(
        "vectors: %s of %s words (%.1f%%) found in %s, %d numbers each; the rest drawn from U(-%.3g, %.3g)",
        f"{known:,}", f"{words:,}", 100 * known / max(words, 1), vectors, found.dim, bound, bound,
    )  # fmt: skip


def _words(vocabulary: tuple[str, ...]) -> int:
    """Words of the vocabulary; ids 0 and 1 are padding and unknown."""
    return max(len(vocabulary) - 2, 0)
