"""Word vectors in text form: word2vec's and fastText's files with a header line are read and written, GloVe's without one are read.

V words that were found, E embedding.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recipes.errors import ConfigError, DataError

_BLANK = re.compile(r"[ \t\n\v\f\r]")  # what ends a word in such a file; a no-break space does not


class Vectors(NamedTuple):
    """The rows of a file that a vocabulary asks for."""

    dim: int
    ids: np.ndarray  # (V,) int64 positions in the vocabulary
    rows_VE: np.ndarray  # float32


def read_vectors(path: str | Path, vocabulary: Sequence[str], where: str) -> Vectors:
    """The vectors of the words of `vocabulary`; "" is no word. The first of repeated lines counts.

    Only lines of wanted words are parsed, so a file costs its reading from disk (0.4 s a GB once cached) plus some 20 us a wanted word.
    Raises ConfigError, naming `where` and the line, when the file is missing or a line is not a word and `dim` numbers.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise ConfigError(f"{where}: there is no file '{path}' (looked in {Path.cwd()}); give the path of a .vec or .txt file")
    wanted = {word.encode(): i for i, word in enumerate(vocabulary) if word}
    ids, rows = [], []
    with file.open("rb", buffering=1 << 20) as lines:
        first = lines.readline().split()
        header = len(first) == 2 and all(part.isdigit() for part in first)
        dim = int(first[1]) if header else len(first) - 1
        if dim < 1:
            raise ConfigError(f"{where}: {file}:1 holds no vector; expected a word and its numbers, or a header `<words> <numbers a word>`")
        if not header:
            lines.seek(0)
        for number, line in enumerate(lines, start=1 + header):
            word, _, rest = line.partition(b" ")
            if (i := wanted.get(word)) is None:
                continue
            parts = rest.split()
            row = _numbers(parts, dim)
            if row is None:
                # GloVe's 840B file has words with blanks in them, such as ". . ."; one may begin with a word of ours.
                extra = len(parts) - dim
                if extra > 0 and _numbers(parts[:extra], extra) is None and _numbers(parts[extra:], dim) is not None:
                    continue
                raise ConfigError(f"{where}: {file}:{number}: '{word.decode()}' is not followed by {dim} numbers")
            del wanted[word]
            ids.append(i)
            rows.append(row)
    return Vectors(dim, np.array(ids, dtype=np.int64), np.stack(rows) if rows else np.empty((0, dim), np.float32))


def _numbers(parts: list[bytes], count: int) -> np.ndarray | None:
    """(count,) float32, or None unless the parts are just that many finite numbers."""
    try:
        row = np.array(parts, dtype=np.float32)
    except ValueError:
        return None
    return row if len(row) == count and np.isfinite(row).all() else None


def is_writable(word: str) -> bool:
    """Whether a line of a file of vectors can begin with this word."""
    return bool(word) and not _BLANK.search(word)


def write_vectors(path: str | Path, words: Sequence[str], rows_VE: np.ndarray) -> None:
    """Write vectors as fastText and word2vec do: `<words> <numbers a word>`, then each word and its numbers on a line, in UTF-8.

    Nine significant digits, where fastText writes five: reading gives the same float32 again. The file is there whole or not at all.
    Raises ConfigError for a word that is empty, holds a blank or comes twice, and for a number that is not finite; DataError where the
    disk does not take the file.
    """
    _check(words, rows_VE)
    file = Path(path).expanduser()
    partial = file.with_name(f".{file.name}.partial")
    form = " ".join(["%s"] + ["%.9g"] * rows_VE.shape[1]) + "\n"
    try:
        with partial.open("w", encoding="utf-8", newline="\n", buffering=1 << 20) as lines:
            lines.write(f"{len(words)} {rows_VE.shape[1]}\n")
            lines.writelines(form % (word, *row_E.tolist()) for word, row_E in zip(words, rows_VE, strict=True))
        partial.replace(file)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise DataError(f"output: {file} could not be written: {error.strerror or error}") from error


def _check(words: Sequence[str], rows_VE: np.ndarray) -> None:
    if len(words) != len(rows_VE):
        raise ValueError(f"{len(words)} words and {len(rows_VE)} vectors")
    for word in words:
        if not is_writable(word):
            what = "a blank, which ends a word in such a file" if word else "nothing"
            raise ConfigError(f"vectors: the word {word!r} holds {what}; leave it out (`is_writable` tells)")
    if len(set(words)) < len(words):
        twice = Counter(words).most_common(1)[0][0]
        raise ConfigError(f"vectors: {twice!r} comes twice, and readers keep one of its vectors; give each word once")
    finite_V = np.isfinite(rows_VE).all(axis=1)
    if not finite_V.all():
        first = words[int(finite_V.argmin())]
        raise ConfigError(f"vectors: {int((~finite_V).sum()):,} words have numbers that are not finite, the first {first!r}")
