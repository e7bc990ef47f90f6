"""Synonyms of the words of a vocabulary, drawn for whole batches at once.

V vocabulary, P pairs of a word and a synonym of it.
"""

from __future__ import annotations

import logging
from typing import Literal

import numpy as np
from torch import Tensor

from recipes.augmentation.lexicon import lexicon_pairs, vector_pairs
from recipes.augmentation.tensors import Constant, pick
from recipes.augmentation.words import exchangeable_words, stop_words
from recipes.errors import ConfigError

logger = logging.getLogger(__name__)


class Thesaurus:
    """Flat synonyms, and where those of each word begin. pairs: (P, 2) int64 ids, repetitions and a word's own name are left out."""

    def __init__(self, pairs: np.ndarray, vocab_size: int) -> None:
        pairs = np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)
        sizes_V = np.bincount(pairs[:, 0], minlength=vocab_size)
        self.words = int((sizes_V > 0).sum())
        self._sizes_V, self._starts_V = Constant(sizes_V), Constant(np.cumsum(sizes_V) - sizes_V)
        self._synonyms = Constant(np.append(pairs[:, 1], 0))  # one more, so that words without any may look somewhere

    def knows(self, words: Tensor) -> Tensor:
        """Whether a word has synonyms: bool, in the shape of `words`."""
        return self._sizes_V.on(words.device)[words] > 0

    def draw(self, words: Tensor, u: Tensor) -> Tensor:
        """A synonym of each word, all of them equally likely, from draws of U[0, 1); anything for a word that has none."""
        device = words.device
        place = self._starts_V.on(device)[words] + pick(u, self._sizes_V.on(device)[words])
        return self._synonyms.on(device)[place]


def make_thesaurus(
    option: str,
    vocabulary: tuple[str, ...],
    lexicon: str | None,
    vectors: str | None,
    neighbors: int,
    min_similarity: float,
    stop: Literal["english", "none"],
    protected: list[str],
) -> Thesaurus:
    """Synonyms of a lexicon, of vectors, or of both, for the words that are neither stop words nor protected.

    A protected word is no synonym either. Raises ConfigError where neither source is given, or none of the words has a synonym.
    """
    if lexicon is None and vectors is None:
        raise ConfigError(
            f"augment={option}: synonyms are needed, and there is no source of them; add augment.lexicon=<path of lines "
            "`word<TAB>synonym, synonym`> or augment.vectors=<path of a .vec or .txt file>, or choose augment=random_deletion"
        )
    allowed_V = exchangeable_words(vocabulary, protected)
    pairs = []
    if lexicon is not None:
        pairs.append(lexicon_pairs(lexicon, vocabulary, "augment.lexicon"))
    if vectors is not None:
        pairs.append(vector_pairs(vectors, vocabulary, allowed_V, neighbors, min_similarity, "augment.vectors"))
    both = np.concatenate(pairs)
    replaced_V = allowed_V & ~stop_words(vocabulary) if stop == "english" else allowed_V
    thesaurus = Thesaurus(both[replaced_V[both[:, 0]] & allowed_V[both[:, 1]]], len(vocabulary))
    words = max(len(vocabulary) - 2, 0)
    source = " and ".join(str(path) for path in (lexicon, vectors) if path is not None)
    if thesaurus.words == 0:
        raise ConfigError(
            f"augment={option}: {source} gives none of the {words:,} words of the training data a synonym that is among them; "
            "is it of the same language" + ("?" if vectors is None else f", and augment.min_similarity={min_similarity:g} not too high?")
        )
    logger.info(
        "augment: %s of %s words (%.1f%%) have synonyms in %s", f"{thesaurus.words:,}", f"{words:,}", 100 * thesaurus.words / words, source
    )
    return thesaurus
