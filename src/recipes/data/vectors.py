"""Read pretrained word vectors in text form: word2vec's and fastText's with a header line, GloVe's without.

V words that were found, E embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recipes.errors import ConfigError


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
