"""Texts to tokens, with polars: no Python for each row or token.

L tokens of all rows together, N rows, V distinct tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from recipes.data.chunks import in_threads, neighbours
from recipes.data.features import Features
from recipes.data.tokenizers import cut

if TYPE_CHECKING:
    import polars as pl

# Bytes of text that are cut at a time: what polars makes of them on the way is several times as large.
_CHUNK = 4 << 20


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

    def ended(self, token: str) -> Tokens:
        """The same texts, each with this token behind its last one."""
        known = (self.types == token).arg_true().to_list()
        types = self.types if known else self.types.extend_constant(token, 1)
        codes = np.full(len(self.codes) + len(self.lengths), known[0] if known else len(self.types), dtype=np.int32)
        inner = np.ones(len(codes), dtype=bool)
        inner[np.cumsum(self.lengths + 1) - 1] = False
        codes[inner] = self.codes
        return Tokens(codes, self.lengths + 1, types, self.cut)


def tokenize(texts: pl.Series, features: Features) -> Tokens:
    """Cut texts into tokens and number the distinct ones.

    Texts are cut a few megabytes at a time, on as many threads as there are, so that what lies between text and codes takes little memory.
    """
    texts = texts.fill_null("")
    if features.tokenizer == "char":
        return _characters(texts.str.to_lowercase() if features.lowercase else texts, features.max_length)
    import polars as pl

    parts, number = _chunks(texts, _CHUNK), _numbered
    # Compiled code is worth its import, half a second, for texts that would take longer than that.
    if features.tokenizer == "whitespace" and len(parts) > 2 and _compiles():
        number = _numbered_by_bytes
    done = in_threads(partial(number, features=features), parts)
    types = done[0].types if len(done) == 1 else pl.concat([part.types for part in done]).unique().sort()
    rank = pl.Enum(types)
    codes = np.empty(sum(len(part.codes) for part in done), np.int32)
    end = 0
    for part in done:
        ranks = part.types.cast(rank).to_physical().to_numpy().astype(np.int32)
        ranks.take(part.codes, out=codes[end : end + len(part.codes)], mode="clip")  # any other mode makes a copy first
        end, part.codes = end + len(part.codes), codes[:0]
    return Tokens(codes, np.concatenate([part.lengths for part in done]), types, sum(part.cut for part in done))


def _chunks(texts: pl.Series, size: int) -> list[pl.Series]:
    """Neighbouring texts of some `size` bytes together, at least one list."""
    sizes = texts.str.len_bytes().to_numpy().astype(np.int64)
    return [texts[a:b] for a, b in neighbours(sizes, size)] or [texts]


def _numbered(texts: pl.Series, features: Features) -> Tokens:
    """The tokens of one chunk with numbers of its own."""
    import polars as pl

    flat, lengths = cut(texts, features)
    too_long = 0
    if features.max_length is not None and (longer := lengths > features.max_length).any():
        too_long = int(longer.sum())
        starts = np.cumsum(lengths) - lengths
        place = np.arange(len(flat)) - np.repeat(starts, lengths)
        flat, lengths = flat.filter(pl.Series(place < features.max_length)), np.minimum(lengths, features.max_length)
    types = flat.unique().sort()
    return Tokens(flat.cast(pl.Enum(types)).to_physical().to_numpy().astype(np.int32), lengths, types, too_long)


def _compiles() -> bool:
    """Whether numba works here: it needs a place for its machine code, which a system that is read-only may not have."""
    try:
        from recipes.data.blanks_kernel import split

        split(np.frombuffer(b" ", np.uint8), np.ones(1, np.int64), 1)
    except Exception:  # numba raises what it likes
        return False
    return True


def _numbered_by_bytes(texts: pl.Series, features: Features) -> Tokens:
    """The same as `_numbered` for tokens between blanks, compiled."""
    import polars as pl

    from recipes.data.blanks_kernel import split

    if features.lowercase:
        texts = texts.str.to_lowercase()
    data = "".join(texts.to_list()).encode()
    most = np.iinfo(np.int64).max if features.max_length is None else features.max_length
    ends = np.cumsum(texts.str.len_bytes().to_numpy().astype(np.int64))
    codes, lengths, begins, sizes = split(np.frombuffer(data, np.uint8), ends, most)
    types = pl.Series([data[a:b].decode() for a, b in zip(begins.tolist(), (begins + sizes).tolist(), strict=True)], dtype=pl.String)
    order = types.arg_sort().to_numpy()
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return Tokens(rank[codes], np.minimum(lengths, most), types.gather(order), int((lengths > most).sum()))


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
