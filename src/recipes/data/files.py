"""Finding and fingerprinting data files. Imports no polars, since a warm cache needs no more than this of a source."""

from __future__ import annotations

import hashlib
from pathlib import Path

from recipes.errors import DataError, did_you_mean, nearest

# Suffix to format; ".gz" may follow where the format is text.
FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".jsonlines": "json",
    ".json": "json",
    ".parquet": "parquet",
    ".txt": "fasttext",
    ".ft": "fasttext",
    ".fasttext": "fasttext",
    ".libsvm": "libsvm",
    ".svm": "libsvm",
}


def locate(path: str | Path, key: str) -> Path:
    """The file behind a path as the user wrote it (relative to the current directory, `~` allowed).

    `key` is the setting that named it. Raises DataError for a missing file (with the nearest name in its folder), a folder, an empty
    file and an unknown suffix.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        raise DataError(f"{key}: '{path}' is a folder; give one file in it")
    if not file.is_file():
        raise DataError(f"{key}: no file '{path}'; {_near(file)}")
    form(file, key)
    if file.stat().st_size == 0:
        raise DataError(f"{key}: '{path}' is empty (0 bytes)")
    return file


def form(file: Path, key: str) -> str:
    """The format that the suffix tells: one of the values of FORMATS."""
    suffix = Path(file.stem).suffix if file.suffix.lower() == ".gz" else file.suffix
    found = FORMATS.get(suffix.lower())
    if found is None or (found == "parquet" and file.suffix.lower() == ".gz"):
        raise DataError(
            f"{key}: '{file.name}' has a suffix that says no known format\n"
            f"  known: {' '.join(FORMATS)} (text formats also with .gz)\n"
            f"  {did_you_mean(suffix.lower(), FORMATS) if nearest(suffix.lower(), FORMATS) else 'rename the file to say what it holds'}"
        )
    return found


def digest(file: Path) -> str:
    """BLAKE2b of the content: about 1.4 GB a second."""
    hasher = hashlib.blake2b(digest_size=16)
    with open(file, "rb") as stream:
        while block := stream.read(1 << 20):
            hasher.update(block)
    return hasher.hexdigest()


def _near(file: Path) -> str:
    """What to say about a file that is not there."""
    folder = file.parent
    if not folder.is_dir():
        existing = next((p for p in folder.parents if p.is_dir()), Path("."))
        return f"there is no folder '{folder}' either, only '{existing.resolve()}'"
    names = sorted(p.name for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    where = f"in '{folder.resolve()}'"
    if not names:
        return f"there are no files {where}"
    close = nearest(file.name, names)
    if close is not None:
        return f"did you mean '{folder / close}'?"
    return f"files {where}: {', '.join(names[:10])}{' ...' if len(names) > 10 else ''}"
