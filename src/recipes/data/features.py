"""Settings of the encoders, for text and for tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from recipes.config.types import PositiveInt
from recipes.data import tokenizers


@dataclass(frozen=True, kw_only=True)
class Features:
    """How rows become numbers. Everything that is counted or measured is fitted on train only.

    Text as tokens reads the first block, text as TF-IDF (a dense model on text) the first two, tables the third.

    tokenizer: word, whitespace, char, jieba, or the path of a Hugging Face tokenizer.json, which becomes the content of that file. Such a
    file normalizes texts itself: `lowercase` is not read. Raises ConfigError for what is neither.
    """

    tokenizer: str = "word"
    lowercase: bool = True
    min_count: PositiveInt = 1
    max_vocab: PositiveInt | None = None
    max_length: PositiveInt | None = 1000

    tfidf_ngrams: PositiveInt = 2
    tfidf_chars: PositiveInt | None = None
    tfidf_min_df: PositiveInt = 2
    tfidf_max_features: PositiveInt | None = None
    tfidf_sublinear: bool = True

    impute: Literal["median", "mean", "zero"] = "median"
    standardize: bool = True
    pieces: PositiveInt | None = None
    indicators: bool = True
    categorical: Literal["onehot", "embed"] = "onehot"
    category_min_count: PositiveInt = 2
    category_max_levels: PositiveInt | None = 100

    def __post_init__(self) -> None:
        object.__setattr__(self, "tokenizer", tokenizers.resolve(self.tokenizer))  # frozen
