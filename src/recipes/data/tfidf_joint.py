"""TF-IDF of words and of characters side by side. N rows, F terms."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from recipes.data.encoder import Encoder
from recipes.data.facts import Needs
from recipes.data.features import Features
from recipes.data.ngrams import merge_rows
from recipes.data.stores import Arrays, BagStore, Store
from recipes.data.tfidf import TfidfEncoder

if TYPE_CHECKING:
    import polars as pl
    from typing_extensions import Self

LETTERS = 6  # of a word, blank included: how much longer a text is in characters


class JointTfidfEncoder(Encoder):
    """The terms of `TfidfEncoder`, then those of 1 to `tfidf_chars` characters, blanks included, each half of the row's squared length.

    Characters find what spelling, inflection and unseen words hide from whole words. `tfidf_max_features` bounds either half.
    """

    kind = "tfidf_joint"

    def __init__(self, features: Features, words: TfidfEncoder, chars: TfidfEncoder) -> None:
        self.features, self.words, self.chars = features, words, chars

    @classmethod
    def fit(cls, data: pl.Series, features: Features, needs: Needs, rows: np.ndarray | None = None) -> tuple[Self, Store, list[str]]:
        assert features.tfidf_chars is not None
        most = None if features.max_length is None else LETTERS * features.max_length
        spelled = replace(features, tokenizer="char", tfidf_ngrams=features.tfidf_chars, tfidf_chars=None, max_length=most)
        words, first, notes = TfidfEncoder.fit(data, features, needs, rows)
        chars, second, _ = TfidfEncoder.fit(data, spelled, needs, rows)
        return cls(features, words, chars), _joined(first, second), notes

    def store(self, data: pl.Series, name: str = "predict", rows: np.ndarray | None = None) -> tuple[Store, list[str]]:
        first, notes = self.words.store(data, name, rows)
        return _joined(first, self.chars.store(data, name, rows)[0]), notes

    def facts(self) -> dict[str, Any]:
        return {"num_features": sum(part.facts()["num_features"] for part in (self.words, self.chars)), "sparse_features": True}

    def describe(self) -> str:
        return f"{self.words.describe()}; {self.chars.describe()}"

    def state(self) -> tuple[dict[str, Any], Arrays]:
        parts = {"words": self.words.state(), "chars": self.chars.state()}
        arrays = {f"{name}.{key}": array for name, (_, own) in parts.items() for key, array in own.items()}
        return {"kind": self.kind, "features": asdict(self.features)} | {name: settings for name, (settings, _) in parts.items()}, arrays

    @classmethod
    def from_state(cls, settings: dict[str, Any], arrays: Arrays) -> Self:
        words, chars = (
            TfidfEncoder.from_state(
                settings[name], {key.partition(".")[2]: array for key, array in arrays.items() if key.startswith(f"{name}.")}
            )
            for name in ("words", "chars")
        )
        return cls(Features(**settings["features"]), words, chars)


def _joined(first: Store, second: Store) -> BagStore:
    """Row by row the terms of both, scaled so that two rows of length one make one of length one."""
    assert isinstance(first, BagStore)
    assert isinstance(second, BagStore)
    ids = (first.tensors["ids"].numpy(), second.tensors["ids"].numpy() + np.int32(first.columns))
    merged, lengths = merge_rows(ids[0], first.lengths, ids[1], second.lengths)
    values, _ = merge_rows(first.tensors["values"].numpy(), first.lengths, second.tensors["values"].numpy(), second.lengths)
    return BagStore(merged, lengths, first.columns + second.columns, values / np.float32(math.sqrt(2)))
