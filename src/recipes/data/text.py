"""Texts to tokens, with polars: no Python for each row or token.

L tokens of all rows together, N rows, V distinct tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recipes.data.features import Features

if TYPE_CHECKING:
    import polars as pl

# Scripts written without spaces are cut by character; elsewhere a word keeps its inner apostrophes ("don't", "n't", "l'été").
_CUT = r"\p{Han}\p{Hiragana}\p{Katakana}"
_WORD = (
    r"\p{Nd}+(?:[.,]\p{Nd}+)+"  # 3.5, 1,000
    rf"|[{_CUT}]"
    rf"|[[\p{{L}}\p{{N}}_]--[{_CUT}]][[\p{{L}}\p{{M}}\p{{N}}_\x{{200c}}\x{{200d}}]--[{_CUT}]]*(?:'\p{{L}}+)*"
    # An emoji keeps its skin tone and its joined parts; two regional letters are a flag; any other sign is a token of its own.
    r"|\p{RI}{2}|\p{Extended_Pictographic}[\x{fe0f}\p{EMod}]*(?:\x{200d}\p{Extended_Pictographic}[\x{fe0f}\p{EMod}]*)*|\S"
)
_PATTERNS = {"word": _WORD, "whitespace": r"\S+"}


@dataclass
class Tokens:
    """The tokens of N texts, one text after another."""

    codes: np.ndarray  # (L,) int32 index into `types`
    lengths: np.ndarray  # (N,) int64 tokens of each text
    types: pl.Series  # (V,) String distinct tokens in code point order
    cut: int  # texts that were longer than features.max_length

    @property
    def rows(self) -> np.ndarray:
        """(L,) int64 text that each token stands in."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    @property
    def ends(self) -> np.ndarray:
        """(L,) int64 position after the last token of each token's text."""
        return np.repeat(np.cumsum(self.lengths), self.lengths)

    def notes(self, name: str, features: Features) -> list[str]:
        """What the user should hear about these texts, with counts."""
        if not self.cut:
            return []
        return [f"{name}: {self.cut:,} texts are longer than features.max_length={features.max_length} tokens and were cut there"]


def tokenize(texts: pl.Series, features: Features) -> Tokens:
    """Cut texts into tokens and number the distinct ones."""
    texts = texts.fill_null("")
    if features.lowercase:
        texts = texts.str.to_lowercase()
    if features.tokenizer == "char":
        return _characters(texts, features.max_length)
    import polars as pl

    if features.tokenizer == "word":
        texts = texts.str.replace_all("’", "'", literal=True)
    lists = texts.str.extract_all(_PATTERNS[features.tokenizer])
    lengths = lists.list.len().to_numpy().astype(np.int64)
    cut = 0
    if features.max_length is not None:
        cut = int((lengths > features.max_length).sum())
        if cut:
            lists = lists.list.head(features.max_length)
            lengths = np.minimum(lengths, features.max_length)
    flat = lists.explode().drop_nulls()  # an empty list explodes to a null
    types = flat.unique().sort()
    codes = flat.cast(pl.Enum(types)).to_physical().to_numpy().astype(np.int32)
    return Tokens(codes, lengths, types, cut)


def _characters(texts: pl.Series, max_length: int | None) -> Tokens:
    """Each code point is a token, blanks too. UTF-32 is an array of code points already, so nothing needs to be searched."""
    import polars as pl

    lengths = texts.str.len_chars().to_numpy().astype(np.int64)
    cut = 0
    if max_length is not None:
        cut = int((lengths > max_length).sum())
        if cut:
            texts = texts.str.head(max_length)
            lengths = np.minimum(lengths, max_length)
    points = np.frombuffer("".join(texts.to_list()).encode("utf-32-le"), dtype=np.uint32)
    seen = np.zeros(0x110000, bool)
    seen[points] = True
    rank = (np.cumsum(seen) - 1).astype(np.int32)
    types = pl.Series([chr(point) for point in np.flatnonzero(seen)], dtype=pl.String)
    return Tokens(rank[points], lengths, types, cut)
