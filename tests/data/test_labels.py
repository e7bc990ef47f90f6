"""Labels: names out of any column type, the task, the class order, and targets."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from recipes.data.labels import as_task, class_order, clean_labels, count_labels, encode_labels, infer_task, listed
from recipes.errors import ConfigError, DataError


def cleaned(values, separator=None, **options) -> list:
    return clean_labels(pl.Series("label", values, **options), separator, "file").to_list()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["a", " b ", "", None, "  "], ["a", "b", None, None, None]),
        ([1, 0, None, -1], ["1", "0", None, "-1"]),
        ([1.0, 0.0, None, float("nan")], ["1", "0", None, None]),
        ([0.5, 1.0], ["0.5", "1.0"]),
        ([True, False, None], ["true", "false", None]),
        ([["a", " b"], [], None, ["", "c", None]], [["a", "b"], [], None, ["c"]]),
        ([[1, 2], [3]], [["1", "2"], ["3"]]),
        ([[1.0, 2.0], [3.0], None], [["1", "2"], ["3"], None]),
    ],
)
def test_names(values, expected):
    assert cleaned(values) == expected


def test_categories_are_names():
    assert cleaned(["a", "b", None], dtype=pl.Categorical) == ["a", "b", None]


def test_separator_cuts_into_labels():
    assert cleaned(["a|b", "c", " | ", None, "a| b|"], "|") == [["a", "b"], ["c"], [], None, ["a", "b"]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.linspace(0, 1, 500).tolist(), "quantity"),
        ((np.arange(500) % 30 + 0.5).tolist(), "quantity"),
        ([f"id-{i}" for i in range(100)], "identifier"),
        (list(range(100)), "identifier"),
        ([float("inf"), 1.0], "infinite"),
        ([[0.5], [1.0]], "holds lists of"),
        ([{"a": 1}], "a label is a name"),
    ],
)
def test_columns_that_are_no_labels(values, message):
    with pytest.raises(DataError, match=message):
        cleaned(values)


def test_many_whole_numbers_that_repeat_are_classes():
    assert len(set(cleaned((np.arange(300) % 60).astype(float).tolist()))) == 60


def test_single_names_and_lists_become_what_the_task_says():
    names = pl.Series("label", ["a", None, "b"])
    assert as_task(names, "multilabel", "file").to_list() == [["a"], None, ["b"]]
    assert as_task(names, None, "file") is names
    lists = pl.Series("label", [["a"], [], None, ["b"]])
    assert as_task(lists, "multiclass", "file").to_list() == ["a", None, None, "b"]
    with pytest.raises(DataError, match=r"task=binary, but data row 2 has several labels; use task=multilabel"):
        as_task(pl.Series("label", [["a"], ["a", "b"], None]), "binary", "file")


@pytest.mark.parametrize(
    ("labels", "task", "expected"),
    [
        (["a", "b"], None, "binary"),
        (["a", "b", "c"], None, "multiclass"),
        (["a", "b"], "multiclass", "multiclass"),
        ([["a"], ["b"]], None, "multilabel"),
    ],
)
def test_task(labels, task, expected):
    series = pl.Series("label", labels)
    assert infer_task(series, list(count_labels(series)), task, "file") == expected


@pytest.mark.parametrize(
    ("labels", "task", "message"),
    [
        (["a", "a"], None, "only one class \\('a'\\)"),
        ([["a"], ["a"]], None, "only one label"),
        ([], None, "no row has a class"),
        (["a", "b", "c"], "binary", "task=binary, but there are 3 classes: 'a', 'b', 'c'; use task=multiclass"),
    ],
)
def test_tasks_that_cannot_be(labels, task, message):
    series = pl.Series("label", labels, dtype=None if labels else pl.String)
    with pytest.raises(DataError, match=message):
        infer_task(series, list(count_labels(series)), task, "file")


def test_classes_are_sorted_by_name_and_numbers_by_value():
    assert list(count_labels(pl.Series(["b", "a", "b", None]))) == ["a", "b"]
    assert list(count_labels(pl.Series(["10", "9", "-1", "10"]))) == ["-1", "9", "10"]
    assert list(count_labels(pl.Series(["10", "9", "x"]))) == ["10", "9", "x"]
    assert count_labels(pl.Series([["b", "a"], ["b"], []])) == {"a": 1, "b": 2}


def test_order_of_classes():
    counts = {"a": 3, "b": 9, "c": 1}
    assert class_order(counts, "multiclass", None) == ("a", "b", "c")
    assert class_order({"a": 3, "b": 9}, "binary", None) == ("b", "a")  # the rarer class is the positive one
    assert class_order({"neg": 5, "pos": 5}, "binary", None) == ("neg", "pos")
    assert class_order({"a": 3, "b": 9}, "binary", "b") == ("a", "b")
    assert class_order({"0": 3, "1": 9}, "binary", 1) == ("0", "1")
    assert class_order({"false": 3, "true": 9}, "binary", True) == ("false", "true")
    with pytest.raises(ConfigError, match=r"data\.positive: there is no class 'spma'; did you mean 'spam'"):
        class_order({"ham": 3, "spam": 9}, "binary", "spma")
    with pytest.raises(ConfigError, match="only a binary task has a positive class"):
        class_order(counts, "multiclass", "a")


def test_targets_of_single_labels():
    targets, unseen = encode_labels(pl.Series(["b", "a", "z", "b", "z"]), ("a", "b"))
    assert targets.dtype == np.int64
    assert targets.tolist() == [1, 0, -1, 1, -1]
    assert unseen == {"z": 2}


def test_targets_of_label_sets():
    targets, unseen = encode_labels(pl.Series([["b", "a"], [], ["z"], ["b", "b"]]), ("a", "b"))
    assert targets.dtype == np.float32
    assert targets.tolist() == [[1, 1], [0, 0], [0, 0], [0, 1]]
    assert unseen == {"z": 1}


def test_names_in_messages():
    assert listed({"a": 1200, "b": 2}) == "'a' (1,200), 'b' (2)"
    assert listed([str(i) for i in range(10)]).endswith("'7' and 2 more")
