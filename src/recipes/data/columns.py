"""Which column is what: found by themselves where there is one candidate only, else asked for with the columns listed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recipes.data.dtypes import check_numbers, conform, kind_of
from recipes.errors import ConfigError, DataError, nearest

if TYPE_CHECKING:
    import polars as pl

_LABEL_NAMES = ("label", "labels", "target", "class")
_FEW = 100  # at most so many distinct values in a column that may be a label found by itself
_SAMPLE = 10_000
_SHOWN = 12


@dataclass(frozen=True)
class Asked:
    """The columns that the user named; None where the column is to be found, or is not there."""

    text: str | None = None
    label: str | None = None
    features: Sequence[str] | None = None
    weight: str | None = None
    group: str | None = None
    split: str | None = None


@dataclass(frozen=True)
class Roles:
    """The columns in use. Either `text` is a name or `features` are."""

    label: str
    text: str | None
    features: tuple[str, ...]
    weight: str | None
    group: str | None
    split: str | None
    unused: tuple[str, ...]  # columns that are read by nothing

    def found(self, asked: Asked) -> str:
        """What was found without being asked for, for a message; "" where all was named."""
        what = [f"the label is column '{self.label}'"] if asked.label is None else []
        if self.text is not None and asked.text is None:
            what.append(f"the text is column '{self.text}'")
        elif self.text is None and asked.features is None:
            what.append(f"the features are the other {len(self.features)} columns")
        return ", ".join(what)


def find_roles(frame: pl.DataFrame, asked: Asked, where: str) -> Roles:
    """The role of each column of the train file.

    Label: `asked.label`, else the column called label, labels, target or class, else y, else the only one with 2 to 100 distinct values
    that repeat. Text: `asked.text`, else the only column of words in a file without further columns, else the only one whose values
    look like text (most differ and they are long). No text: every column left is a feature. Raises ConfigError, with the columns
    listed, where more than one could be meant.
    """
    named = {"text": asked.text, "label": asked.label, "weight": asked.weight, "group": asked.group, "split": asked.split}
    _check_named(frame, named, asked.features, where)
    taken = {name for name in named.values() if name is not None}
    label = asked.label or _find_label(frame, [c for c in frame.columns if c not in taken | set(asked.features or ())], where)
    rest = [c for c in frame.columns if c not in taken | {label}]
    text = asked.text
    if text is None and asked.features is None:
        text = _find_text(frame, rest, where)
    if text is not None:
        features: tuple[str, ...] = ()
    elif asked.features is not None:
        features = tuple(asked.features)
        if unfit := [c for c in features if kind_of(frame.schema[c]) is None]:
            raise ConfigError(f"data.features: '{unfit[0]}' is {frame.schema[unfit[0]]}; a feature is a number, a word or true/false")
    else:
        features = tuple(c for c in rest if kind_of(frame.schema[c]) is not None)
        if not features:
            raise ConfigError(_listing("data.text: no column is left to learn from besides the label", frame, frame.columns, where))
    used = taken | {label, *features} | ({text} if text is not None else set())
    return Roles(label, text, features, asked.weight, asked.group, asked.split, tuple(c for c in frame.columns if c not in used))


def take_inputs(frame: pl.DataFrame, columns: dict[str, Any], where: str) -> pl.Series | pl.DataFrame:
    """What a model trained on `columns` (of `Tables`) reads of a table: the texts, or the feature columns as they were typed in train.

    A table with a single column is read as the texts whatever it is called, but for the label's name. Raises DataError for a missing
    column, a value of another kind, and a number that is not finite (NaN as `data.nan` says).
    """
    import polars as pl

    if "text" in columns:
        alone = frame.width == 1 and frame.columns[0] != columns.get("label")
        name = frame.columns[0] if alone else columns["text"]
        require_columns(frame, [name], where)
        return as_texts(frame[name]).alias(columns["text"])
    kinds: dict[str, str] = columns["dtypes"]
    if columns.get("sparse"):
        frame = frame.with_columns(pl.lit(0.0).alias(name) for name in kinds if name not in frame.columns)
    require_columns(frame, list(kinds), where)
    return check_numbers(pl.DataFrame([conform(frame[name], kind, where) for name, kind in kinds.items()]), columns["nan"], where)


def as_texts(column: pl.Series) -> pl.Series:
    """A column as texts, in training and later: what is missing is empty, and blanks alone are no text either."""
    import polars as pl

    texts = column.cast(pl.String).fill_null("")
    return texts.set(texts.str.contains(r"^\s*$"), "")


def _check_named(frame: pl.DataFrame, named: dict[str, str | None], features: Sequence[str] | None, where: str) -> None:
    """Each named column exists, and has one role."""
    roles: dict[str, str] = {}
    for key, name in [*named.items(), *(("features", f) for f in features or ())]:
        if name is None:
            continue
        if name not in frame.columns:
            raise ConfigError(f"data.{key}: {where} has no column '{name}'; {_near(name, frame)}")
        if name in roles and {key, roles[name]} != {"features", "group"}:
            raise ConfigError(f"data.{key}: column '{name}' is named by data.{roles[name]} as well; a column has one role")
        roles[name] = key
    if named["text"] is not None and features is not None:
        raise ConfigError("data.text and data.features are both given; text and columns cannot be used together: leave one of them null")
    if features is not None and not features:
        raise ConfigError("data.features: the list is empty; name at least one column, or give null for all")


def require_columns(frame: pl.DataFrame, names: Sequence[str], where: str) -> None:
    missing = [name for name in names if name not in frame.columns]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise DataError(f"{where}: there is no column '{missing[0]}'{more}; {_near(missing[0], frame)}")


def _near(name: str, frame: pl.DataFrame) -> str:
    close = nearest(name, frame.columns)
    if close is not None:
        return f"did you mean '{close}'?"
    return f"it has: {', '.join(frame.columns[:_SHOWN])}{' ...' if frame.width > _SHOWN else ''}"


def _find_label(frame: pl.DataFrame, candidates: list[str], where: str) -> str:
    called = [c for c in candidates if c.lower() in _LABEL_NAMES] or [c for c in candidates if c.lower() == "y"]
    if len(called) == 1:
        return called[0]
    found = called or [c for c in candidates if _few_values(frame[c])]
    if len(found) == 1:
        return found[0]
    why = "cannot tell which column is the class" if found else "no column looks like a class (2 to 100 values that repeat)"
    raise ConfigError(_listing(f"data.label: {why}; name it: data.label=<column>", frame, found or candidates, where))


def _few_values(column: pl.Series) -> bool:
    """Whether a column could be a label: few values, each on two rows or more on average."""
    import polars as pl

    if isinstance(column.dtype, pl.List):
        return column.dtype.inner == pl.String or column.dtype.inner.is_integer()
    if column.dtype.is_float() or kind_of(column.dtype) is None:
        return False
    distinct = column.drop_nulls().n_unique()
    return 2 <= distinct <= min(_FEW, column.len() / 2)


def _find_text(frame: pl.DataFrame, candidates: list[str], where: str) -> str | None:
    import polars as pl

    words = [c for c in candidates if frame.schema[c] == pl.String]
    if len(words) == 1 and len(candidates) == 1:
        return words[0]
    found = [c for c in words if _is_text(frame[c])]
    if len(found) > 1:
        raise ConfigError(_listing("data.text: more than one column looks like text; name one: data.text=<column>", frame, found, where))
    return found[0] if found else None


def _is_text(column: pl.Series) -> bool:
    """Mostly different values of 20 characters or more, or of 8 or more in scripts that need fewer, or long ones that may repeat."""
    sample = column.head(_SAMPLE).drop_nulls()
    if sample.len() == 0:
        return False
    length = float(sample.str.len_chars().mean() or 0)  # type: ignore[arg-type]
    if sample.n_unique() < sample.len() / 2:
        return length >= 100
    return length >= 20 or (length >= 8 and float(sample.str.len_bytes().mean() or 0) > 2 * length)  # type: ignore[arg-type]


def _listing(head: str, frame: pl.DataFrame, names: Sequence[str], where: str) -> str:
    """An error with the columns, their types, how many values differ, and one value."""
    import polars as pl

    lines = [head, f"  columns of {where}:"]
    width = min(30, max(len(name) for name in names[:_SHOWN])) if names else 0
    for name in names[:_SHOWN]:
        column = frame[name].drop_nulls()
        example = str(column.first())[:40] if column.len() else ""
        try:
            distinct = f"{column.n_unique():,} different"
        except pl.exceptions.PolarsError:  # nested types cannot be counted
            distinct = ""
        lines.append(f"    {name:<{width}}  {frame.schema[name]!s:<8}  {distinct:>18}   {example!r}")
    if len(names) > _SHOWN:
        lines.append(f"    and {len(names) - _SHOWN} more")
    return "\n".join(lines)
