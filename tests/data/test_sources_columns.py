"""Which column is what: found where one can be meant, else asked for with the columns listed."""

from __future__ import annotations

import datetime

import polars as pl
import pytest

from recipes.data.columns import Asked, find_roles, take_inputs
from recipes.errors import ConfigError, DataError

LONG = [f"a sentence of some length with the number {i}" for i in range(40)]
OTHER = [f"another sentence of the same row, again number {i}" for i in range(40)]
FEW = ["x", "y"] * 20
CHINESE = [f"体验游戏的十大创新概览{i}" for i in range(40)]


def roles(columns: dict, **asked):
    return find_roles(pl.DataFrame(columns), Asked(**asked), "mine.csv")


@pytest.mark.parametrize("name", ["label", "Labels", "target", "class", "y"])
def test_label_by_name(name):
    found = roles({"body": LONG, name: FEW, "kind": FEW})
    assert (found.text, found.label, found.unused) == ("body", name, ("kind",))
    assert found.found(Asked()) == f"the label is column '{name}', the text is column 'body'"
    assert found.found(Asked(text="body", label=name)) == ""


def test_y_may_be_a_coordinate():
    found = roles({"x": list(range(40)), "y": FEW, "label": FEW})
    assert (found.label, found.features) == ("label", ("x", "y"))
    assert found.found(Asked()) == "the label is column 'label', the features are the other 2 columns"


def test_label_as_the_only_column_whose_values_repeat():
    assert roles({"body": LONG, "mood": FEW, "id": list(range(40)), "score": [i / 7 for i in range(40)]}).label == "mood"
    assert roles({"body": LONG, "tags": [["a"], ["a", "b"]] * 20}).label == "tags"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"body": LONG, "mood": FEW, "topic": FEW}, "cannot tell which column is the class"),
        ({"body": LONG, "label": FEW, "class": FEW}, "cannot tell which column is the class"),
        ({"body": LONG, "id": list(range(40))}, "no column looks like a class"),
    ],
)
def test_label_is_asked_for(columns, message):
    with pytest.raises(ConfigError) as caught:
        roles(columns)
    text = str(caught.value)
    assert message in text
    assert "data.label=<column>" in text
    assert "columns of mine.csv" in text
    for name in set(columns) - {"body"}:
        assert f"    {name} " in text


def test_the_listing_shows_type_number_of_values_and_an_example():
    with pytest.raises(ConfigError, match=r"mood\s+String\s+2 different\s+'x'"):
        roles({"mood": FEW, "topic": FEW})


def test_text_among_other_columns():
    found = roles({"id": [f"row-{i}" for i in range(40)], "body": LONG, "stars": [1, 2] * 20, "label": FEW})
    assert found.text == "body"
    assert found.features == ()
    assert found.unused == ("id", "stars")
    assert roles({"id": [f"row-{i}" for i in range(40)], "headline": CHINESE, "label": FEW}).text == "headline"


def test_short_texts_when_there_is_nothing_else():
    assert roles({"word": ["good", "bad"] * 20, "label": FEW}).text == "word"


def test_two_texts_are_asked_for():
    with pytest.raises(ConfigError, match=r"data\.text: more than one column looks like text; name one: data\.text=<column>"):
        roles({"title": LONG, "body": OTHER, "label": FEW})
    assert roles({"title": LONG, "body": OTHER, "label": FEW}, text="title").text == "title"


def test_a_table():
    found = roles({"age": list(range(40)), "job": FEW, "member": [True, False] * 20, "label": FEW})
    assert (found.text, found.features) == (None, ("age", "job", "member"))
    assert roles({"body": LONG, "age": list(range(40)), "label": FEW}, features=["age"]).features == ("age",)
    found = roles({"age": list(range(40)), "g": FEW, "w": [1.0] * 40, "s": FEW, "label": FEW}, group="g", weight="w", split="s")
    assert found.features == ("age",)


def test_dates_and_lists_are_no_features():
    columns = {"age": list(range(40)), "day": [datetime.date(2020, 1, 1)] * 40, "label": FEW}
    found = roles(columns)
    assert (found.features, found.unused) == (("age",), ("day",))
    with pytest.raises(ConfigError, match=r"data\.features: 'day' is Date"):
        roles(columns, features=["day", "age"])
    with pytest.raises(ConfigError, match="no column is left to learn from"):
        roles({"day": columns["day"], "label": FEW})


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"label": "labell"}, r"data\.label: mine.csv has no column 'labell'; did you mean 'label'\?"),
        ({"text": "zzz"}, r"data\.text: mine.csv has no column 'zzz'; it has: body, label, kind"),
        ({"features": ["kind", "zzz"]}, r"data\.features: mine.csv has no column 'zzz'"),
        ({"group": "zzz"}, r"data\.group"),
        ({"weight": "zzz"}, r"data\.weight"),
        ({"split": "zzz"}, r"data\.split"),
        ({"text": "body", "label": "body"}, r"data\.label: column 'body' is named by data\.text as well"),
        ({"features": ["kind", "kind"]}, r"named by data\.features as well"),
        ({"text": "body", "features": ["kind"]}, "data.text and data.features are both given"),
        ({"features": []}, "the list is empty"),
    ],
)
def test_names_that_cannot_be(asked, message):
    with pytest.raises(ConfigError, match=message):
        roles({"body": LONG, "label": FEW, "kind": FEW}, **asked)


def test_inputs_of_a_text_model():
    columns = {"text": "body"}
    frame = pl.DataFrame({"id": [1, 2], "body": ["a", None]})
    assert take_inputs(frame, columns, "new.csv").to_list() == ["a", ""]
    assert take_inputs(pl.DataFrame({"text": ["only column"]}), columns, "new.txt").to_list() == ["only column"]
    assert take_inputs(pl.DataFrame({"body": [12, None]}), columns, "new.csv").to_list() == ["12", ""]
    with pytest.raises(DataError, match=r"new\.csv: there is no column 'body'; did you mean 'Body'"):
        take_inputs(pl.DataFrame({"id": [1], "Body": ["a"]}), columns, "new.csv")
    with pytest.raises(DataError, match="there is no column 'body'"):  # a lone column of labels is no text
        take_inputs(pl.DataFrame({"tag": ["spam"]}), {**columns, "label": "tag"}, "new.csv")


def test_inputs_of_a_table_model():
    kinds = {"age": "number", "job": "category", "member": "boolean"}
    columns = {"features": list(kinds), "dtypes": kinds, "sparse": False, "nan": "error"}
    frame = pl.DataFrame({"member": ["true", "?"], "extra": [0, 0], "job": [1, 2], "age": ["3", "NA"]})
    taken = take_inputs(frame, columns, "new.csv")
    assert taken.to_dict(as_series=False) == {"age": [3.0, None], "job": ["1", "2"], "member": [True, None]}
    with pytest.raises(DataError, match=r"new.csv: there is no column 'age' \(and 1 more\)"):
        take_inputs(frame.select("job"), columns, "new.csv")
    with pytest.raises(DataError, match="column 'member' holds 'perhaps' in data row 2, but in train it is a boolean"):
        take_inputs(frame.with_columns(member=pl.Series(["true", "perhaps"])), columns, "new.csv")
    with pytest.raises(DataError, match="column 'member' is Int64, but in train it is a boolean"):
        take_inputs(frame.with_columns(member=pl.Series([1, 0])), columns, "new.csv")
    odd = frame.with_columns(age=pl.Series([float("nan"), 1.0]))
    with pytest.raises(DataError, match="column 'age': 1 NaN, the first in data row 1"):
        take_inputs(odd, columns, "new.csv")
    assert take_inputs(odd, columns | {"nan": "missing"}, "new.csv")["age"].to_list() == [None, 1.0]
    sparse = take_inputs(frame.select("job", "member"), columns | {"sparse": True}, "new.libsvm")
    assert sparse["age"].to_list() == [0.0, 0.0]
