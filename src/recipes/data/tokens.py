"""Texts as word ids: 0 padding, 1 unknown, then the words of train, then the hashed n-grams that occur in train.

L tokens of all rows together, N rows.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from recipes.data import tokenizers
from recipes.data.chunks import in_threads
from recipes.data.encoder import Encoder, Limit
from recipes.data.facts import Needs
from recipes.data.features import Features
from recipes.data.ngrams import END, char_ngrams, expand, groups, hash_ngrams, merge_rows
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
        encoder = cls(features, needs, [], np.empty(0, np.int64), 0.0)
        tokens = encoder._cut(data)
        encoder.mean_length = len(tokens.codes) / len(tokens.lengths)
        tokens = encoder._ended(tokens)
        counts = np.zeros(len(tokens.types), np.int64)
        for _, place in groups(tokens.lengths):  # NumPy counts in 64 bits: of all codes at once that would be a copy twice their size
            counts += np.bincount(tokens.codes[place], minlength=len(counts))
        order = np.argsort(-counts, kind="stable")  # of equal counts the first in code point order
        order = order[counts[order] >= features.min_count][: features.max_vocab]
        if not len(order):
            raise DataError(
                f"train: no word occurs {features.min_count} times or more in {len(tokens.lengths)} texts, so nothing can be learnt\n"
                f"  lower features.min_count, or check that the text column holds text"
            )
        encoder.words = tokens.types.gather(order).to_list()
        grams = _Grams.of(tokens, needs)
        encoder.buckets = grams.filled(needs.buckets)
        return encoder, encoder._store(tokens, grams), encoder._limit.notes("train", tokens.cut)

    def store(self, data: pl.Series, name: str = "predict", rows: np.ndarray | None = None) -> tuple[Store, list[str]]:
        tokens = self._ended(self._cut(data))
        return self._store(tokens, _Grams.of(tokens, self.needs)), self._limit.notes(name, tokens.cut)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        return ("", "<unk>", *self.words)

    def facts(self) -> dict[str, Any]:
        return {"vocab_size": WORDS + len(self.words) + len(self.buckets), "vocabulary": self.vocabulary}

    def describe(self) -> str:
        text = f"{tokenizers.describe(self.features.tokenizer)}, {len(self.words) + WORDS:,} ids"
        if len(self.buckets):
            kinds = [f"{self.needs.word_ngrams}-grams"] * (self.needs.word_ngrams > 1)
            kinds += [f"{self.needs.minn}- to {self.needs.maxn}-grams of characters"] * (self.needs.maxn > 0)
            text += f" and {len(self.buckets):,} hashed {' and '.join(kinds)}"
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

    @property
    def _limit(self) -> Limit:
        return Limit.of(self.features, self.needs)

    def _cut(self, data: pl.Series) -> Tokens:
        from recipes.data.text import tokenize

        return tokenize(data, replace(self.features, max_length=self._limit.most))

    def _ended(self, tokens: Tokens) -> Tokens:
        return tokens.ended(END) if self.needs.end else tokens

    def _store(self, tokens: Tokens, grams: _Grams) -> Store:
        table, columns = self._lookup(tokens), len(self.words) + WORDS
        if self.needs.form == "sequence":
            return SequenceStore(np.append(table[tokens.codes], np.int32(PADDING)), tokens.lengths, columns)
        # One more place than buckets, so that -1 (no n-gram begins here) finds -1 as well.
        rows = np.full(self.needs.buckets + 1, -1, np.int32)
        rows[self.buckets] = np.arange(columns, columns + len(self.buckets), dtype=np.int32)
        chars = None if grams.chars is None else rows[grams.chars]
        parts = in_threads(lambda group: self._bags(tokens, grams, *group, table, rows, chars), groups(tokens.lengths))
        ids, lengths = ([np.empty(0, np.int32)], [np.empty(0, np.int64)]) if not parts else zip(*parts, strict=True)
        return BagStore(np.concatenate(ids), np.concatenate(lengths), columns)

    def _bags(
        self, tokens: Tokens, grams: _Grams, texts: slice, place: slice, table: np.ndarray, rows: np.ndarray, chars: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ids of some texts and their number in each: known words, then the n-grams that train has."""
        codes, lengths = tokens.codes[place], tokens.lengths[texts]
        ids = table[codes]
        ids, counts = _kept(ids, ids != UNKNOWN, lengths)
        if chars is not None:
            found, sizes = expand(codes, chars, grams.char_sizes)
            ids, counts = merge_rows(ids, counts, *_kept(found, found >= 0, _count(sizes, lengths)))
        if grams.words is not None:
            found = rows[grams.words[place]]
            ids, counts = merge_rows(ids, counts, *_kept(found.ravel(), found.ravel() >= 0, lengths * found.shape[1]))
        return ids, counts

    def _lookup(self, tokens: Tokens) -> np.ndarray:
        """(V,) int32 id of each distinct token."""
        import polars as pl

        words = pl.Series(self.words, dtype=pl.String)
        ids = pl.Series(np.arange(WORDS, WORDS + len(words), dtype=np.int32))
        return tokens.types.replace_strict(words, ids, default=UNKNOWN, return_dtype=pl.Int32).to_numpy()

    def tokens(self, data: pl.Series) -> list[list[str]]:
        """The tokens of each text in its order, words that the vocabulary lacks included: as many as a sequence has ids."""
        tokens = self._cut(data)
        words, ends = tokens.types.gather(tokens.codes).to_list(), np.cumsum(tokens.lengths)
        return [words[end - length : end] for end, length in zip(ends.tolist(), tokens.lengths.tolist(), strict=True)]


@dataclass
class _Grams:
    """Hash buckets of the n-grams of some texts."""

    words: np.ndarray | None = None  # (L, order - 1) int32 by first token, -1 where there is none
    chars: np.ndarray | None = None  # int32, of one distinct token after another
    char_sizes: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))  # (V,) how many each has

    @classmethod
    def of(cls, tokens: Tokens, needs: Needs) -> _Grams:
        grams = cls()
        if needs.form == "bag" and needs.word_ngrams > 1:
            grams.words = hash_ngrams(tokens, needs.word_ngrams, needs.buckets)
        if needs.form == "bag" and needs.maxn > 0:
            grams.chars, grams.char_sizes = char_ngrams(tokens.types.to_list(), needs.minn, needs.maxn, needs.buckets)
        return grams

    def filled(self, buckets: int) -> np.ndarray:
        """int64 buckets in which there is an n-gram, ascending."""
        seen = np.zeros(buckets + 1, dtype=bool)  # -1 is no bucket, and finds the last place
        for found in (self.words, self.chars):
            for part in () if found is None else np.array_split(found, len(found) // 2**20 + 1):
                seen[part] = True
        return np.flatnonzero(seen[:buckets])


def _kept(values: np.ndarray, keep: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values that are kept, and how many of each row: `lengths` says how many there are."""
    return values[keep], _count(keep, lengths)


def _count(marks: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """(N,) int64 sum of `marks` over each row, which has `lengths` of them."""
    ends = np.cumsum(lengths)
    total = np.concatenate([[0], np.cumsum(marks, dtype=np.int64)])
    return total[ends] - total[ends - lengths]
