"""Reading files: every format against what was written, and every broken file against the line that is broken."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random

import numpy as np
import polars as pl
import pytest
from sklearn.datasets import dump_svmlight_file, load_svmlight_file

from recipes.data.columns import take_inputs
from recipes.data.files import FORMATS
from recipes.data.readers import is_sparse, read_file
from recipes.errors import DataError

TEXTS = ["plain", "with, comma", 'she said "no"', "two\nlines", "深度学习", "", "  padded  "]
LABELS = ["a", "b", "a", "c", "b", "a", "c"]


@pytest.fixture
def write(tmp_path):
    def write(name: str, content: str | bytes):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def delimited(separator=",", **options) -> str:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, lineterminator="\n", **options)
    writer.writerow(["text", "label"])
    writer.writerows(zip(TEXTS, LABELS, strict=True))
    return out.getvalue()


def texts_of(frame: pl.DataFrame) -> list[str]:
    return take_inputs(frame, {"text": "text"}, "file").to_list()


CONTENTS = {
    ".csv": delimited(),
    ".tsv": delimited("\t"),
    **dict.fromkeys(
        [".jsonl", ".ndjson", ".jsonlines", ".json"],
        "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in zip(TEXTS, LABELS, strict=True)),
    ),
}


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("suffix", CONTENTS)
def test_text_formats_give_back_what_was_written(write, suffix, zipped):
    content = CONTENTS[suffix].encode()
    path = write(f"rows{suffix}{'.gz' if zipped else ''}", gzip.compress(content) if zipped else content)
    frame = read_file(path)
    assert texts_of(frame) == TEXTS
    assert frame["label"].to_list() == LABELS


def test_every_suffix_has_a_test():
    others = {".parquet", ".txt", ".ft", ".fasttext", ".libsvm", ".svm"}
    assert set(CONTENTS) | others == set(FORMATS)


def test_parquet(tmp_path):
    frame = pl.DataFrame({"text": TEXTS, "label": LABELS, "x": np.arange(7.0)})
    frame.write_parquet(tmp_path / "rows[1].parquet")  # brackets are wildcards to some readers
    assert read_file(tmp_path / "rows[1].parquet").equals(frame)


def test_json_list_in_a_json_file(write):
    assert read_file(write("rows.json", json.dumps([{"text": "x", "label": 1}, {"text": "y", "label": 2}])))["label"].to_list() == [1, 2]


def test_json_keys_that_come_late_and_lists(write):
    path = write("rows.jsonl", '\ufeff{"text": "x", "labels": ["a", "b"]}\n\n{"text": null, "labels": [], "more": 1}\n')
    frame = read_file(path)
    assert frame["labels"].to_list() == [["a", "b"], []]
    assert frame["more"].to_list() == [None, 1]
    assert texts_of(frame) == ["x", ""]


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_line_ends_byte_order_mark_and_blank_lines_at_the_end(write, ends):
    path = write("rows.csv", "\ufefftext,label\nx,a\ny,b\n\n\n".replace("\n", ends))
    assert read_file(path).rows() == [("x", "a"), ("y", "b")]


def test_blank_field_and_quoted_blank_field_are_both_kept(write):
    frame = read_file(write("rows.csv", 'text,label\n,a\n"",b\n'))
    assert texts_of(frame) == ["", ""]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_csv_with_another_separator(write, separator):
    path = write("rows.csv", f"text{separator}label\na, b{separator}1\nc{separator}2\n")
    assert read_file(path).rows() == [("a, b", 1), ("c", 2)]


def test_tsv_where_a_quote_mark_is_a_character(write):
    path = write("rows.tsv", 'text\tlabel\n"it" is good\tpos\nsay "no\tneg\n')
    assert read_file(path).rows() == [('"it" is good', "pos"), ('say "no', "neg")]


def test_quote_marks_inside_an_unquoted_csv_field(write):
    path = write("rows.csv", 'text,label\na 5" pipe,x\nan "odd" one,y\n6" more,z\n')
    assert read_file(path).rows() == [('a 5" pipe', "x"), ('an "odd" one', "y"), ('6" more', "z")]


def test_numbers_and_truths_are_typed_and_names_are_not(write):
    rows = ["a,b,c,d,e,f,g", "1,1.5,NA,007,true,x,1e400", "2, -2 ,3,010,FALSE,NA,1", "-3,null,?,011,,2,2"]
    frame = read_file(write("rows.csv", "\n".join(rows) + "\n"))
    assert frame["a"].to_list() == [1, 2, -3]
    assert frame["a"].dtype == pl.Int64
    assert frame["b"].to_list() == [1.5, -2.0, None]
    assert frame["c"].to_list() == [None, 3, None]
    assert frame["d"].to_list() == ["007", "010", "011"]  # leading zeros: a code, not a number
    assert frame["e"].to_list() == [True, False, None]
    assert frame["f"].to_list() == ["x", "NA", "2"]  # a column of words: NA is one of them
    assert frame["g"].to_list() == [float("inf"), 1.0, 2.0]


def test_the_word_nan_is_a_number_that_is_none(write):
    """It is kept apart from an empty cell, so that the source can refuse it."""
    frame = read_file(write("rows.csv", "a,b\n1,x\nnan,y\nNaN,z\n,w\n-nan,v\nNAN,u\n"))
    assert frame["a"].is_null().to_list() == [False, False, False, True, False, False]
    assert frame["a"].is_nan().to_list() == [False, True, True, None, True, True]


def test_a_column_is_typed_by_all_its_values(write):
    values = ["1"] * 500 + ["word"]
    frame = read_file(write("rows.csv", "x,y\n" + "".join(f"{v},{i}.5\n" for i, v in enumerate(values))))
    assert frame["x"].to_list() == values
    assert frame["y"].dtype == pl.Float64


def test_the_row_index_that_pandas_writes_is_left_out(write):
    assert read_file(write("rows.csv", ",text,label\n0,x,a\n1,y,b\n")).columns == ["text", "label"]
    kept = read_file(write("kept.csv", ",text,label\n5,x,a\n9,y,b\n"))
    assert kept.columns == ["column_1", "text", "label"]


def test_header_names_are_stripped(write):
    assert read_file(write("rows.csv", "text , label\nx,a\n")).columns == ["text", "label"]


def test_a_field_longer_than_the_csv_module_takes(write):
    long = "word " * 40_000
    path = write("rows.csv", f'text,label\n"{long}",a\nshort,\n')  # the empty last field makes the slow path look
    assert read_file(path)["text"][0] == long


@pytest.mark.parametrize("suffix", [".txt", ".ft", ".fasttext", ".txt.gz"])
def test_fasttext(write, suffix):
    content = b"__label__a a text here\n__label__b\n text __label__c in between\nno label\n\n"
    frame = read_file(write(f"rows{suffix}", gzip.compress(content) if suffix.endswith(".gz") else content))
    assert frame["text"].to_list() == ["a text here", "", "text in between", "no label", ""]
    assert frame["label"].to_list() == ["a", "b", "c", None, None]


def test_fasttext_several_labels_and_none(write):
    several = read_file(write("several.txt", "__label__a __label__b x\n__label__a y\nz\n"))
    assert several["label"].to_list() == [["a", "b"], ["a"], None]  # no label, which is another thing than none of the labels
    assert read_file(write("none.txt", "just text\nand more\n")).columns == ["text"]


@pytest.mark.parametrize("suffix", [".libsvm", ".svm"])
@pytest.mark.parametrize("zero_based", [True, False])
def test_libsvm_equals_scikit_learn(tmp_path, suffix, zero_based):
    rng = np.random.default_rng(0)
    features = np.round(rng.normal(size=(30, 6)) * (rng.random((30, 6)) < 0.4), 3)
    features[:, 0] += 1  # so that both ends of the index range are in use
    features[0, 5] = 2
    labels = rng.choice([-1, 1], 30)
    path = tmp_path / f"rows{suffix}"
    dump_svmlight_file(features, labels, str(path), zero_based=zero_based, query_id=np.arange(30) // 5, comment="a comment")
    frame = read_file(path)
    expected, targets = load_svmlight_file(str(path), zero_based=zero_based)
    np.testing.assert_array_equal(frame.drop("label").to_numpy(), expected.toarray())
    assert frame.columns[:6] == [f"f{i + (not zero_based)}" for i in range(6)]
    assert frame["label"].to_list() == targets.astype(int).tolist()
    assert is_sparse(path)
    assert not is_sparse("rows.csv")


def test_libsvm_labels_signs_lists_and_none(write):
    assert read_file(write("signs.libsvm", "+1 1:2\n-1 2:1 # note\n"))["label"].to_list() == [1, -1]
    several = read_file(write("several.libsvm", "1,3 1:2\n 2:1\n2 1:1\n"))
    assert several["label"].to_list() == [["1", "3"], [], ["2"]]
    assert several["f2"].to_list() == [0.0, 1.0, 0.0]
    assert read_file(write("none.libsvm", "1:2\n2:1\n")).columns == ["f1", "f2"]


def test_quoted_fields_with_random_content_survive(write):
    rng = random.Random(0)
    rows = [["".join(rng.choices('ab ,"\n\té', k=rng.randint(1, 12))), rng.choice("xyz")] for _ in range(300)]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([["text", "label"], *rows])
    assert read_file(write("rows.csv", out.getvalue())).rows() == [tuple(row) for row in rows]


BROKEN = {
    "too few fields": ("rows.csv", b"a,b,c\n1,2,3\n4,5\n6,7,8\n", "line 3: 2 fields, but the header has 3"),
    "too many fields": ("rows.csv", b'a,b\n"x\ny",2\n3,4,5\n', "line 4: 3 fields, but the header has 2"),
    "too few at the end": ("rows.csv", b"a,b\n1,2\n3", "line 3: 1 field, but the header has 2"),
    "ragged tsv": ("rows.tsv", b"a\tb\n1\t2\n3\n", "line 3: 1 field, but the header has 2"),
    "quote not closed": ("rows.csv", b'a,b\n1,2\n"x,3\ny,4\n', "line 3: bad quotes"),
    "quote closed too early": ("rows.csv", b'a,b\n"it" is,2\n', "line 2: bad quotes"),
    "byte in a row": ("rows.csv", b"a,b\n1,2\nx\xff,3\n", "line 3: byte 0xff (byte 2 of the line)"),
    "byte in the header": ("rows.csv", b"a\xe9,b\n1,2\n", "line 1: byte 0xe9 (byte 2 of the line)"),
    "byte in json": ("rows.jsonl", b'{"a": 1}\n{"a": "\xff"}\n', "line 2: byte 0xff"),
    "byte in fasttext": ("rows.txt", b"__label__a x\n__label__b \xff\n", "line 2: byte 0xff"),
    "utf-16": ("rows.csv", "a,b\n1,2\n".encode("utf-16"), "iconv -f UTF-16"),
    "column named twice": ("rows.csv", b"a,b,a\n1,2,3\n", "line 1: a column name stands there more than once: 'a'"),
    "blank header": ("rows.csv", b"\na,b\n1,2\n", "line 1: this line must name the columns"),
    "header only": ("rows.csv", b"a,b\n", "has a header and no rows"),
    "blank rows only": ("rows.csv", b"a,b\n\n\n", "has a header and no rows"),
    "no content": ("rows.csv", b"", "is empty (0 bytes)"),
    "empty gzip": ("rows.csv.gz", gzip.compress(b""), "line 1: this line must name the columns"),
    "blank json": ("rows.jsonl", b"\n\n", "holds no rows"),
    "bad json": ("rows.jsonl", b'{"a": 1}\n{"a": \n', "line 2: not JSON"),
    "json of another kind": ("rows.jsonl", b'{"a": 1}\n[3]\n', "line 2: expected an object"),
    "bad json list": ("rows.json", b'[{"a": 1},\n{"a" 2}]', "line 2: not JSON"),
    "parquet": ("rows.parquet", b"PAR1 but not really", "is no readable Parquet file"),
    "libsvm value": ("rows.libsvm", b"1 1:2\n\n-1 2:x\n", "line 3: '2:x' is not index:value"),
    "libsvm index": ("rows.libsvm", b"1 1:2\n-1 q\n", "line 2: 'q' is not index:value"),
    "libsvm too wide": ("rows.libsvm", b"1 1:2\n-1 900000000:1\n", "too many for a dense table"),
    "truncated gzip": ("rows.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 1000)[:-20], "cannot be read"),
    "suffix": ("rows.cvs", b"a,b\n1,2\n", "did you mean '.csv'?"),
    "suffix of no format": ("rows.docx", b"PK", ".csv .tsv .jsonl"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_are_told_with_file_and_line(write, case):
    name, content, message = BROKEN[case]
    path = write(name, content)
    with pytest.raises(DataError) as caught:
        read_file(path, "data.train")
    assert message in str(caught.value)
    assert str(caught.value).startswith("data.train: ")
    assert name in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 5


def test_missing_file_names_the_nearest_one(write, tmp_path):
    write("reviews.csv", "a\n1\n")
    with pytest.raises(DataError, match=r"data\.path: no file .*review\.csv.*did you mean .*reviews\.csv"):
        read_file(tmp_path / "review.csv")
    with pytest.raises(DataError, match=r"files in .*: reviews\.csv"):
        read_file(tmp_path / "zzz.parquet")
    with pytest.raises(DataError, match="there is no folder"):
        read_file(tmp_path / "nowhere" / "reviews.csv")
    with pytest.raises(DataError, match="is a folder"):
        read_file(tmp_path)


def test_home_is_expanded(write, tmp_path, monkeypatch):
    write("rows.csv", "a,b\n1,2\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_file("~/rows.csv").rows() == [(1, 2)]
