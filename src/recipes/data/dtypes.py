"""Columns that a file holds as strings, told to be numbers or truth values where they are; and columns of two files made alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from recipes.errors import DataError

if TYPE_CHECKING:
    import polars as pl

# What people write where a number is missing. In a column of words they stay words: "NA" may be Namibia, "none" an answer.
# "nan" is none of them: it is what a computation that failed leaves behind, and `check_numbers` refuses it unless told otherwise.
MISSING = ("", "na", "n/a", "#n/a", "<na>", "null", "<null>", "none", "?")
NaN = Literal["error", "missing"]
_SAMPLE = 100


def typed(frame: pl.DataFrame) -> pl.DataFrame:
    """String columns that hold only numbers, or only true and false, become Int64, Float64 or Boolean.

    A mark of MISSING in a number column is null, `nan` stays NaN. Numbers written with leading zeros (zip codes, "007") are names and
    stay strings.
    """
    import polars as pl

    changed = {name: new for name in frame.columns if (new := _parsed(frame[name])) is not None} if frame.height else {}
    return frame.with_columns(pl.Series(name, column) for name, column in changed.items())


def _parsed(column: pl.Series) -> pl.Series | None:
    """The column as numbers or truth values, or None where it is neither."""
    import polars as pl

    if column.dtype != pl.String:
        return None
    # Nearly every column of words betrays itself in its first values.
    if _numbers(column.drop_nulls().head(_SAMPLE)) is None and _truths(column.drop_nulls().head(_SAMPLE)) is None:
        return None
    found = _truths(column)
    return found if found is not None else _numbers(column)


def _numbers(column: pl.Series) -> pl.Series | None:
    import polars as pl

    text = column.str.strip_chars()
    numbers = text.cast(pl.Float64, strict=False)
    unread = text.filter(numbers.is_null() & text.is_not_null())
    if unread.len() and not unread.str.to_lowercase().is_in(MISSING).all():
        return None
    if numbers.null_count() == numbers.len() or text.str.contains(r"^[+-]?0\d").any():
        return None
    whole = text.cast(pl.Int64, strict=False)
    return whole if whole.null_count() == numbers.null_count() else numbers


def _truths(column: pl.Series) -> pl.Series | None:
    text = column.str.to_lowercase()
    found = text.drop_nulls()
    return text == "true" if found.len() and found.is_in(["true", "false"]).all() else None


def kind_of(dtype: pl.DataType) -> str | None:
    """What a feature column is to a model: "number", "category" or "boolean"; None where it can be no feature (dates, lists)."""
    import polars as pl

    if dtype == pl.Boolean:
        return "boolean"
    if dtype.is_numeric():
        return "number"
    return "category" if dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null) else None


def conform(column: pl.Series, kind: str, where: str) -> pl.Series:
    """A feature column read from another file, as the kind that it has in train. Raises DataError where a value does not fit."""
    import polars as pl

    given = kind_of(column.dtype)
    if given == kind:
        return column
    if given is None or (kind == "boolean" and given == "number"):
        raise DataError(f"{where}: column '{column.name}' is {column.dtype}, but in train it is a {kind}")
    if kind == "category":
        return column.cast(pl.String)
    if given == "boolean":
        return column.cast(pl.Float64)
    text = column.cast(pl.String).str.strip_chars()
    lower = text.str.to_lowercase()
    if kind == "number":
        found, unread = (numbers := text.cast(pl.Float64, strict=False)), numbers.is_null()
    else:
        found, unread = lower == "true", ~lower.is_in(["true", "false"])
    blank = text.is_null() | lower.is_in(MISSING)
    bad = unread & ~blank
    if bad.any():
        row = int(bad.arg_max() or 0)
        raise DataError(f"{where}: column '{column.name}' holds '{text[row]}' in data row {row + 1}, but in train it is a {kind}")
    return found.set(blank, None)


def check_numbers(features: pl.DataFrame, nan: NaN, where: str) -> pl.DataFrame:
    """The columns with NaN as null where `nan` is "missing". Raises DataError for NaN elsewhere, and for an infinite number.

    The message names each such column, its first row and the count.
    """
    import polars as pl

    if nan == "missing":
        features = features.with_columns(pl.selectors.float().fill_nan(None))
    infinite = _found(features, pl.Series.is_infinite, "infinite")
    not_numbers = _found(features, pl.Series.is_nan, "NaN")
    if infinite or not_numbers:
        ways = ", or set data.nan=missing to read NaN as missing" if not_numbers else ""
        head = f"{where}: a feature must be a finite number\n  where a value is missing write an empty cell (null in a frame){ways}"
        problems = not_numbers + infinite
        more = [f"  and {len(problems) - 8} more columns"] if len(problems) > 8 else []
        raise DataError("\n".join([head, *problems[:8], *more]))
    return features


def _found(features: pl.DataFrame, test: Callable[[pl.Series], pl.Series], what: str) -> list[str]:
    """One line for each float column with a value that the test finds."""
    import polars as pl

    lines = []
    for column in features.select(pl.selectors.float()).iter_columns():
        found = test(column).fill_null(False)
        if found.any():
            lines.append(f"  column '{column.name}': {found.sum():,} {what}, the first in data row {int(found.arg_max() or 0) + 1}")
    return lines


def missing_counts(features: pl.DataFrame) -> dict[str, int]:
    """Null values of each column that has any."""
    return {column.name: count for column in features.iter_columns() if (count := column.null_count())}
