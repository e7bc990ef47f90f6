"""TF-IDF of real word n-grams, so that dense models read text.

L tokens of all rows together, N rows, V words, F terms.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from recipes.data import tokenizers
from recipes.data.encoder import Encoder, Limit
from recipes.data.facts import Needs
from recipes.data.features import Features
from recipes.data.stores import Arrays, BagStore, Store
from recipes.errors import DataError

if TYPE_CHECKING:
    import polars as pl
    from typing_extensions import Self

    from recipes.data.text import Tokens


class TfidfEncoder(Encoder):
    """Terms of 1 to `tfidf_ngrams` words, each weighted by tf * (ln((1 + n) / (1 + df)) + 1), rows of unit length.

    tf is 1 + ln(count), or the count; n the train texts and df those that hold the term: scikit-learn's TfidfVectorizer on the same
    tokens. An n-gram is a pair (n-gram that is one shorter, last word), so that no string is built for it.
    """

    kind = "tfidf"

    def __init__(self, features: Features, words: list[str], arrays: Arrays, mean_terms: float) -> None:
        self.features, self.words, self.mean_terms = features, words, mean_terms
        # terms_<n>: ascending keys, prefix * V + last word, of the n-grams in enough train texts. columns: the column of each term of
        # 1 word, then of 2, ..., or -1 where tfidf_max_features left it out. idf: (F,) float64.
        self.arrays = arrays

    @classmethod
    def fit(cls, data: pl.Series, features: Features, needs: Needs, rows: np.ndarray | None = None) -> tuple[Self, Store, list[str]]:
        from recipes.data.text import tokenize

        tokens = tokenize(data, features)
        text_L = tokens.rows
        kept, df, terms = _frequent(tokens.codes.astype(np.int64), text_L, features.tfidf_min_df)
        words, arrays, dfs = tokens.types.gather(kept).to_list(), {}, [df]
        found = [terms]
        for n in range(2, features.tfidf_ngrams + 1):
            keys = _keys(found[-1], found[0], n, tokens, len(words))
            arrays[f"terms_{n}"], df, terms = _frequent(keys, text_L, features.tfidf_min_df)
            dfs.append(df)
            found.append(terms)
        document_frequency = np.concatenate(dfs)
        total = len(document_frequency)
        if not total:
            raise DataError(
                f"train: no term stands in {features.tfidf_min_df} of the {len(tokens.lengths)} texts, so there is nothing to learn from\n"
                f"  lower features.tfidf_min_df, or check that the text column holds text"
            )
        columns = np.arange(total, dtype=np.int32)
        if features.tfidf_max_features is not None and features.tfidf_max_features < total:
            counts = np.concatenate([np.bincount(t[t >= 0], minlength=len(d)) for t, d in zip(found, dfs, strict=True)])
            best = np.sort(np.argsort(-counts, kind="stable")[: features.tfidf_max_features])
            columns = np.full(total, -1, np.int32)
            columns[best] = np.arange(len(best), dtype=np.int32)
            document_frequency = document_frequency[best]
        arrays |= {"columns": columns, "idf": np.log((1 + len(tokens.lengths)) / (1 + document_frequency)) + 1}
        encoder = cls(features, words, arrays, 0.0)
        store = encoder._weigh(found, tokens)
        encoder.mean_terms = len(store.tensors["ids"]) / len(store)
        return encoder, store, Limit.of(features).notes("train", tokens.cut)

    def store(self, data: pl.Series, name: str = "predict", rows: np.ndarray | None = None) -> tuple[Store, list[str]]:
        import polars as pl

        from recipes.data.text import tokenize

        tokens = tokenize(data, self.features)
        found = [_lookup(pl.Series(self.words, dtype=pl.String), tokens.types)[tokens.codes]]
        for n in range(2, self.features.tfidf_ngrams + 1):
            keys = _keys(found[-1], found[0], n, tokens, len(self.words))
            found.append(_lookup(pl.Series(self.arrays[f"terms_{n}"]), pl.Series(keys)))
        return self._weigh(found, tokens), Limit.of(self.features).notes(name, tokens.cut)

    def facts(self) -> dict[str, Any]:
        return {"num_features": len(self.arrays["idf"]), "sparse_features": True}

    def describe(self) -> str:
        reach = f"1-{self.features.tfidf_ngrams}-grams" if self.features.tfidf_ngrams > 1 else "words"
        rule = tokenizers.describe(self.features.tokenizer)
        return f"TF-IDF of {rule} {reach}, {len(self.arrays['idf']):,} terms, {self.mean_terms:.1f} a row"

    def state(self) -> tuple[dict[str, Any], Arrays]:
        settings = {"kind": self.kind, "features": asdict(self.features), "mean_terms": self.mean_terms, "words": self.words}
        return settings, self.arrays

    @classmethod
    def from_state(cls, settings: dict[str, Any], arrays: Arrays) -> Self:
        return cls(Features(**settings["features"]), settings["words"], arrays, settings["mean_terms"])

    def _weigh(self, found: list[np.ndarray], tokens: Tokens) -> BagStore:
        """Count the columns of each row, weigh them and scale each row to length 1."""
        idf, columns, text_L, base, keys = self.arrays["idf"], self.arrays["columns"], tokens.rows, 0, []
        sizes = [len(self.words), *(len(self.arrays[f"terms_{n}"]) for n in range(2, len(found) + 1))]
        for terms, size in zip(found, sizes, strict=True):
            known = terms >= 0
            column = columns[base + terms[known]].astype(np.int64)
            keys.append((text_L[known] * len(idf) + column)[column >= 0])
            base += size
        ordered = np.sort(np.concatenate(keys))
        first = np.flatnonzero(np.diff(ordered, prepend=-1))
        counts = np.diff(first, append=len(ordered))
        row, column = np.divmod(ordered[first], len(idf))
        values = (1 + np.log(counts) if self.features.tfidf_sublinear else counts) * idf[column]
        norms = np.sqrt(np.bincount(row, weights=values * values, minlength=len(tokens.lengths)))
        lengths = np.bincount(row, minlength=len(tokens.lengths))
        return BagStore(column.astype(np.int32), lengths, len(idf), (values / norms[row]).astype(np.float32))


def _keys(prefix_L: np.ndarray, word_L: np.ndarray, n: int, tokens: Tokens, words: int) -> np.ndarray:
    """(L,) int64 key of the n-gram that begins at each token, from its first n - 1 words and its last one; -1 where either is unknown."""
    keys = np.full(len(prefix_L), -1, np.int64)
    inside = max(0, len(prefix_L) - n + 1)
    prefix, last = prefix_L[:inside].astype(np.int64), word_L[n - 1 :]
    whole = (prefix >= 0) & (last >= 0) & (np.arange(inside) + n <= tokens.ends[:inside])
    keys[:inside] = np.where(whole, prefix * words + last, -1)
    return keys


def _frequent(keys: np.ndarray, text_L: np.ndarray, least: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The keys in at least so many texts, ascending; in how many each is; and for each token the place of its key among them, or -1."""
    import polars as pl

    series = pl.Series(keys)
    distinct = series.unique().sort()
    place_L = _lookup(distinct, series).astype(np.int64)
    # Sorted, the pairs (place, text) show each text once: much cheaper than grouping by two columns.
    texts = int(text_L[-1]) + 1 if len(text_L) else 1
    pairs = np.sort(place_L * texts + text_L)
    df = np.bincount(pairs[np.diff(pairs, prepend=-1) != 0] // texts, minlength=len(distinct))
    kept = (df >= least) & (distinct.to_numpy() >= 0)
    renumbered = np.where(kept, np.cumsum(kept) - 1, -1).astype(np.int32)
    return distinct.to_numpy()[kept], df[kept], renumbered[place_L]


def _lookup(known: pl.Series, wanted: pl.Series) -> np.ndarray:
    """int32 place of each wanted value among the known ones, -1 where it is not there."""
    import polars as pl

    places = pl.Series(np.arange(len(known), dtype=np.int32))
    return wanted.replace_strict(known, places, default=-1, return_dtype=pl.Int32).to_numpy()
