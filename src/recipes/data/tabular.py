"""Tables as numbers: impute, standardise, one-hot or embed; every figure measured on train.

N rows, F features, K embedded categorical columns.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from recipes.data.dtypes import conform, kind_of
from recipes.data.encoder import Encoder
from recipes.data.facts import Needs
from recipes.data.features import Features
from recipes.data.stores import Arrays, DenseStore, Store
from recipes.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import polars as pl
    from typing_extensions import Self


@dataclass
class Column:
    """One column of the train table and what was measured on it."""

    name: str
    kind: str  # "number", "boolean" or "category"
    fill: float = 0.0  # stands for a missing number
    mean: float = 0.0
    scale: float = 1.0
    indicator: bool = False  # a second feature says where the number was missing
    levels: list[str] | None = None  # of a category, most frequent first
    missing_level: bool = False  # a missing value is a level of its own, after the others
    other_level: bool = False  # one-hot: train has rows of rare levels, so that the level for rare and unseen ones was trained
    edges: list[float] = field(default_factory=list)  # of a number's pieces, rising, in standard deviations

    @property
    def size(self) -> int:
        """Levels of a category, the one for rare and unseen values (0) included."""
        return 1 + len(self.levels or ()) + self.missing_level

    def width(self, categorical: str) -> int:
        """Features that the column becomes."""
        if self.kind != "category":
            return 1 + self.indicator + max(0, len(self.edges) - 1)
        return self.size - (not self.other_level) if categorical == "onehot" else 0


class TabularEncoder(Encoder):
    """Columns of train, in their order; at prediction they may come in any order and among others.

    Numbers and booleans: missing values are imputed, then (x - mean) / standard deviation, where a constant column keeps scale 1.
    `pieces` adds to each number its piecewise linear encoding (Gorishniy et al. 2022): one feature for each piece between two edges, 0
    below it and 1 above, so that a network can bend where a tree would cut. Categories: levels by descending count; rare levels and those
    that train has not seen share level 0.
    """

    kind = "tabular"

    def __init__(self, features: Features, columns: list[Column]) -> None:
        self.features, self.columns = features, columns

    @classmethod
    def fit(cls, data: pl.DataFrame, features: Features, needs: Needs, rows: np.ndarray | None = None) -> tuple[Self, Store, list[str]]:
        columns, empty = [], []
        for series in data.iter_columns():
            if _missing(series).all():
                empty.append(series.name)
            elif (kind := _kind(series)) == "category":
                columns.append(_fit_category(series, features))
            else:
                columns.append(_fit_number(series.name, kind, _numbers(series, "train", rows), features))
        if not columns:
            raise DataError("train: no feature column holds a value" + (f" (all empty: {', '.join(empty)})" if empty else ""))
        notes = [f"train: column '{name}' has no value in any row and was left out" for name in empty]
        encoder = cls(features, columns)
        store, more = encoder.store(data, "train", rows)
        return encoder, store, notes + more

    def store(self, data: pl.DataFrame, name: str = "predict", rows: np.ndarray | None = None) -> tuple[Store, list[str]]:
        missing = [column.name for column in self.columns if column.name not in data.columns]
        if missing:
            others = [have for have in data.columns if have not in {column.name for column in self.columns}]
            hints = "".join(f"\n  '{column}': {did_you_mean(column, others)}" for column in missing[:8]) if others else ""
            raise DataError(f"{name}: {len(missing)} of the columns that the model was trained on are not there: {_some(missing)}{hints}")
        blocks, levels, sizes, one_hot = [], [], [], []
        for column in self.columns:
            series = conform(data[column.name], column.kind, name)
            if column.kind != "category":
                blocks += _encode_number(column, _numbers(series, name, rows), name, rows)
            elif self.features.categorical == "embed":
                levels.append(_encode_category(column, series))
                sizes.append(column.size)
            else:
                codes = _encode_category(column, series)
                hot = [codes == level for level in range(0 if column.other_level else 1, column.size)]
                one_hot.append((len(blocks), len(blocks) + len(hot)))
                blocks += hot
        features = np.empty((len(data), len(blocks)), np.float32)
        for position, block in enumerate(blocks):
            features[:, position] = block
        codes = np.stack(levels, axis=1) if levels else np.empty((len(data), 0), np.int64)
        return DenseStore(features, codes, sizes, one_hot), []

    def facts(self) -> dict[str, Any]:
        embedded = [column for column in self.columns if column.kind == "category" and self.features.categorical == "embed"]
        return {
            "num_features": sum(column.width(self.features.categorical) for column in self.columns),
            "category_sizes": tuple(column.size for column in embedded),
        }

    def describe(self) -> str:
        categories = sum(column.kind == "category" for column in self.columns)
        indicators = sum(column.indicator for column in self.columns)
        how = "one-hot" if self.features.categorical == "onehot" else "embedded"
        cut = " in pieces" if self.features.pieces is not None else ""
        parts = [(len(self.columns) - categories, f"numeric{cut}"), (categories, how), (indicators, "missing-value indicators")]
        return ", ".join(f"{count} {what}" for count, what in parts if count) + f": {self.facts()['num_features']} features"

    def state(self) -> tuple[dict[str, Any], Arrays]:
        return {"kind": self.kind, "features": asdict(self.features), "columns": [asdict(column) for column in self.columns]}, {}

    @classmethod
    def from_state(cls, settings: dict[str, Any], arrays: Arrays) -> Self:
        return cls(Features(**settings["features"]), [Column(**column) for column in settings["columns"]])


def _missing(series: pl.Series) -> pl.Series:
    return series.is_null() | series.is_nan() if series.dtype.is_float() else series.is_null()


def _kind(series: pl.Series) -> str:
    """Number, category or boolean."""
    kind = kind_of(series.dtype)
    if kind is None:
        raise DataError(
            f"train: column '{series.name}' holds {series.dtype}, of which no feature can be made\n"
            f"  turn it into numbers or strings, or name the columns to use: data.features=[...]"
        )
    return kind


def _numbers(series: pl.Series, name: str, rows: np.ndarray | None) -> np.ndarray:
    """(N,) float64 of a number or boolean column, NaN where the value is missing. Raises DataError for an infinite one."""
    import polars as pl

    values = series.cast(pl.Float64).fill_null(np.nan).to_numpy()
    if np.isinf(values).any():
        _refuse(series, np.isinf(values), name, rows, "is not finite; where a value is missing leave the cell empty")
    return values


def _refuse(series: pl.Series, wrong: np.ndarray, name: str, rows: np.ndarray | None, why: str) -> None:
    first = int(np.flatnonzero(wrong)[0])
    row = 1 + (first if rows is None else int(rows[first]))
    more = f" (and {wrong.sum() - 1:,} more rows)" if wrong.sum() > 1 else ""
    raise DataError(f"{name}: column '{series.name}', data row {row}{more}: {series[first]!r} {why}")


def _fit_number(name: str, kind: str, values: np.ndarray, features: Features) -> Column:
    missing = np.isnan(values)
    present = values[~missing]
    fill = 0.0 if features.impute == "zero" else float(np.median(present) if features.impute == "median" else np.mean(present))
    column = Column(name, kind, fill=fill, indicator=bool(features.indicators and missing.any()))
    if features.standardize:
        whole = np.where(missing, fill, values)
        largest = float(np.abs(whole).max()) or 1.0  # squares of large numbers would overflow
        column.mean = float((whole / largest).mean()) * largest
        deviation = float((whole / largest).std()) * largest
        # Rounding alone gives a constant column a tiny deviation.
        if deviation > 10 * np.finfo(np.float64).eps * abs(column.mean):
            column.scale = deviation
    if features.pieces is not None:
        column.edges = _edges((present - column.mean) / column.scale, features.pieces)
    return column


def _edges(values: np.ndarray, pieces: int) -> list[float]:
    """Quantiles of the values, and of the distinct ones: where most rows have one value, the others would share a single piece."""
    shares = np.linspace(0, 1, pieces + 1)
    edges = np.unique([np.quantile(each, shares, method="inverted_cdf") for each in (values, np.unique(values))])
    return [float(edge) for edge in edges] if len(edges) > 2 else []  # two values are told apart by the number itself


def _encode_number(column: Column, values: np.ndarray, name: str, rows: np.ndarray | None) -> list[np.ndarray]:
    missing = np.isnan(values)
    encoded = (np.where(missing, column.fill, values) - column.mean) / column.scale
    wrong = np.abs(encoded) > np.finfo(np.float32).max
    if wrong.any():
        import polars as pl

        _refuse(pl.Series(column.name, values), wrong, name, rows, "is too large for a 32-bit number; rescale the column")
    pieces = [np.clip((encoded - low) / (high - low), 0, 1) for low, high in pairwise(column.edges)]
    return [encoded, *([missing] if column.indicator else []), *pieces]


def _fit_category(series: pl.Series, features: Features) -> Column:
    import polars as pl

    text = series.cast(pl.String)
    counts = text.drop_nulls().to_frame("level").group_by("level").len().sort(["len", "level"], descending=[True, False])
    kept = counts.filter(pl.col("len") >= features.category_min_count).head(features.category_max_levels or len(counts))
    return Column(
        series.name,
        "category",
        levels=kept["level"].to_list(),
        missing_level=series.null_count() >= features.category_min_count,
        other_level=len(kept) < len(counts) or 0 < series.null_count() < features.category_min_count,
    )


def _encode_category(column: Column, series: pl.Series) -> np.ndarray:
    """(N,) int64 level: 0 for rare and unseen values."""
    import polars as pl

    levels = pl.Series(column.levels or [], dtype=pl.String)
    places = pl.Series(np.arange(1, len(levels) + 1))
    codes = series.cast(pl.String).replace_strict(levels, places, default=0, return_dtype=pl.Int64).to_numpy()
    return np.where(series.is_null().to_numpy(), column.size - 1 if column.missing_level else 0, codes)


def _some(names: list[str], most: int = 8) -> str:
    return ", ".join(f"'{name}'" for name in names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
