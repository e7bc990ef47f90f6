"""`vectors`: the word vectors of a trained model as a text file that fastText, word2vec and `model.vectors` read.

V words, E embedding, R rows of the table.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recipes.data.ngrams import char_ngrams, merge_rows
from recipes.data.tokens import WORDS, TokenEncoder
from recipes.data.vectors import is_writable, write_vectors
from recipes.errors import ConfigError, DataError
from recipes.inference import Predictor

_SHOWN = 5
_CHUNK = 20_000  # words whose character n-grams are listed at a time


def vectors(run: str, output: str, trust: str = "") -> None:
    """Write the vector of each word of a model to `output`: a run directory's, or a fastText `.bin`'s.

    `trust` are further packages that the model's class may come from. Words with blanks in them, which such a file cannot hold, are left
    out and named. Raises ConfigError for a model without word vectors, and DataError for a place that cannot be written.
    """
    path = Path(output).expanduser()
    if not path.parent.is_dir():
        raise DataError(f"output: there is no directory {path.parent}")
    predictor = Predictor.load(run, trust=[name.strip() for name in trust.strip("[]").split(",") if name.strip()])
    words, rows_VE = word_vectors(predictor)
    fit = [is_writable(word) for word in words]
    if unfit := [word for word, good in zip(words, fit, strict=True) if not good]:
        shown = ", ".join(repr(word) for word in unfit[:_SHOWN]) + (", ..." if len(unfit) > _SHOWN else "")
        print(f"note: left out, since a blank ends a word in such a file: {shown} ({len(unfit):,} of {len(words):,} words)")  # noqa: T201
        words, rows_VE = [word for word, good in zip(words, fit, strict=True) if good], rows_VE[np.array(fit)]
    write_vectors(path, words, rows_VE)
    print(f"{len(words):,} words with {rows_VE.shape[1]} numbers each: {path}")  # noqa: T201


def word_vectors(predictor: Predictor) -> tuple[list[str], np.ndarray]:
    """The words of a model, and their vectors, (V, E) float32.

    The embedding's rows; where the model has n-grams of characters the mean of a word's row and those of its n-grams, as fastText's
    `getWordVector` has it. Of a textcnn with two channels, the one that was trained. Raises ConfigError for a model that has none.
    """
    encoder, table = predictor.encoder, getattr(predictor.model, "embedding", None)
    if not isinstance(encoder, TokenEncoder) or not isinstance(table, nn.Embedding | nn.EmbeddingBag):
        raise ConfigError(
            f"run: {type(predictor.model).__name__} has no vectors of words; train a model that has: model=fasttext, textcnn, textrnn, ..."
        )
    rows_RE = table.weight.detach()
    if encoder.needs.form == "bag" and encoder.needs.maxn > 0:
        return encoder.words, _with_characters(encoder, rows_RE)
    return encoder.words, rows_RE[WORDS : WORDS + len(encoder.words)].numpy()


def _with_characters(encoder: TokenEncoder, rows_RE: Tensor) -> np.ndarray:
    """(V, E): the mean of each word's row and the rows of its character n-grams."""
    words, needs = encoder.words, encoder.needs
    row_of = np.full(needs.buckets, -1, np.int64)
    row_of[encoder.buckets] = np.arange(len(encoder.buckets)) + WORDS + len(words)
    parts = []
    for start in range(0, len(words), _CHUNK):
        chunk = words[start : start + _CHUNK]
        grams, sizes = char_ngrams(chunk, needs.minn, needs.maxn, needs.buckets)
        found, word_of = row_of[grams], np.repeat(np.arange(len(chunk)), sizes)
        counts = np.bincount(word_of[found >= 0], minlength=len(chunk))
        own = np.arange(start, start + len(chunk)) + WORDS
        ids, lengths = merge_rows(own, np.ones(len(chunk), np.int64), found[found >= 0], counts)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        parts.append(F.embedding_bag(torch.from_numpy(ids), rows_RE, torch.from_numpy(offsets), mode="mean", include_last_offset=True))
    return torch.cat(parts).numpy()
