"""Hashed word n-grams as fastText makes them.

L tokens of all rows together, N rows, V distinct tokens, M n-grams. Source: Joulin et al. 2016, and the reference implementation's
`Dictionary::hash` and `Dictionary::addWordNgrams`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recipes.data.text import Tokens

_OFFSET, _PRIME = np.uint32(2166136261), np.uint32(16777619)
_STEP = np.uint64(116049371)


def hash_words(words: Sequence[str]) -> np.ndarray:
    """(V,) uint32: FNV-1a over the UTF-8 bytes of each word, taken as signed.

    All words advance together by one byte at a time; the longer ones stand first, so that the work is the number of bytes.
    """
    encoded = [word.encode() for word in words]
    sizes = np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded))
    starts = np.cumsum(sizes) - sizes
    # A signed byte widened to 32 bits has its upper bits set.
    values = np.frombuffer(b"".join(encoded), dtype=np.int8).astype(np.int32).view(np.uint32)
    order = np.argsort(-sizes, kind="stable")
    starts, ascending = starts[order], np.sort(sizes)
    hashes = np.full(len(encoded), _OFFSET, dtype=np.uint32)
    for position in range(int(sizes.max(initial=0))):
        longer = len(encoded) - int(np.searchsorted(ascending, position, side="right"))
        hashes[:longer] = (hashes[:longer] ^ values[starts[:longer] + position]) * _PRIME
    result = np.empty_like(hashes)
    result[order] = hashes
    return result


def hash_ngrams(tokens: Tokens, order: int, buckets: int) -> np.ndarray:
    """(L, order - 1) int64 buckets of all n-grams of 2 to `order` tokens, by first token; -1 where the text ends before.

    h = h * 116049371 + hash(next) in 64 bits, where a word's 32-bit hash is taken as signed; the bucket is h % buckets. Words that the
    vocabulary does not know hash by their own letters.
    """
    hashes = hash_words(tokens.types.to_list()).view(np.int32).astype(np.int64).view(np.uint64)[tokens.codes]
    left = np.minimum(tokens.ends - np.arange(len(hashes)) - 1, order - 1)
    grams = np.full((len(hashes), order - 1), -1, dtype=np.int64)
    running = hashes.copy()
    for extra in range(1, order):
        running = running[:-1] * _STEP + hashes[extra:]
        whole = left[: len(running)] >= extra
        grams[: len(running), extra - 1] = np.where(whole, (running % np.uint64(buckets)).view(np.int64), -1)
    return grams


def merge_rows(first: np.ndarray, first_N: np.ndarray, second: np.ndarray, second_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Join two ragged arrays row by row: the ids of each row of `first`, then those of `second`. Returns ids and lengths."""
    lengths = first_N + second_N
    starts = np.cumsum(lengths) - lengths
    merged = np.empty(len(first) + len(second), dtype=first.dtype)
    merged[np.arange(len(first)) + np.repeat(starts - (np.cumsum(first_N) - first_N), first_N)] = first
    merged[np.arange(len(second)) + np.repeat(starts + first_N - (np.cumsum(second_N) - second_N), second_N)] = second
    return merged, lengths
