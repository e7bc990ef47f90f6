"""Files to splits: who goes where, what is left out, and that each rule says so with its counts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recipes.data.parts import duplicate_codes
from recipes.data.sources import File
from recipes.errors import ConfigError, DataError

NAMES = ("train", "val", "test")


def csv_file(path: Path, columns: dict[str, list]) -> str:
    pl.DataFrame(columns).write_csv(path)
    return str(path)


def reviews(rows: int = 200, rare: int = 20, start: int = 0) -> dict[str, list]:
    """Distinct texts; the first `rare` rows are of class "bad", the others of class "good"."""
    return {
        "body": [f"this is the text of review number {start + i}" for i in range(rows)],
        "label": ["bad"] * rare + ["good"] * (rows - rare),
    }


@pytest.fixture
def path(tmp_path):
    return csv_file(tmp_path / "reviews.csv", reviews())


@pytest.fixture
def split_path(tmp_path):
    return csv_file(tmp_path / "split.csv", {**reviews(rare=100), "part": ["train", "test"] * 100})


def read(task=None, seed=0, **settings):
    return File(**settings).read(task, seed)


def splits(tables) -> dict:
    return {name: table for name in NAMES if (table := getattr(tables, name)) is not None}


def counts(tables) -> dict[str, list[int]]:
    return {name: table.counts(len(tables.class_names)).tolist() for name, table in splits(tables).items()}


def note(tables, part: str) -> str:
    found = [n for n in tables.notes if part in n]
    assert len(found) == 1, tables.notes
    return found[0]


def test_fractions_and_rows(path):
    tables = read(path=path)
    assert counts(tables) == {"train": [130, 14], "val": [14, 2], "test": [36, 4]}
    assert (tables.modality, tables.task, tables.class_names) == ("text", "binary", ("good", "bad"))
    rows = np.concatenate([table.rows for table in splits(tables).values()])
    assert sorted(rows) == list(range(200))
    for table in splits(tables).values():
        assert table.text.to_list() == [f"this is the text of review number {row}" for row in table.rows]
        assert table.targets.tolist() == [int(row < 20) for row in table.rows]
        assert (table.features, table.weights) == (None, None)
    assert tables.columns == {"label": "label", "label_separator": None, "text": "body"}
    assert tables.notes == ["reviews.csv: the label is column 'label', the text is column 'body'"]
    assert read(path=path, text="body", label="label").notes == []


def test_the_seed_decides_the_split(path):
    first, again, other = (read(path=path, seed=seed).test.rows.tolist() for seed in (0, 0, 1))
    assert first == again != other
    first, again, other = (read(train=path, seed=seed).val.rows.tolist() for seed in (0, 0, 1))
    assert first == again != other


def test_fractions_of_zero_make_no_split(path):
    tables = read(path=path, test_fraction=0.0, val_fraction=0.0)
    assert counts(tables) == {"train": [180, 20]}
    note(tables, "there is no test split")
    note(tables, "there is no val split")


def test_given_files_stay_as_they_are_and_val_is_made_of_train(tmp_path):
    files = {name: csv_file(tmp_path / f"{name}.csv", reviews(100, 10, start)) for name, start in zip(NAMES, (0, 100, 200), strict=True)}
    tables = read(**files)
    assert counts(tables) == {name: [90, 10] for name in NAMES}
    assert tables.val.text[0] == "this is the text of review number 100"
    tables = read(train=files["train"], test=files["test"])
    assert counts(tables) == {"train": [81, 9], "val": [9, 1], "test": [90, 10]}
    tables = read(train=files["train"], val=files["val"])
    assert counts(tables) == {"train": [90, 10], "val": [90, 10]}
    note(tables, "there is no test split")


def test_split_column(tmp_path):
    names = ["train", "Validation", " dev", "TEST", None] * 40
    path = csv_file(tmp_path / "reviews.csv", {**reviews(rare=100), "part": names})
    tables = read(path=path, split="part")
    assert {name: len(table) for name, table in splits(tables).items()} == {"train": 40, "val": 80, "test": 40}
    assert set(tables.test.rows % 5) == {3}
    assert "40 rows name no split in 'part'" in note(tables, "name no split")
    path = csv_file(tmp_path / "other.csv", {**reviews(rare=100), "part": ["train", "holdout"] * 100})
    with pytest.raises(DataError, match="split column 'part' holds 'holdout'; a split is called train, val or test"):
        read(path=path, split="part")
    path = csv_file(tmp_path / "none.csv", {**reviews(), "part": ["test"] * 200})
    with pytest.raises(DataError, match="no row of train is left"):
        read(path=path, split="part")


def test_folds_are_the_whole_file_in_parts(path):
    parts = [read(path=path, fold=fold, folds=4) for fold in range(4)]
    assert sorted(np.concatenate([tables.test.rows for tables in parts])) == list(range(200))
    for tables in parts:
        assert counts(tables) == {"train": [122, 14], "val": [13, 1], "test": [45, 5]}
        note(tables, "of 4 is test")
    assert len(read(path=path, fold=4).test) == 40  # five folds when data.folds is not given


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"folds": 3}, "data.folds=3 needs data.fold.*-m data.fold=0,1,2"),
        ({"folds": 3, "fold": 3}, "data.fold=3: folds are numbered from 0 to 2"),
        ({"fold": 5}, "from 0 to 4 .data.folds is 5 when"),
        ({"train": "x.csv"}, "data.path is one file to be split, so data.train cannot be given as well"),
        ({"label_separator": ""}, "data.label_separator"),
        ({"limit": 1}, r"data.limit=1 is fewer rows than there are classes \(2\)"),
        ({"positive": "god"}, "data.positive: there is no class 'god'; did you mean 'good'"),
    ],
)
def test_settings_that_cannot_be(path, settings, message):
    with pytest.raises((ConfigError, DataError), match=message):
        read(path=path, **settings)


def test_settings_that_need_a_file(path, split_path):
    with pytest.raises(ConfigError, match=r"data.path: no file is given"):
        File()
    with pytest.raises(ConfigError, match=r"data\.split is a column of data\.path"):
        File(train=path, split="part")
    for given in ({"train": path, "test": path}, {"path": split_path, "split": "part"}):
        with pytest.raises(ConfigError, match=r"data\.fold: folds are made of one file"):
            read(**given, fold=0)


def test_groups_stay_together(tmp_path):
    user = np.arange(200) % 40
    path = csv_file(tmp_path / "reviews.csv", {**reviews(rare=100), "user": [None if u == 39 else f"u{u}" for u in user]})
    for settings in ({}, {"fold": 1}):
        tables = read(path=path, group="user", **settings)
        seen = [set(user[table.rows]) - {39} for table in splits(tables).values()]
        assert len(set.union(*seen)) == sum(map(len, seen)) == 39
        assert "44 groups" in note(tables, "split by 'user'")  # the five rows without a user are groups of their own
        assert "5 rows have no 'user'" in note(tables, "have no 'user'")


def test_equal_texts_are_kept_in_one_split(tmp_path):
    columns = reviews(rare=100)
    columns["body"] = [f"this text stands here four times, number {i // 4}" for i in range(196)] + ["", " ", None, "once"]
    path = csv_file(tmp_path / "reviews.csv", columns)
    tables = read(path=path)
    texts = [set(table.text) - {""} for table in splits(tables).values()]
    assert len(set.union(*texts)) == sum(map(len, texts)) == 50
    assert "147 of 200 rows repeat" in note(tables, "repeat the text")
    assert "3 of 200 texts are empty; they are kept" in note(tables, "are empty")
    assert sum(len(table) for table in splits(tables).values()) == 200
    tables = read(path=path, duplicates="keep")
    shared = sum(text in set(tables.train.text) - {""} for text in tables.test.text)
    assert shared > 20
    assert f"{shared} of {len(tables.test)} test rows have a text that stands in train as well" in note(tables, " test rows")


def test_groups_and_equal_texts_together(tmp_path):
    columns = {**reviews(rare=100), "user": [f"u{i // 2}" for i in range(200)]}
    columns["body"][50] = columns["body"][150]  # ties u25 to u75
    tables = read(path=csv_file(tmp_path / "reviews.csv", columns), group="user")
    together = {50, 51, 150, 151}
    assert sum(bool(together & set(table.rows)) for table in splits(tables).values()) == 1


def test_equal_texts_of_given_splits_go_from_the_earlier_one(tmp_path):
    sizes = dict(zip(NAMES, (0, 90, 180), strict=True))  # each overlaps the one before by ten texts
    files = {name: csv_file(tmp_path / f"{name}.csv", reviews(100, 20, start)) for name, start in sizes.items()}
    tables = read(**files)
    assert [len(table) for table in splits(tables).values()] == [90, 90, 100]
    assert "10 of 100 train rows have a text that stands in test or val as well; they are left out of train" in note(tables, "train rows")
    assert "10 of 100 val rows have a text that stands in test as well" in note(tables, "val rows")
    tables = read(**files, duplicates="keep")
    assert [len(table) for table in splits(tables).values()] == [100, 100, 100]
    assert "10 of 100 val rows have a text that stands in train as well; their scores flatter" in note(tables, "flatter")
    with pytest.raises(DataError, match="every text of train stands in test"):
        read(train=files["train"], test=files["train"])


def test_empty_texts_say_nothing_of_each_other(tmp_path):
    columns = reviews(100)
    columns["body"][::2] = [""] * 50
    train = csv_file(tmp_path / "train.csv", columns)
    columns["body"][1::2] = [f"another text, number {i}" for i in range(50)]
    tables = read(train=train, test=csv_file(tmp_path / "test.csv", columns))
    assert len(tables.train) + len(tables.val) == len(tables.test) == 100
    codes = duplicate_codes(pl.Series([*(f"text {i}" for i in range(20)), "", "", "text 3"]))
    assert codes[:20].tolist() == list(range(20))  # by first occurrence, whatever the hashes are
    assert codes[22] == 3
    assert len(set(codes)) == 22


def test_missing_labels_are_left_out(tmp_path):
    columns = reviews()
    columns["label"][30:40] = [None] * 5 + ["  "] * 5
    tables = read(path=csv_file(tmp_path / "reviews.csv", columns))
    assert "reviews.csv: 10 of 200 rows have no label and are left out" in note(tables, "no label")
    rows = np.concatenate([table.rows for table in splits(tables).values()])
    assert sorted(rows) == [*range(30), *range(40, 200)]
    columns["label"] = [None] * 200
    with pytest.raises(DataError, match="no row of train is left"):
        read(path=csv_file(tmp_path / "none.csv", columns), label="label")


def test_classes_with_too_few_rows(tmp_path):
    columns = reviews()
    columns["label"][100:104] = ["odd", "twice", "twice", "odder"]
    path = csv_file(tmp_path / "reviews.csv", columns)
    with pytest.raises(DataError, match=r"2 classes have a single row.*'odd', 'odder'\n  data.min_class_rows=2 leaves such classes out"):
        read(path=path)
    tables = read(path=path, min_class_rows=2)
    assert tables.class_names == ("bad", "good", "twice")
    assert "2 classes have fewer than 2 rows (data.min_class_rows); left out: 'odd' (1), 'odder' (1)" in note(tables, "left out")
    assert counts(tables)["train"][2] == counts(tables)["test"][2] == 1
    assert "val has no row of 'twice' (2)" in note(tables, "val has no row")
    tables = read(path=path, min_class_rows=1)
    assert tables.train.counts(5).min() == 1
    assert {int(row) for row in tables.train.rows} >= {100, 103}
    tables = read(path=path, min_class_rows=3)
    assert (tables.task, tables.class_names) == ("binary", ("good", "bad"))
    with pytest.raises(DataError, match=r"data\.min_class_rows=100 leaves 1 of 5 classes"):
        read(path=path, min_class_rows=100)


def test_a_class_with_one_train_row_is_no_error_where_test_is_given(tmp_path):
    columns = reviews(100)
    columns["label"][50] = "odd"
    tables = read(train=csv_file(tmp_path / "train.csv", columns), test=csv_file(tmp_path / "test.csv", reviews(100, 20, 100)))
    assert counts(tables) == {"train": [18, 71, 1], "val": [2, 8, 0], "test": [20, 80, 0]}
    assert "val has no row of 'odd'" in note(tables, "val has no row")


def test_one_class_only(tmp_path):
    with pytest.raises(DataError, match=r"there is only one class \('good'\)"):
        read(path=csv_file(tmp_path / "reviews.csv", reviews(rare=0)), label="label")


def test_classes_that_train_does_not_have(tmp_path):
    train = csv_file(tmp_path / "train.csv", reviews(100))
    columns = reviews(50, 10, 100)
    columns["label"][40:] = ["new"] * 7 + ["newer"] * 3
    tables = read(train=train, test=csv_file(tmp_path / "test.csv", columns))
    assert counts(tables)["test"] == [30, 10]
    assert "10 test rows are left out: their class is not in train: 'new' (7), 'newer' (3)" in note(tables, "not in train")
    columns["label"] = ["other", "else"] * 25
    with pytest.raises(DataError, match=r"test.csv: no row of test is left; its classes are not those of train: 'other' \(25\)"):
        read(train=train, test=csv_file(tmp_path / "test.csv", columns))


def test_limit_cuts_train_only(path):
    tables = read(path=path, limit=30)
    assert counts(tables) == {"train": [27, 3], "val": [14, 2], "test": [36, 4]}
    assert "train is cut to 30 of 144 rows" in note(tables, "data.limit")
    assert tables.val.rows.tolist() == read(path=path).val.rows.tolist()
    assert len(read(path=path, limit=10_000).train) == 144


def test_positive_class(path):
    tables = read(path=path, positive="good")
    assert tables.class_names == ("bad", "good")
    assert tables.test.targets.tolist() == [int(row >= 20) for row in tables.test.rows]


def test_weights(tmp_path):
    weight = [round(0.1 * i, 1) for i in range(200)]
    path = csv_file(tmp_path / "reviews.csv", {**reviews(), "w": weight})
    for table in splits(read(path=path, weight="w")).values():
        assert table.weights.dtype == np.float32
        np.testing.assert_allclose(table.weights, 0.1 * table.rows, rtol=1e-6)
    assert read(path=path).train.weights is None
    for value, message in ((-1.0, "holds -1.0"), (None, "holds None"), (float("inf"), "holds inf")):
        wrong = csv_file(tmp_path / "wrong.csv", {**reviews(), "w": [*weight[:6], value, *weight[7:]]})
        with pytest.raises(DataError, match=rf"wrong.csv: weight column 'w' {message} in data row 7 \(1 bad value\)"):
            read(path=wrong, weight="w")
    with pytest.raises(DataError, match="every weight in column 'w' is 0"):
        read(path=csv_file(tmp_path / "zero.csv", {**reviews(), "w": [0] * 200}), weight="w")
    with pytest.raises(DataError, match="weight column 'body' is String"):
        read(path=path, weight="body", features=["w"])


def test_label_sets(tmp_path):
    topics = [["a"] if i % 2 else ["a", "b"] for i in range(190)] + [[]] * 10
    topics[7:10] = [["b", "c"], ["c"], None]
    rows = [json.dumps({"text": f"a text with the number {i}", "topics": t}) for i, t in enumerate(topics)]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    tables = read(path=str(tmp_path / "rows.jsonl"))
    assert (tables.task, tables.class_names) == ("multilabel", ("a", "b", "c"))
    for table in splits(tables).values():
        assert table.targets.dtype == np.float32
        expected = [[float(name in topics[row]) for name in "abc"] for row in table.rows]
        assert table.targets.tolist() == expected
    assert sum(len(table) for table in splits(tables).values()) == 199
    note(tables, "1 of 200 rows have no label")
    tables = read(path=str(tmp_path / "rows.jsonl"), min_class_rows=5)
    assert tables.class_names == ("a", "b")
    assert sum(len(table) for table in splits(tables).values()) == 199  # a label goes, its rows stay


def test_label_sets_with_a_separator_and_unseen_labels(tmp_path):
    columns = reviews(100)
    columns["label"] = ["x|y", "x", "y|x"] * 33 + ["y"]
    train = csv_file(tmp_path / "train.csv", columns)
    test = csv_file(tmp_path / "test.csv", {**reviews(9, 1, 100), "label": ["x|new", "y", "new"] * 3})
    tables = read(train=train, test=test, label_separator="|")
    assert (tables.task, tables.class_names) == ("multilabel", ("x", "y"))
    assert tables.test.targets.tolist() == [[1, 0], [0, 1], [0, 0]] * 3
    assert "6 test labels are left out: they are not in train: 'new' (6)" in note(tables, "not in train")


def test_task_is_overridden(path, tmp_path):
    assert read(path=path, task="multiclass").class_names == ("bad", "good")
    tables = read(path=path, task="multilabel")
    assert tables.train.targets.shape == (144, 2)
    with pytest.raises(DataError, match="task=binary, but there are 3 classes"):
        read(path=csv_file(tmp_path / "three.csv", {**reviews(), "label": ["a", "b", "c", "c"] * 50}), task="binary")


def table_columns(rows: int = 120) -> dict[str, list]:
    draw = np.random.default_rng(0)
    return {
        "age": [int(a) for a in draw.integers(20, 60, rows)],
        "income": [round(float(x), 2) for x in draw.normal(size=rows)],
        "job": [["cook", "clerk", None][i % 3] for i in range(rows)],
        "member": [bool(i % 2) for i in range(rows)],
        "label": [int(i % 4 == 0) for i in range(rows)],
    }


def test_tables(tmp_path):
    columns = table_columns()
    columns["income"][5] = None
    tables = read(path=csv_file(tmp_path / "people.csv", columns), label="label")
    assert (tables.modality, tables.task, tables.class_names) == ("tabular", "binary", ("0", "1"))
    assert tables.train.text is None
    whole = pl.concat([table.features.with_columns(row=table.rows) for table in splits(tables).values()]).sort("row")
    assert whole["age"].to_list() == columns["age"]
    assert whole["job"].to_list() == columns["job"]
    assert whole["member"].to_list() == columns["member"]
    assert "missing values are filled in by the encoder: 'income' (1), 'job' (40)" in note(tables, "missing values")
    kinds = {"age": "number", "income": "number", "job": "category", "member": "boolean"}
    names = {"label": "label", "label_separator": None, "features": list(kinds)}
    assert tables.columns == {**names, "dtypes": kinds, "sparse": False, "nan": "error"}
    assert json.loads(json.dumps(tables.columns)) == tables.columns


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_nan_is_an_error_that_names_both_ways_out(tmp_path, suffix):
    columns = table_columns()
    columns["income"][5] = columns["income"][9] = float("nan")
    columns["label"][0] = None
    path = tmp_path / f"people.{suffix}"
    csv_file(path, columns) if suffix == "csv" else pl.DataFrame(columns).write_parquet(path)
    with pytest.raises(DataError) as caught:
        read(path=str(path), label="label")
    assert str(caught.value).splitlines() == [
        f"people.{suffix}: a feature must be a finite number",
        "  where a value is missing write an empty cell (null in a frame), or set data.nan=missing to read NaN as missing",
        "  column 'income': 2 NaN, the first in data row 6",
    ]
    tables = read(path=str(path), label="label", nan="missing")
    assert "'income' (2)" in note(tables, "missing values")
    assert tables.columns["nan"] == "missing"
    assert all(not table.features["income"].is_nan().any() for table in splits(tables).values())


@pytest.mark.parametrize("nan", ["error", "missing"])
def test_infinity_is_an_error(tmp_path, nan):
    columns = table_columns()
    columns["income"][7:9] = [float("inf"), float("-inf")]
    pl.DataFrame(columns).write_parquet(tmp_path / "people.parquet")
    with pytest.raises(DataError, match=r"people\.parquet: a feature .*\n.*\n  column 'income': 2 infinite, the first in data row 8"):
        read(path=str(tmp_path / "people.parquet"), label="label", nan=nan)


def test_columns_of_test_are_read_as_in_train(tmp_path):
    train = csv_file(tmp_path / "train.csv", {**table_columns(), "zip": [f"0{i % 9}" for i in range(120)]})
    columns = {**table_columns(40), "zip": [11] * 40, "extra": [1] * 40}
    columns["income"] = ["n/a"] * 40
    tables = read(train=train, test=csv_file(tmp_path / "test.csv", columns), label="label")
    assert tables.test.features["zip"].to_list() == ["11"] * 40  # digits, but train says it is a name
    assert tables.test.features["income"].null_count() == 40
    assert tables.test.features.columns == tables.train.features.columns
    columns["age"] = ["young"] * 40
    with pytest.raises(DataError, match=r"test\.csv: column 'age' holds 'young' in data row 1, but in train it is a number"):
        read(train=train, test=csv_file(tmp_path / "test.csv", columns), label="label")
    del columns["age"]
    with pytest.raises(DataError, match=r"test\.csv: there is no column 'age'"):
        read(train=train, test=csv_file(tmp_path / "test.csv", columns), label="label")


def test_libsvm_columns_that_a_file_lacks_are_zero(tmp_path):
    (tmp_path / "train.libsvm").write_text("".join(f"{i % 2} 1:{i} 4:{i % 7}\n" for i in range(60)))
    (tmp_path / "test.libsvm").write_text("".join(f"{i % 2} 1:{i} 2:1 9:5\n" for i in range(20)))
    tables = read(train=str(tmp_path / "train.libsvm"), test=str(tmp_path / "test.libsvm"))
    assert tables.test.features.columns == ["f1", "f2", "f3", "f4"]
    assert tables.test.features["f4"].to_list() == [0.0] * 20
    assert tables.test.features["f2"].to_list() == [1.0] * 20
    assert tables.columns["sparse"]


def test_paths_are_relative_to_the_current_directory(path, monkeypatch):
    monkeypatch.chdir(Path(path).parent)
    assert len(read(path="reviews.csv").train) == 144


def test_fingerprint_follows_content_and_settings(path, tmp_path):
    base = File(path=path).fingerprint()
    assert json.loads(json.dumps(base)) == base
    assert File(path=path).fingerprint() == base
    assert File(path=path, cache="off").fingerprint() == base
    assert File(path=path, val_fraction=0.2).fingerprint() != base
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    copy = moved / "reviews.csv"
    copy.write_bytes(Path(path).read_bytes())
    assert File(path=str(copy)).fingerprint() == base  # the same file in another place
    copy.write_bytes(Path(path).read_bytes().replace(b"number 7", b"number 8"))
    assert File(path=str(copy)).fingerprint() != base
    assert File(train=path).fingerprint() != base
    with pytest.raises(DataError, match=r"data\.path: no file"):
        File(path=str(tmp_path / "gone.csv")).fingerprint()


def test_fingerprint_needs_no_slow_import(path):
    code = (
        "import sys, types\n"
        "import recipes\n"
        "room = types.ModuleType('recipes.data'); room.__path__ = [recipes.__path__[0] + '/data']; sys.modules['recipes.data'] = room\n"
        "from recipes.data.sources import File, ICD10, BreastCancer\n"
        f"[source.fingerprint() for source in (File(path={path!r}), ICD10(), BreastCancer())]\n"
        "print([name for name in ('polars', 'sklearn', 'scipy', 'simple_icd_10_cm', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": ":".join(sys.path)})
    assert done.stdout.strip() == "[]"
