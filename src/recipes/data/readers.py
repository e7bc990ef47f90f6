"""Files to polars tables, by suffix.

The reading itself is polars'; only where it fails, or may have filled up a short line in silence, is the file read once more, slowly,
to name the line (see `malformed`).
"""

from __future__ import annotations

import gzip
import zlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recipes.data import malformed
from recipes.data.dtypes import typed
from recipes.data.files import form, locate
from recipes.errors import DataError

if TYPE_CHECKING:
    import polars as pl

LABEL, TEXT = "label", "text"  # column names of the formats that have none
_PREFIX = "__label__"
_MOST_CELLS = 200_000_000  # a sparse libsvm file as a dense table: 1.6 GB


def read_file(path: str | Path, key: str = "data.path") -> pl.DataFrame:
    """Read a CSV, TSV, JSON lines, Parquet, fastText or libsvm file; text formats may be gzipped.

    CSV and TSV: a header line, UTF-8, quotes as in RFC 4180 (in a TSV where that fails, a quote mark is a character); columns of numbers
    or of true/false are typed (`dtypes.typed`); a first column without a name that counts the rows is left out, blank lines at the end
    too. A CSV whose header has no comma may be separated by `;` or a tab.
    fastText: columns `text` and `label` (lists where any line has several labels; no `label` where no line has one).
    libsvm: columns `f<index>`, 0 where an index is absent, and `label` as in fastText.
    `key` is the setting that named the file, for messages. Raises DataError, with the line where there is one.
    """
    file = locate(path, key)
    where = f"{key}: '{path}'"
    frame = _READERS[form(file, key)](file, where)
    if frame.height == 0:
        raise DataError(f"{where} has a header and no rows below it" if frame.width else f"{where} holds no rows")
    return frame


def is_sparse(path: str | Path) -> bool:
    """Whether a column that a file of this kind lacks is a column of zeros."""
    return form(Path(path), "") == "libsvm"


def _delimited(file: Path, where: str) -> pl.DataFrame:
    """CSV, TSV."""
    data = _content(file, where)
    tabs = ".tsv" in [s.lower() for s in file.suffixes[-2:]]
    if b"\n" not in data:  # line ends of old Macs; polars knows \n and \r\n
        data = data.replace(b"\r", b"\n")
    separator, names = malformed.header(data, "\t" if tabs else ",", where)
    try:
        frame = _rows(data, names, separator, True, where)
    except DataError as problem:
        # Half of the world's TSV files quote as CSV does; in the other half a quote mark is a character like any other.
        try:
            if not tabs:
                raise
            frame = _rows(data, names, separator, False, where)
        except DataError:
            raise problem from None
    frame = typed(_without_blank_end(frame))
    return frame.drop(names[0]) if names[0] == "column_1" and _counts_rows(frame["column_1"]) else frame


def _rows(data: bytes, names: list[str], separator: str, quoted: bool, where: str) -> pl.DataFrame:
    """All rows as strings; raises DataError naming the first line that cannot be read."""
    import polars as pl

    try:
        frame = pl.read_csv(data, separator=separator, infer_schema=False, quote_char='"' if quoted else None)
        frame.columns = names
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        frame = None
    # polars fills a short line up with nulls, which looks like an empty last field; only counting the fields tells them apart.
    if frame is None or (len(names) > 1 and frame[names[-1]].null_count()):
        rows = malformed.delimited_rows(data, len(names), separator, quoted, where)
        if frame is None:  # some polars versions refuse a quote mark inside an unquoted field, which is legal
            frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
    return frame


def _without_blank_end(frame: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    if frame.height == 0 or any(value is not None for value in frame.row(-1)):
        return frame
    filled = frame.select(pl.any_horizontal(pl.all().is_not_null())).to_series()
    return frame.head(int(np.flatnonzero(filled.to_numpy())[-1]) + 1 if filled.any() else 0)


def _counts_rows(column: pl.Series) -> bool:
    """0, 1, 2 ... or 1, 2, 3 ...: the index that pandas writes as an unnamed first column."""
    if not column.dtype.is_integer() or column.null_count() or column[0] not in (0, 1):
        return False
    return bool((column.to_numpy() == np.arange(column.len()) + column[0]).all())


def _json(file: Path, where: str) -> pl.DataFrame:
    """One JSON object a line, or a list of them where the file is called .json."""
    import polars as pl

    data = _content(file, where).removeprefix(b"\xef\xbb\xbf")
    array = data[:100].lstrip()[:1] == b"["
    if not data.strip():
        raise DataError(f"{where} holds no rows")
    try:
        frame = pl.read_json(data, infer_schema_length=None) if array else pl.read_ndjson(data, infer_schema_length=None)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, RuntimeError) as error:
        malformed.check_json(data, array, where)
        raise DataError(f"{where} cannot be read as a table: {_first_line(error)}") from error
    return frame


def _parquet(file: Path, where: str) -> pl.DataFrame:
    import polars as pl

    try:
        with open(file, "rb") as stream:  # a path would be searched for wildcards
            return pl.read_parquet(stream)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise DataError(f"{where} is no readable Parquet file: {_first_line(error)}") from error


def _fasttext(file: Path, where: str) -> pl.DataFrame:
    """`__label__a __label__b some text`; a label may stand anywhere in the line."""
    import polars as pl

    lines = _lines(file, where)
    labels = lines.str.extract_all(rf"(?:^|\s){_PREFIX}\S+")
    text = lines.str.replace_all(rf"(?:^|\s){_PREFIX}\S+", "").str.strip_chars()
    names = labels.list.eval(pl.element().str.strip_chars().str.strip_prefix(_PREFIX))
    # A line without a label is a row without one, among lines with several labels as well.
    names = names.set(names.list.len() == 0, None) if names.list.len().max() else names
    return pl.DataFrame({TEXT: text, **_label_column(names)})


def _libsvm(file: Path, where: str) -> pl.DataFrame:
    """`label index:value ...`, with `a,b` for several labels, `qid:` and comments skipped."""
    import polars as pl

    text = _lines(file, where)
    lines = pl.DataFrame({"line": text, "number": np.arange(1, text.len() + 1)})
    lines = lines.with_columns(pl.col("line").str.replace(r"#.*$", "").str.replace_all(r"\s+", " ").str.strip_chars(" "))
    lines = lines.filter(pl.col("line") != "").with_row_index("row")
    if lines.height == 0:
        raise DataError(f"{where} holds no rows")
    head = pl.col("line").str.extract(r"^([^ :]+)(?: |$)", 1)
    lines = lines.with_columns(head.str.split(",").list.eval(pl.element().filter(pl.element() != "")).fill_null([]).alias("names"))
    cells = lines.select("row", "number", pl.col("line").str.replace(r"^[^ :]+(?: |$)", "").str.split(" ").alias("cell")).explode("cell")
    cells = cells.filter((pl.col("cell") != "") & ~pl.col("cell").str.starts_with("qid:"))
    parts = cells["cell"].str.splitn(":", 2).struct.unnest()
    index = parts.to_series(0).cast(pl.Int64, strict=False)
    value = parts.to_series(1).cast(pl.Float64, strict=False)
    bad = index.is_null() | value.is_null() | (index < 0).fill_null(False)
    if bad.any():
        at = int(bad.arg_max() or 0)
        line, cell = cells["number"][at], cells["cell"][at]
        raise DataError(f"{where}, line {line}: '{cell}' is not index:value; a line reads: label 1:0.5 7:1.0 ...")
    columns = index.to_numpy()
    first, last = min(1, int(columns.min(initial=1))), int(columns.max(initial=0))
    if (width := last - first + 1) * lines.height > _MOST_CELLS:
        raise DataError(
            f"{where}: {lines.height:,} rows of {width:,} features are too many for a dense table (at most {_MOST_CELLS:,} numbers)\n"
            "  keep the features that matter, or give the texts themselves, which stay sparse"
        )
    dense = np.zeros((lines.height, width))
    dense[cells["row"].to_numpy(), columns - first] = value.to_numpy()
    features = pl.DataFrame(dense, schema=[f"f{first + i}" for i in range(width)])
    return features.with_columns(typed(pl.DataFrame(_label_column(lines["names"]))).get_columns())


def _label_column(names: pl.Series) -> dict[str, pl.Series]:
    """Lists of label names as a column: plain where no row has two, none at all where no row has one."""
    most = int(names.list.len().max() or 0)  # type: ignore[arg-type]
    if most == 0:
        return {}
    return {LABEL: (names if most > 1 else names.list.first()).alias(LABEL)}


def _lines(file: Path, where: str) -> pl.Series:
    """The lines of a text file."""
    import polars as pl

    data = _content(file, where).removeprefix(b"\xef\xbb\xbf")
    # As a table of one column it is cut without a Python string for each line; what separates columns must not occur.
    separator = next((sign for sign in "\x1f\x1e\x1d\x1c\x01\x02" if sign.encode() not in data), None)
    if data.strip() and separator is not None:
        with suppress(pl.exceptions.PolarsError, pl.exceptions.PanicException):
            frame = pl.read_csv(data, has_header=False, separator=separator, quote_char=None, schema={TEXT: pl.String})
            return frame[TEXT].fill_null("")
    lines = malformed.decode(data, where).replace("\r\n", "\n").removesuffix("\n").split("\n")
    return pl.Series(lines, dtype=pl.String)


def _content(file: Path, where: str) -> bytes:
    try:
        if file.suffix.lower() == ".gz":
            with gzip.open(file) as stream:
                return stream.read()
        return file.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{where} cannot be read: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


_READERS = {"csv": _delimited, "tsv": _delimited, "json": _json, "parquet": _parquet, "fasttext": _fasttext, "libsvm": _libsvm}
