"""The bytes of a fastText `.bin`: magic and version, settings, words and labels with their counts, and two matrices with their shapes.

Numbers are little-endian. Sizes that the file states are held against its length before anything is allocated.

V words, K hash buckets, E embedding, C labels.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from recipes.data.ngrams import END
from recipes.errors import CheckpointError

MAGIC, VERSIONS = 793712314, (11, 12)
_MODELS = {1: "cbow", 2: "skipgram", 3: "supervised"}
_LOSSES = {1: "hs", 2: "ns", 3: "softmax", 4: "ova"}
_WORD, _LABEL = 0, 1
_MOST = 10**15  # no count reaches it
_CHUNK = 64 << 20  # bytes read at a time


@dataclass(frozen=True)
class Shape:
    """The settings that prediction depends on. `buckets` is 0 where there are no n-grams."""

    loss: str  # hs | ns | softmax | ova
    dim: int
    word_ngrams: int
    buckets: int
    minn: int
    maxn: int


@dataclass(frozen=True, eq=False)
class FastTextFile:
    """What a supervised model consists of, in the order of the file."""

    shape: Shape
    words: list[str]  # V; one that is no UTF-8 begins with a blank, so that no token equals it
    labels: list[str]  # C, with their prefix
    label_counts_C: np.ndarray  # int64
    lines: int  # of train; 0 where `</s>` was no word
    mean_length: float  # words of a line
    rows_VE: Tensor  # (rows_before + V + K, E) float32
    out_CE: Tensor  # (C, E) float32


def damaged(path: Path, why: str) -> CheckpointError:
    """The error for a file that contradicts itself."""
    return CheckpointError(f"the fastText model in {path} is damaged: {why}; copy it again from where it was trained")


def read_bin(path: Path, rows_before: int = 0) -> FastTextFile:
    """Read a supervised model. `rows_before`: rows of zeros in front of the words'.

    Raises CheckpointError for a file that is no such model, is cut short, or contradicts itself, and for what is not offered: quantized
    models, word vectors without a classifier, and other versions of the format than 11 and 12.
    """
    try:
        if not path.is_file():
            raise CheckpointError(f"there is no file {path}; give the .bin that fastText wrote, or the directory of a finished run")
        with path.open("rb") as file:
            if path.stat().st_size < 8:
                raise _foreign(path)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return _Reader(path, file, content).model(rows_before)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error


class _Reader:
    """A place in the file that moves on with what is taken."""

    def __init__(self, path: Path, file: BinaryIO, content: mmap.mmap) -> None:
        self.path, self.file, self.content, self.place = path, file, content, 0

    def model(self, rows_before: int) -> FastTextFile:
        shape = self._shape()
        words, labels, counts, tokens = self._dictionary()
        self._not_quantized()
        rows = len(words) + shape.buckets
        rows_VE = self._matrix(shape, rows, rows if _has_grams(shape) else len(words), rows_before)
        self._not_quantized()
        out_CE = self._matrix(shape, len(labels), len(labels), 0)
        lines = int(counts[words.index(END)]) if END in words else 0
        label_counts_C = counts[len(words) :]
        mean_length = max(tokens - int(label_counts_C.sum()), 0) / max(lines, 1)
        used = shape if _has_grams(shape) else Shape(shape.loss, shape.dim, 1, 0, 0, 0)
        return FastTextFile(used, words, labels, label_counts_C, lines, mean_length, rows_VE, out_CE)

    def _shape(self) -> Shape:
        magic, version = self._take("<2i", "its head")
        if magic != MAGIC:
            raise _foreign(self.path)
        if version not in VERSIONS:
            raise CheckpointError(
                f"the fastText model in {self.path} has version {version} of the format, and this package reads 11 and 12; "
                "load it with fastText 0.9 and save it again"
            )
        dim, _, _, _, _, word_ngrams, loss, model, buckets, minn, maxn, _, _ = self._take("<12id", "its settings")
        if _MODELS.get(model) in ("cbow", "skipgram"):
            raise CheckpointError(
                f"the fastText model in {self.path} holds word vectors ({_MODELS[model]}) and no classifier; train one that starts from "
                f"them with the text file that fastText wrote beside it: model=fasttext model.vectors={self.path.with_suffix('.vec').name}"
            )
        if model not in _MODELS or loss not in _LOSSES or dim < 1 or buckets < 0:
            raise damaged(self.path, f"its settings make no sense (model {model}, loss {loss}, dim {dim}, bucket {buckets})")
        # Version 11 wrote a length that its supervised models did not use.
        maxn = 0 if version == 11 or maxn < max(minn, 1) else maxn
        shape = Shape(_LOSSES[loss], dim, max(word_ngrams, 1), buckets, max(minn, 1) if maxn else 0, maxn)
        if _has_grams(shape) and not buckets:
            raise damaged(self.path, "it has n-grams and no buckets for them")
        return shape

    def _dictionary(self) -> tuple[list[str], list[str], np.ndarray, int]:
        """Words, labels, the counts of both, and the tokens of train."""
        size, words, labels, tokens, pruned = self._take("<3i2q", "its dictionary")
        if words < 0 or labels < 1 or size != words + labels:
            raise damaged(self.path, f"its dictionary has {size} entries, but {words} words and {labels} labels")
        if pruned >= 0:
            raise _quantized(self.path)
        names, counts = [], []
        for number in range(size):
            end = self.content.find(b"\0", self.place)
            if end < 0:
                raise self._cut("its dictionary")
            name, self.place = self.content[self.place : end], end + 1
            count, kind = self._take("<qb", "its dictionary")
            if kind != (_WORD if number < words else _LABEL) or not 0 <= count <= _MOST:
                raise damaged(self.path, f"entry {number + 1} of its dictionary makes no sense")
            names.append(_decoded(name))
            counts.append(count)
        if len(set(names)) < size:
            raise damaged(self.path, "a word stands twice in its dictionary")
        return names[:words], names[words:], np.array(counts, dtype=np.int64), tokens

    def _not_quantized(self) -> None:
        if self._take("<b", "the head of a matrix")[0]:
            raise _quantized(self.path)

    def _matrix(self, shape: Shape, rows: int, keep: int, rows_before: int) -> Tensor:
        """The first `keep` rows of the next matrix, which must have `rows`, below `rows_before` rows of zeros. Read in place."""
        found = self._take("<2q", "the head of a matrix")
        if found != (rows, shape.dim):
            raise damaged(self.path, f"a matrix is {found[0]} x {found[1]}, and its dictionary and settings make it {rows} x {shape.dim}")
        end = self.place + 4 * rows * shape.dim
        if end > len(self.content):
            raise self._cut("a matrix")
        matrix = torch.empty((rows_before + keep, shape.dim))
        matrix[:rows_before] = 0
        self.file.seek(self.place)
        into = matrix[rows_before:].numpy().data.cast("B") if keep else memoryview(b"")
        done = 0
        while done < len(into):
            read = self.file.readinto(into[done : done + _CHUNK])  # type: ignore[attr-defined]
            if not read:
                raise self._cut("a matrix")
            done += read
        self.place = end
        return matrix

    def _take(self, form: str, what: str) -> tuple[Any, ...]:
        if self.place + struct.calcsize(form) > len(self.content):
            raise self._cut(what)
        values = struct.unpack_from(form, self.content, self.place)
        self.place += struct.calcsize(form)
        return values

    def _cut(self, what: str) -> CheckpointError:
        return damaged(self.path, f"it ends at byte {len(self.content):,}, inside {what}")


def _has_grams(shape: Shape) -> bool:
    return shape.word_ngrams > 1 or shape.maxn > 0


def _decoded(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return " " + name.decode(errors="backslashreplace")


def _foreign(path: Path) -> CheckpointError:
    return CheckpointError(
        f"'{path}' is neither the directory of a finished run nor a fastText model: it does not begin as one; give the directory, "
        "or a .bin that `fasttext supervised` or save_model wrote"
    )


def _quantized(path: Path) -> CheckpointError:
    return CheckpointError(
        f"the fastText model in {path} is quantized, which this package does not read; give the .bin that it was made from "
        "(fastText keeps it beside the .ftz), or train again without `quantize`"
    )
