"""Reading a broken text file once more, slowly, to say which line is broken and how."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from recipes.errors import DataError


def decode(data: bytes, where: str) -> str:
    """UTF-8 text, a byte order mark taken off. Raises DataError naming line, column and byte."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line, column = before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1
        utf16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
        raise DataError(
            f"{where}, line {line}: byte 0x{data[error.start]:02x} (byte {column} of the line) is not UTF-8\n"
            f"  save the file as UTF-8, for example: iconv -f {'UTF-16' if utf16 else 'WINDOWS-1252'} -t UTF-8 OLD > NEW"
        ) from None


def header(data: bytes, separator: str, where: str) -> tuple[str, list[str]]:
    """The separator and the column names of a delimited file; a column without a name is called `column_<position from 1>`."""
    with _long_fields():
        try:
            names = next(csv.reader(_text(data, where), delimiter=separator), [])
            for other in (";", "\t"):
                if separator == "," and len(names) == 1 and other in names[0]:
                    separator, names = other, next(csv.reader(_text(data, where), delimiter=other), [])
                    break
        except csv.Error as error:
            raise DataError(f"{where}, line 1: {error}") from None
    if not any(name.strip() for name in names):
        raise DataError(f"{where}, line 1: this line must name the columns, but it is blank")
    names = [name.strip() or f"column_{position}" for position, name in enumerate(names, 1)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"{where}, line 1: a column name stands there more than once: {', '.join(repr(t) for t in twice[:10])}")
    return separator, names


def delimited_rows(data: bytes, width: int, separator: str, quoted: bool, where: str) -> list[list[str | None]]:
    """The rows below the header, without blank lines; None for an empty field. Raises DataError naming the first line that does not fit."""
    source = io.StringIO(decode(data, where), newline="")
    reader = csv.reader(source, delimiter=separator, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE, strict=True)
    rows: list[list[str | None]] = []
    line = 1  # where the record began; one with line breaks in quotes spans several
    with _long_fields():
        try:
            for fields in reader:
                if fields and len(fields) != width and line > 1:
                    raise DataError(_ragged(fields, width, line, where))
                if fields and line > 1:
                    rows.append([field or None for field in fields])
                line = reader.line_num + 1
        except csv.Error as error:
            hint = "a quote mark that belongs to the text is written twice inside a quoted field"
            raise DataError(f'{where}, line {line}: bad quotes ({error})\n  {hint}: "she said ""no"""') from None
    return rows


def check_json(data: bytes, array: bool, where: str) -> None:
    """Raise DataError naming the first line that is no JSON object."""
    text = decode(data, where)
    if array:
        _object(text, 0, where)
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip() and not isinstance(_object(line, number - 1, where), dict):
            example = '{"text": "...", "label": "..."}'
            raise DataError(f"{where}, line {number}: expected an object such as {example}, got {line.strip()[:40]}")


def _object(text: str, lines_before: int, where: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}, line {lines_before + error.lineno}: not JSON: {error.msg} (column {error.colno})") from None


def _ragged(fields: list[str], width: int, line: int, where: str) -> str:
    shown = " | ".join(field[:20] for field in fields[:6]) + (" | ..." if len(fields) > 6 else "")
    return (
        f"{where}, line {line}: {len(fields)} field{'s' * (len(fields) != 1)}, but the header has {width}\n"
        f"  the line reads: {shown}\n"
        f"  a field that holds the separator or a line break must stand in double quotes"
    )


def _text(data: bytes, where: str) -> Iterator[str]:
    """Lines, decoded one by one, so that looking at the header costs no more than the header."""
    start = 0
    while start < len(data):
        end = data.find(b"\n", start) + 1 or len(data)
        try:
            yield data[start:end].decode("utf-8-sig" if start == 0 else "utf-8")
        except UnicodeDecodeError:
            decode(data, where)
        start = end


@contextmanager
def _long_fields() -> Iterator[None]:
    """A text may be longer than the csv module's limit of 128 KiB a field, which is global to the process."""
    before = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(before)
