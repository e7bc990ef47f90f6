"""Where synonyms come from: a list of them, or word vectors that lie close to each other.

P pairs of a word and a synonym of it, V vocabulary, E embedding.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from recipes.data.vectors import read_vectors
from recipes.errors import ConfigError
from recipes.sampling.neighbours import neighbours

_SIGNS = re.compile(r"[|;,]")


def lexicon_pairs(path: str | Path, vocabulary: tuple[str, ...], where: str) -> np.ndarray:
    """(P, 2) int64 ids of words and their synonyms, of those lines of a file that the vocabulary knows both of.

    Each line is `word<TAB>synonyms` or `word<TAB>part of speech<TAB>synonyms`; a word may have several lines. Synonyms are separated by
    `|`, `;` or `,`, in two columns also by blanks if the file has none of these signs there. One of several words is no word of a
    vocabulary and is passed over. Words are looked up as they are written, then in small letters.

    Reading 115,000 lines takes some 0.2 s. Raises ConfigError, naming `where` and the line, for a file that is missing or a line that is
    neither.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise ConfigError(f"{where}: there is no file '{path}' (looked in {Path.cwd()}); give lines of `word<TAB>synonym, synonym`")
    ids = {word: i for i, word in enumerate(vocabulary) if i > 1}
    found: list[tuple[int, str]] = []
    columns, signs = 0, False
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            parts = _columns(line, number == 1, f"{where}: {file}:{number}")
            if not parts:
                continue
            columns = columns or len(parts)
            if len(parts) != columns:
                raise ConfigError(f"{where}: {file}:{number} has {len(parts)} columns, and the lines before it have {columns}")
            signs = signs or _SIGNS.search(parts[-1]) is not None
            if (word := ids.get(parts[0], ids.get(parts[0].lower()))) is not None:
                found.append((word, parts[-1]))
    blanks = columns == 2 and not signs
    pairs = [
        (word, other)
        for word, text in found
        for name in (text.split() if blanks else map(str.strip, _SIGNS.split(text)))
        if (other := ids.get(name, ids.get(name.lower()))) is not None
    ]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def vector_pairs(
    path: str | Path, vocabulary: tuple[str, ...], allowed_V: np.ndarray, neighbors: int, min_similarity: float, where: str
) -> np.ndarray:
    """(P, 2) int64 ids of the allowed words and, for each, those of the nearest `neighbors` allowed words whose cosine is high enough.

    All pairs of words that the file has are compared, on all cores: 4 s for 20,000 words of 100 numbers on two. Raises ConfigError as
    `read_vectors` does.
    """
    found = read_vectors(path, vocabulary, where)
    known = allowed_V[found.ids] & (np.abs(found.rows_VE).max(axis=1, initial=0) > 0)
    ids, rows_VE = found.ids[known], found.rows_VE[known]
    if len(ids) < 2:
        return np.empty((0, 2), np.int64)
    unit_VE = rows_VE / np.linalg.norm(rows_VE, axis=1, keepdims=True)
    near = neighbours(unit_VE, np.arange(len(ids)), min(neighbors, len(ids) - 1))
    close = np.stack([np.einsum("ve,ve->v", unit_VE, unit_VE[column]) >= min_similarity for column in near.T], axis=1)
    word, rank = np.nonzero(close)
    return np.stack([ids[word], ids[near[word, rank]]], axis=1)


def _columns(line: bytes, first: bool, place: str) -> list[str]:
    """Two or three columns without blanks around them; none of a blank line."""
    try:
        text = line.decode("utf-8-sig" if first else "utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{place} is not UTF-8 ({error.reason}); save the file as UTF-8") from error
    if not text.strip():
        return []
    parts = [part.strip() for part in text.split("\t")]
    if len(parts) not in (2, 3) or not parts[0] or not parts[-1]:
        raise ConfigError(
            f"{place}: {text.strip()[:60]!r} is neither `word<TAB>synonym, synonym` nor `word<TAB>part of speech<TAB>synonym|synonym`"
        )
    return parts
