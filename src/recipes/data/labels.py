"""The label column: names, task, class order, and the targets made of them.

N rows, C classes (labels of a multi-label task).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from recipes.data.facts import Task
from recipes.errors import ConfigError, DataError, did_you_mean

if TYPE_CHECKING:
    import polars as pl

_MANY = 20  # a label of numbers, or of values that hardly repeat, is doubted above so many values


def clean_labels(column: pl.Series, separator: str | None, where: str) -> pl.Series:
    """The label column as names, String or List(String), null where the label is missing.

    Names are stripped of blanks; an empty one is a missing label. Whole numbers stored as floats lose their point ("1.0" is "1"). With a
    `separator` each value is cut into several labels; in a list, blank names count as nothing, and an empty list is a row without labels.
    Raises DataError where the column looks like a quantity or an identifier rather than a class.
    """
    import polars as pl

    if isinstance(column.dtype, pl.List):
        return _names_in(_as_name_lists(column, where))
    names = _as_names(column, where)
    if separator is not None:
        return _names_in(names.str.split(separator))
    distinct, rows = names.drop_nulls().n_unique(), names.len() - names.null_count()
    fractions = column.dtype.is_float() and names.drop_nulls().str.contains(".", literal=True).any()
    if distinct > _MANY and (fractions or distinct > rows / 2):
        example = ", ".join(names.drop_nulls().unique(maintain_order=True).head(3))
        raise DataError(
            f"{where}: label column '{column.name}' has {distinct:,} different values in {rows:,} rows ({example} ...)\n"
            "  is it a quantity (regression is not supported) or an identifier? Name the column of the class: data.label=<column>"
        )
    return names


def _as_names(column: pl.Series, where: str) -> pl.Series:
    import polars as pl

    if column.dtype.is_float():
        column = column.fill_nan(None)
        if column.is_infinite().any():
            raise DataError(f"{where}: label column '{column.name}' holds infinite numbers")
        if ((column % 1) == 0).all():
            column = column.cast(pl.Int64)
    elif not (column.dtype.is_integer() or column.dtype in (pl.Boolean, pl.String, pl.Categorical, pl.Enum, pl.Null)):
        kinds = "a name, a whole number, true/false, or a list of them"
        raise DataError(f"{where}: label column '{column.name}' is {column.dtype}; a label is {kinds}")
    names = column.cast(pl.String).str.strip_chars()
    return names.set(names == "", None)


def _as_name_lists(column: pl.Series, where: str) -> pl.Series:
    import polars as pl

    inner = column.dtype.inner  # type: ignore[attr-defined]
    flat = column.explode().drop_nulls()
    fits = inner in (pl.String, pl.Null, pl.Categorical, pl.Enum) or inner.is_integer() or (inner.is_float() and (flat % 1 == 0).all())
    if not fits:
        raise DataError(f"{where}: label column '{column.name}' holds lists of {inner}; a label is a name or a whole number")
    return (column.cast(pl.List(pl.Int64)) if inner.is_float() else column).cast(pl.List(pl.String))


def _names_in(lists: pl.Series) -> pl.Series:
    import polars as pl

    return lists.list.eval(pl.element().str.strip_chars().filter(pl.element().str.strip_chars() != ""))


def as_task(labels: pl.Series, task: Task | None, where: str) -> pl.Series:
    """Labels in the shape of the task that the user set: lists for multilabel, single names else; as they are when none is set."""
    import polars as pl

    several = isinstance(labels.dtype, pl.List)
    if task == "multilabel" and not several:
        return labels.to_frame().select(pl.when(pl.col(labels.name).is_not_null()).then(pl.concat_list(labels.name))).to_series()
    if task in ("binary", "multiclass") and several:
        crowded = (labels.list.len() > 1).fill_null(False)
        if crowded.any():
            row = int(crowded.arg_max() or 0)
            raise DataError(f"{where}: task={task}, but data row {row + 1} has several labels; use task=multilabel")
        return labels.list.first()
    return labels


def count_labels(labels: pl.Series) -> dict[str, int]:
    """Rows of each name, in class order: numbers by value where all are whole numbers, else by code point."""
    import polars as pl

    flat = labels.explode() if isinstance(labels.dtype, pl.List) else labels
    counts = dict(flat.drop_nulls().value_counts().iter_rows())
    whole = all(name.lstrip("-").isascii() and name.lstrip("-").isdigit() for name in counts)
    return {name: counts[name] for name in sorted(counts, key=(lambda name: (int(name), name)) if whole else None)}


def infer_task(labels: pl.Series, names: Sequence[str], task: Task | None, where: str) -> Task:
    """The task that the labels tell, or the one that the user set, once it fits."""
    import polars as pl

    if len(names) < 2:
        what = "label" if isinstance(labels.dtype, pl.List) else "class"
        found = f"there is only one {what} ({names[0]!r})" if names else f"no row has a {what}"
        raise DataError(f"{where}: {found}, and a classifier needs two; is '{labels.name}' the right column? data.label=<column>")
    if task == "binary" and len(names) != 2:
        raise DataError(f"{where}: task=binary, but there are {len(names)} classes: {listed(names)}; use task=multiclass")
    if task is not None:
        return task
    if isinstance(labels.dtype, pl.List):
        return "multilabel"
    return "binary" if len(names) == 2 else "multiclass"


def class_order(counts: Mapping[str, int], task: Task, positive: str | int | bool | None) -> tuple[str, ...]:
    """Class names by index. Sorted, so that neither the seed nor a fold moves them; of two classes the positive one is the last.

    The positive class is the one that the user named, else the rarer one, else (equal counts) the last name.
    """
    names = tuple(counts)
    if positive is None:
        return tuple(sorted(names, key=lambda name: -counts[name])) if task == "binary" else names
    if task != "binary":
        raise ConfigError(f"data.positive={positive}: only a binary task has a positive class; this one is {task}, {len(names)} classes")
    wanted = str(positive).lower() if isinstance(positive, bool) else str(positive)
    if wanted not in names:
        raise ConfigError(f"data.positive: there is no class '{wanted}'; {did_you_mean(wanted, names)}")
    return (*(name for name in names if name != wanted), wanted)


def encode_labels(labels: pl.Series, names: Sequence[str]) -> tuple[np.ndarray, dict[str, int]]:
    """Targets, and how often each name occurs that is not in `names`.

    Single label: (N,) int64, -1 for such a name. Multi-label: (N, C) float32 of 0 and 1, such names left out.
    """
    import polars as pl

    index = pl.DataFrame({"name": list(names), "code": np.arange(len(names))}, schema={"name": pl.String, "code": pl.Int64})
    several = isinstance(labels.dtype, pl.List)
    frame = pl.DataFrame({"name": labels, "row": np.arange(labels.len())})
    if several:
        frame = frame.explode("name").drop_nulls("name")
    frame = frame.join(index, on="name", how="left").sort("row")
    unseen = dict(frame.filter(pl.col("code").is_null())["name"].value_counts(sort=True).iter_rows())
    if not several:
        return frame["code"].fill_null(-1).to_numpy().astype(np.int64), unseen
    frame = frame.drop_nulls("code")
    targets = np.zeros((labels.len(), len(names)), dtype=np.float32)
    targets[frame["row"].to_numpy(), frame["code"].to_numpy()] = 1
    return targets, unseen


def listed(names: Sequence[str] | Mapping[str, int], most: int = 8) -> str:
    """Names for a message, with their counts where there are any: `'a' (3), 'b' (2) and 5 more`."""
    counts = names if isinstance(names, Mapping) else None
    shown = [f"'{name}' ({counts[name]:,})" if counts is not None else f"'{name}'" for name in list(names)[:most]]
    return ", ".join(shown) + (f" and {len(names) - most} more" if len(names) > most else "")
