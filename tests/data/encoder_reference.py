"""Slow, plain-Python references for the encoders."""

from __future__ import annotations

from collections import Counter

# The code points that Unicode calls white space; str.split() takes a few more.
UNICODE_BLANKS = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)


def split_blanks(text: str, blanks: str = " \t\n\x0b\x0c\r\x00") -> list[str]:
    """By default the blanks of fastText: those of ASCII, and NUL."""
    for blank in blanks[1:]:
        text = text.replace(blank, blanks[0])
    return [token for token in text.split(blanks[0]) if token]


def vocabulary(rows: list[list[str]], min_count: int = 1, max_vocab: int | None = None) -> dict[str, int]:
    """Word -> id from 2 on, by descending count, then by word."""
    counts = Counter(token for row in rows for token in row)
    words = sorted((word for word, count in counts.items() if count >= min_count), key=lambda word: (-counts[word], word))
    return {word: 2 + place for place, word in enumerate(words[:max_vocab])}


def fnv(word: str) -> int:
    """32-bit FNV-1a over signed bytes."""
    h = 2166136261
    for byte in word.encode():
        h = ((h ^ (byte - 256 if byte > 127 else byte)) & 0xFFFFFFFF) * 16777619 & 0xFFFFFFFF
    return h


def ngrams(row: list[str], order: int, buckets: int) -> list[int]:
    """Buckets of the n-grams of a text, in fastText's order."""
    signed = [h - 2**32 if h >= 2**31 else h for h in map(fnv, row)]
    found = []
    for i in range(len(row)):
        h = signed[i]
        for j in range(i + 1, min(len(row), i + order)):
            h = (h * 116049371 + signed[j]) % 2**64
            found.append(h % 2**64 % buckets)
    return found
