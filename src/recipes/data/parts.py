"""Tables as read, cut to the columns in use: labels cleaned, texts without nulls, features and weights checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from recipes.data.columns import Asked, Roles, as_texts, require_columns
from recipes.data.dtypes import NaN, check_numbers, conform, kind_of, missing_counts
from recipes.data.facts import Task
from recipes.data.labels import as_task, clean_labels, listed
from recipes.errors import DataError

if TYPE_CHECKING:
    import polars as pl

_SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev", "development"),
    "test": ("test", "testing"),
}


@dataclass
class Raw:
    """What a source read, before anything is made of it."""

    frames: dict[str, pl.DataFrame]  # "train" alone, or with "val" and "test" where they are given
    where: dict[str, str]  # what to call each in messages
    asked: Asked
    whole: bool  # "train" is all there is, so that a test split is made of it
    label_separator: str | None = None
    sparse: bool = False  # a feature column that a frame lacks is zero


@dataclass
class Part:
    """Rows of one split on their way to a `Table`; N rows each."""

    where: str
    rows: np.ndarray
    labels: pl.Series
    text: pl.Series | None
    features: pl.DataFrame | None
    weights: np.ndarray | None
    groups: np.ndarray | None
    split: pl.Series | None

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, keep: np.ndarray) -> Part:
        """The rows of a (N,) bool mask."""
        index = np.flatnonzero(keep)

        def cut(column: Any) -> Any:
            return None if column is None else column[index]

        groups, split = cut(self.groups), cut(self.split)
        return Part(self.where, self.rows[index], self.labels[index], cut(self.text), cut(self.features), cut(self.weights), groups, split)


def read_parts(raw: Raw, roles: Roles, task: Task | None, nan: NaN, notes: list[str]) -> dict[str, Part]:
    """The given splits, rows without a label left out."""
    parts = {name: _part(frame, name, raw, roles, task, nan, notes) for name, frame in raw.frames.items()}
    if roles.split is not None:
        parts = _by_column(parts["train"], roles.split, notes)
    if len(parts["train"]) == 0:
        raise DataError(f"{parts['train'].where}: no row of train is left")
    return parts


def duplicate_codes(texts: pl.Series) -> np.ndarray:
    """(N,) int: equal texts have equal codes; each empty text has a code of its own, since empty rows say nothing of each other."""
    return _codes(texts, (texts == "").to_numpy())


def _part(frame: pl.DataFrame, name: str, raw: Raw, roles: Roles, task: Task | None, nan: NaN, notes: list[str]) -> Part:
    where, train = raw.where[name], raw.frames["train"]
    if raw.sparse:
        import polars as pl

        frame = frame.with_columns(pl.lit(0.0).alias(c) for c in roles.features if c not in frame.columns)
    require_columns(frame, [roles.label, *roles.features, *([roles.text] if roles.text else [])], where)
    labels = as_task(clean_labels(frame[roles.label], raw.label_separator, where), task, where)
    weights = _weights(frame[roles.weight], where) if roles.weight in frame.columns else None
    groups = _codes(frame[roles.group], frame[roles.group].is_null().to_numpy()) if roles.group in frame.columns else None
    text = features = None
    if roles.text is not None:
        text = _texts(frame[roles.text], where)
    else:
        features = _features(frame, roles.features, train, nan, where)
    part = Part(where, np.arange(frame.height), labels, text, features, weights, groups, frame[roles.split] if roles.split else None)
    labelled = labels.is_not_null().to_numpy()
    if not labelled.all():
        notes.append(f"{where}: {(~labelled).sum():,} of {frame.height:,} rows have no label and are left out")
        part = part.take(labelled)
    _note_gaps(part, notes)
    if roles.group in frame.columns and (alone := frame[roles.group].null_count()):
        notes.append(f"{where}: {alone:,} rows have no '{roles.group}'; each is a group of its own")
    return part


def _note_gaps(part: Part, notes: list[str]) -> None:
    if part.text is not None and (empty := int((part.text == "").sum())):
        notes.append(f"{part.where}: {empty:,} of {len(part):,} texts are empty; they are kept")
    if part.features is not None and (missing := missing_counts(part.features)):
        notes.append(f"{part.where}: missing values are filled in by the encoder: {listed(missing)}")


def _texts(column: pl.Series, where: str) -> pl.Series:
    import polars as pl

    if column.dtype != pl.String and kind_of(column.dtype) is None:
        raise DataError(f"{where}: text column '{column.name}' is {column.dtype}; it must hold strings")
    return as_texts(column)


def _features(frame: pl.DataFrame, names: Sequence[str], train: pl.DataFrame, nan: NaN, where: str) -> pl.DataFrame:
    """The feature columns as the kinds that they have in train."""
    import polars as pl

    kinds = {name: kind_of(train.schema[name]) or "" for name in names}
    return check_numbers(pl.DataFrame([conform(frame[name], kind, where) for name, kind in kinds.items()]), nan, where)


def _weights(column: pl.Series, where: str) -> np.ndarray:
    import polars as pl

    if not column.dtype.is_numeric():
        raise DataError(f"{where}: weight column '{column.name}' is {column.dtype}; a weight is a number of at least 0")
    weights = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    bad = ~(np.isfinite(weights) & (weights >= 0))
    if bad.any():
        row = int(bad.argmax())
        count = f"{bad.sum():,} bad value{'s' * int(bad.sum() > 1)}"
        place = f"weight column '{column.name}' holds {column[row]} in data row {row + 1} ({count})"
        raise DataError(f"{where}: {place}; a weight is a finite number of at least 0")
    if not weights.any():
        raise DataError(f"{where}: every weight in column '{column.name}' is 0")
    return weights.astype(np.float32)


def _codes(column: pl.Series, alone: np.ndarray) -> np.ndarray:
    """(N,) int: equal values have equal codes, in order of first occurrence, so that they do not depend on how values are hashed."""
    _, first, code = np.unique(column.hash().to_numpy(), return_index=True, return_inverse=True)
    code = np.argsort(np.argsort(first))[code]
    return np.where(alone, len(first) + np.arange(len(code)), code)


def _by_column(part: Part, column: str, notes: list[str]) -> dict[str, Part]:
    """Cut by a column that names the split of each row."""
    import polars as pl

    assert part.split is not None
    named = part.split.cast(pl.String).str.strip_chars().str.to_lowercase()
    known = [alias for aliases in _SPLIT_NAMES.values() for alias in aliases]
    unknown = named.filter(~named.is_in(known) & named.is_not_null()).unique(maintain_order=True).to_list()
    if unknown:
        raise DataError(f"{part.where}: split column '{column}' holds {listed(unknown)}; a split is called train, val or test")
    if missing := named.null_count():
        notes.append(f"{part.where}: {missing:,} rows name no split in '{column}' and are left out")
    parts: dict[str, Any] = {name: part.take(named.is_in(aliases).fill_null(False).to_numpy()) for name, aliases in _SPLIT_NAMES.items()}
    return {name: piece for name, piece in parts.items() if len(piece) or name == "train"}
