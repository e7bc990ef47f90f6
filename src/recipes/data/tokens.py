"""Texts as word ids: 0 padding, 1 unknown, then the words of train, then the hashed n-grams that occur in train.

L tokens of all rows together, N rows.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from recipes.data.encoder import Encoder
from recipes.data.facts import Needs
from recipes.data.features import Features
from recipes.data.stores import Arrays, BagStore, SequenceStore, Store
from recipes.errors import DataError

if TYPE_CHECKING:
    import polars as pl
    from typing_extensions import Self

    from recipes.data.text import Tokens

PADDING, UNKNOWN, WORDS = 0, 1, 2  # ids; words begin at WORDS


class TokenEncoder(Encoder):
    """A vocabulary, and what to do with words that it lacks.

    Sequences keep an unknown word as id 1, since its place counts. Bags leave it out, as fastText does, and so with n-grams whose bucket
    no train row filled: a row of the embedding table that was never trained is noise.
    """

    kind = "tokens"

    def __init__(self, features: Features, needs: Needs, words: list[str], buckets: np.ndarray, mean_length: float) -> None:
        self.features, self.needs, self.words, self.mean_length = features, needs, words, mean_length
        self.buckets = buckets  # (M,) int64 hash buckets that occur in train, ascending: their ids follow the words

    @classmethod
    def fit(cls, data: pl.Series, features: Features, needs: Needs, rows: np.ndarray | None = None) -> tuple[Self, Store, list[str]]:
        from recipes.data.text import tokenize

        tokens = tokenize(data, features)
        counts = np.bincount(tokens.codes, minlength=len(tokens.types))
        order = np.argsort(-counts, kind="stable")  # of equal counts the first in code point order
        order = order[counts[order] >= features.min_count][: features.max_vocab]
        if not len(order):
            raise DataError(
                f"train: no word occurs {features.min_count} times or more in {len(tokens.lengths)} texts, so nothing can be learnt\n"
                f"  lower features.min_count, or check that the text column holds text"
            )
        encoder = cls(features, needs, tokens.types.gather(order).to_list(), np.empty(0, np.int64), len(tokens.codes) / len(tokens.lengths))
        grams = encoder._ngrams(tokens)
        if grams is not None:
            encoder.buckets = np.flatnonzero(np.bincount(grams[grams >= 0], minlength=1))
        return encoder, encoder._store(tokens, grams), tokens.notes("train", features)

    def store(self, data: pl.Series, name: str = "predict", rows: np.ndarray | None = None) -> tuple[Store, list[str]]:
        from recipes.data.text import tokenize

        tokens = tokenize(data, self.features)
        return self._store(tokens, self._ngrams(tokens)), tokens.notes(name, self.features)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        return ("", "<unk>", *self.words)

    def facts(self) -> dict[str, Any]:
        return {"vocab_size": WORDS + len(self.words) + len(self.buckets), "vocabulary": self.vocabulary}

    def describe(self) -> str:
        text = f"{self.features.tokenizer}, {len(self.words) + WORDS:,} ids"
        if self.needs.word_ngrams > 1:
            text += f" and {len(self.buckets):,} hashed {self.needs.word_ngrams}-grams"
        return f"{text}, {self.mean_length:.1f} tokens a row"

    def state(self) -> tuple[dict[str, Any], Arrays]:
        settings = {
            "kind": self.kind,
            "features": asdict(self.features),
            "needs": asdict(self.needs),
            "mean_length": self.mean_length,
            "words": self.words,
        }
        return settings, {"buckets": self.buckets}

    @classmethod
    def from_state(cls, settings: dict[str, Any], arrays: Arrays) -> Self:
        return cls(
            Features(**settings["features"]), Needs(**settings["needs"]), settings["words"], arrays["buckets"], settings["mean_length"]
        )

    def _ngrams(self, tokens: Tokens) -> np.ndarray | None:
        if self.needs.form == "sequence" or self.needs.word_ngrams < 2:
            return None
        from recipes.data.ngrams import hash_ngrams

        return hash_ngrams(tokens, self.needs.word_ngrams, self.needs.buckets)

    def _store(self, tokens: Tokens, grams: np.ndarray | None) -> Store:
        ids, columns = self._lookup(tokens)[tokens.codes], len(self.words) + WORDS
        if self.needs.form == "sequence":
            return SequenceStore(np.append(ids, np.int32(PADDING)), tokens.lengths, columns)
        known = ids != UNKNOWN
        ids, lengths = ids[known], _count(known, tokens.lengths)
        if grams is not None:
            from recipes.data.ngrams import merge_rows

            # One more place than buckets, so that -1 (no n-gram begins here) finds -1 as well.
            table = np.full(self.needs.buckets + 1, -1, np.int32)
            table[self.buckets] = np.arange(columns, columns + len(self.buckets), dtype=np.int32)
            rows = table[grams]
            seen = rows >= 0
            ids, lengths = merge_rows(ids, lengths, rows[seen], _count(seen.sum(1), tokens.lengths))
        return BagStore(ids, lengths, columns)

    def _lookup(self, tokens: Tokens) -> np.ndarray:
        """(V,) int32 id of each distinct token."""
        import polars as pl

        words = pl.Series(self.words, dtype=pl.String)
        ids = pl.Series(np.arange(WORDS, WORDS + len(words), dtype=np.int32))
        return tokens.types.replace_strict(words, ids, default=UNKNOWN, return_dtype=pl.Int32).to_numpy()


def _count(marks: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """(N,) int64 sum of `marks`, one for each token, over each row."""
    ends = np.cumsum(lengths)
    total = np.concatenate([[0], np.cumsum(marks, dtype=np.int64)])
    return total[ends] - total[ends - lengths]
