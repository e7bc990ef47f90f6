"""Hashed n-grams of words and of characters as fastText makes them.

L tokens of all rows together, N rows, V distinct tokens, M n-grams. Source: Joulin et al. 2016, Bojanowski et al. 2017, and the reference
implementation's `Dictionary::hash`, `Dictionary::addWordNgrams` and `Dictionary::computeSubwords`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from recipes.data.chunks import in_threads, neighbours
from recipes.data.text import Tokens

_OFFSET, _PRIME = np.uint32(2166136261), np.uint32(16777619)
_STEP = np.uint64(116049371)
_SIGNED = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.int32).view(np.uint32).tolist()  # each byte, taken as signed
_FEW = 32  # words for which Python, byte by byte, is faster than one call a byte for all of them
_GROUP = 1 << 16  # tokens
END = "</s>"  # ends each line, and is a feature


def hash_words(words: Sequence[str]) -> np.ndarray:
    """(V,) uint32: FNV-1a over the UTF-8 bytes of each word, taken as signed.

    All words advance together by one byte at a time; the longer ones stand first, so that the work is the number of bytes. The last few
    go one by one: a line without blanks is a word of megabytes.
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
        if longer < _FEW:
            hashes[:longer] = [_continued(int(h), encoded[i][position:]) for h, i in zip(hashes[:longer], order, strict=False)]
            break
        hashes[:longer] = (hashes[:longer] ^ values[starts[:longer] + position]) * _PRIME
    result = np.empty_like(hashes)
    result[order] = hashes
    return result


def _continued(number: int, data: bytes) -> int:
    """FNV-1a from `number` on."""
    prime, signed = int(_PRIME), _SIGNED
    for byte in data:
        number = ((number ^ signed[byte]) * prime) & 0xFFFFFFFF
    return number


def hash_ngrams(tokens: Tokens, order: int, buckets: int) -> np.ndarray:
    """(L, order - 1) int32 buckets of all n-grams of 2 to `order` tokens, by first token; -1 where the text ends before.

    h = h * 116049371 + hash(next) in 64 bits, where a word's 32-bit hash is taken as signed; the bucket is h % buckets. Words that the
    vocabulary does not know hash by their own letters.
    """
    word_hashes = hash_words(tokens.types.to_list()).view(np.int32).astype(np.int64).view(np.uint64)
    grams = np.full((len(tokens.codes), order - 1), -1, dtype=np.int32)

    def fill(group: tuple[slice, slice]) -> None:
        texts, place = group
        hashes = word_hashes[tokens.codes[place]]
        lengths = tokens.lengths[texts]
        left = np.repeat(np.cumsum(lengths), lengths) - np.arange(1, len(hashes) + 1)  # tokens that follow in the same text
        running, found = hashes.copy(), grams[place]
        for extra in range(1, order):
            running = running[:-1] * _STEP + hashes[extra:]
            found[: len(running), extra - 1] = np.where(left[: len(running)] >= extra, _modulo(running, buckets), -1)

    in_threads(fill, groups(tokens.lengths))
    return grams


def char_ngrams(words: Sequence[str], shortest: int, longest: int, buckets: int) -> tuple[np.ndarray, np.ndarray]:
    """Buckets of the character n-grams of each word between `<` and `>`: (M,) int32, word after word, and their number, (V,) int64.

    The n-gram's own FNV-1a hash, modulo `buckets`. `</s>` has none, and neither `<` nor `>` alone is one.
    """
    encoded = [b"" if word == END else f"<{word}>".encode() for word in words]
    sizes = np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded))
    values = np.frombuffer(b"".join(encoded), dtype=np.int8)
    firsts = np.flatnonzero((values & -64) != -128)  # where a character begins: all but bytes 10xxxxxx
    word_of = np.repeat(np.arange(len(encoded)), sizes)[firsts]
    chars = np.bincount(word_of, minlength=len(encoded))
    number = np.arange(len(firsts)) - np.repeat(np.cumsum(chars) - chars, chars)  # of the character in its word
    widths = np.diff(np.append(firsts, len(values)))
    wide = np.append(values, np.zeros(4, np.int8)).astype(np.int32).view(np.uint32)
    hashes = np.full(len(firsts), _OFFSET, dtype=np.uint32)  # of what begins at each character
    left = chars[word_of] - number  # characters from this one to the end of its word
    found, owners = [], []
    for n in range(1, longest + 1):
        alive = np.flatnonzero(left >= n)
        last = alive + n - 1  # the characters that the n-grams end with
        for byte in range(int(widths.max(initial=1))):
            within = widths[last] > byte
            here = alive[within]
            hashes[here] = (hashes[here] ^ wide[firsts[last[within]] + byte]) * _PRIME
        if n >= shortest:
            counted = alive if n > 1 else alive[(number[alive] > 0) & (left[alive] > 1)]
            found.append((hashes[counted] % np.uint32(buckets)).astype(np.int32))
            owners.append(word_of[counted])
    owner = np.concatenate(owners)
    return np.concatenate(found)[np.argsort(owner, kind="stable")], np.bincount(owner, minlength=len(encoded))


def groups(lengths: np.ndarray) -> Iterator[tuple[slice, slice]]:
    """Neighbouring texts of some `_GROUP` tokens together, and the places of these: what is made of them on the way stays small."""
    ends = np.cumsum(lengths)
    for first, last in neighbours(lengths, _GROUP):
        yield slice(first, last), slice(int(ends[first] - lengths[first]), int(ends[last - 1]))


def expand(codes: np.ndarray, flat: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each code its run of `flat`, where the run of code v has `sizes[v]` entries: all of them, and how many each code has."""
    starts, counts = np.cumsum(sizes) - sizes, sizes[codes]
    place = np.repeat(starts[codes] - (np.cumsum(counts) - counts), counts)
    place += np.arange(len(place))
    return flat[place], counts


def _modulo(hashes: np.ndarray, buckets: int) -> np.ndarray:
    return (hashes % np.uint64(buckets)).astype(np.int32)


def merge_rows(first: np.ndarray, first_N: np.ndarray, second: np.ndarray, second_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Join two ragged arrays row by row: the ids of each row of `first`, then those of `second`. Returns ids and lengths."""
    lengths = first_N + second_N
    starts = np.cumsum(lengths) - lengths
    merged = np.empty(len(first) + len(second), dtype=first.dtype)
    merged[np.arange(len(first)) + np.repeat(starts - (np.cumsum(first_N) - first_N), first_N)] = first
    merged[np.arange(len(second)) + np.repeat(starts + first_N - (np.cumsum(second_N) - second_N), second_N)] = second
    return merged, lengths
