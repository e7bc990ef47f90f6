"""What a source hands to the encoder: splits as read, with labels resolved.

N rows, C classes (labels of a multi-label task).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from recipes.data.facts import Modality, Task

if TYPE_CHECKING:
    import polars as pl


@dataclass
class Table:
    """One split. Either `text` or `features` is there."""

    name: str  # "train", "val" or "test"
    text: pl.Series | None  # (N,) String, no nulls ("" where empty)
    features: pl.DataFrame | None  # N rows; numeric, String, Categorical or Boolean columns; finite, nulls are missing values
    targets: np.ndarray  # (N,) int64 class index, or (N, C) float32 for multi-label
    weights: np.ndarray | None  # (N,) float32, at least 0
    rows: np.ndarray  # (N,) int64 row in its source file, from 0, the header not counted

    def __len__(self) -> int:
        return len(self.rows)

    def counts(self, num_classes: int) -> np.ndarray:
        """(C,) int64 rows of each class."""
        if self.targets.ndim == 2:
            return self.targets.sum(0).astype(np.int64)
        return np.bincount(self.targets, minlength=num_classes)


@dataclass
class Tables:
    """All splits, and what they have in common."""

    modality: Modality
    task: Task
    class_names: tuple[str, ...]
    train: Table
    val: Table | None
    test: Table | None
    notes: list[str]  # what was left out, found or assumed, with counts: sentences for the user
    # What prediction needs to read new input (`columns.take_inputs`), JSON-able: {"text": name, ...} for texts, or
    # {"features": [names], "dtypes": {name: kind}, "sparse": bool, "nan": ...}; "label" and "label_separator" for scoring labelled input.
    columns: dict[str, Any]
