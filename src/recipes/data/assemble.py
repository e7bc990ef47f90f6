"""From tables as read to splits with targets: what is left out and why, who goes where, and a message with counts for each.

In this order: rows without a label go; a text that stands in two given splits goes from the earlier one; classes with too few rows go;
rows of val and test whose class train does not have go; val and test are made where they were not given; train is cut to `limit`.
Every rule has its setting in `sources.Source`.

N rows of a part, C classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from recipes.data.columns import Roles, find_roles
from recipes.data.dtypes import kind_of
from recipes.data.facts import Task
from recipes.data.labels import class_order, count_labels, encode_labels, infer_task, listed
from recipes.data.parts import Part, Raw, duplicate_codes, read_parts
from recipes.data.splits import folds, holdout, joined, subsample
from recipes.data.table import Table, Tables
from recipes.errors import ConfigError, DataError
from recipes.randomness import generator

if TYPE_CHECKING:
    from recipes.data.sources import Source

_WITHOUT = {
    "val": "the last weights are kept, and neither the monitor nor early stopping has anything to follow",
    "test": "nothing tells how the model does on new rows",
}


def assemble(raw: Raw, settings: Source, task: Task | None, seed: int) -> Tables:
    """Splits with targets. Raises DataError or ConfigError where the data does not allow what the settings ask for."""
    notes: list[str] = []
    roles = find_roles(raw.frames["train"], raw.asked, raw.where["train"])
    if found := roles.found(raw.asked):
        notes.append(f"{raw.where['train']}: {found}")
    parts = read_parts(raw, roles, task, settings.nan, notes)
    whole = raw.whole and roles.split is None
    if settings.fold is not None and not whole:
        raise ConfigError("data.fold: folds are made of one file without a split column; val and test are given here: set data.fold=null")
    if roles.text is not None and settings.duplicates == "separate":
        _separate_given(parts, notes)
    pool = parts["train"]
    names, task = _classes(pool, settings, task, whole, notes)
    targets = {}
    for name in list(parts):
        parts[name], targets[name] = _encode(parts[name], name, names, task, notes)
    tables = {name: _table(name, part, targets[name]) for name, part in parts.items() if name != "train"}
    keys = _keep_together(parts["train"], roles, settings, notes)
    for name, rows in _split(targets["train"], keys, settings, set(parts), whole, seed, notes).items():
        tables[name] = _table(name, parts["train"].take(rows), targets["train"][rows])
    tables["train"] = _limited(tables["train"], settings.limit, len(names), seed, notes)
    _note_coverage(tables, names, notes)
    if roles.text is not None and settings.duplicates == "keep":
        _note_shared_texts(tables, notes)
    if roles.unused:
        notes.append(f"columns that are not used: {listed(roles.unused)}")
    return Tables(
        modality="text" if roles.text is not None else "tabular",
        task=task,
        class_names=names,
        train=tables["train"],
        val=tables.get("val"),
        test=tables.get("test"),
        notes=notes,
        columns=_columns(raw, roles, settings),
    )


def _classes(pool: Part, settings: Source, task: Task | None, whole: bool, notes: list[str]) -> tuple[tuple[str, ...], Task]:
    """Class names in order, and the task, from the rows that train is made of."""
    counts = count_labels(pool.labels)
    if settings.min_class_rows is not None:
        small = {name: count for name, count in counts.items() if count < settings.min_class_rows}
        counts = {name: count for name, count in counts.items() if name not in small}
        if small:
            what = "1 class has" if len(small) == 1 else f"{len(small)} classes have"
            rule = f"fewer than {settings.min_class_rows} rows (data.min_class_rows)"
            notes.append(f"{pool.where}: {what} {rule}; left out: {listed(small)}")
        if small and len(counts) < 2:
            left = f"leaves {len(counts)} of {len(counts) + len(small)} classes"
            raise DataError(f"{pool.where}: data.min_class_rows={settings.min_class_rows} {left}; too few rows: {listed(small)}")
    task = infer_task(pool.labels, list(counts), task, pool.where)
    single = [name for name, count in counts.items() if count == 1]
    splits = settings.fold is not None or settings.test_fraction > 0 or settings.val_fraction > 0
    if single and whole and splits and settings.min_class_rows is None:
        raise DataError(
            f"{pool.where}: {len(single)} class{'es have' if len(single) > 1 else ' has'} a single row, which cannot be both learned and "
            f"tested: {listed(single)}\n"
            "  data.min_class_rows=2 leaves such classes out; data.min_class_rows=1 keeps them in train; or add rows"
        )
    return class_order(counts, task, settings.positive), task


def _encode(part: Part, name: str, names: tuple[str, ...], task: Task, notes: list[str]) -> tuple[Part, np.ndarray]:
    """Targets of a part; rows of classes that are not among `names` go."""
    targets, unseen = encode_labels(part.labels, names)
    if task != "multilabel":
        known = targets >= 0
        if not known.all():
            part, targets = part.take(known), targets[known]
    if unseen and name != "train":  # what train loses was told with the classes
        what = "rows are left out: their class is" if task != "multilabel" else "labels are left out: they are"
        notes.append(f"{part.where}: {sum(unseen.values()):,} {name} {what} not in train: {listed(unseen)}")
    if len(part) == 0:
        raise DataError(f"{part.where}: no row of {name} is left; its classes are not those of train: {listed(unseen)}")
    return part, targets


def _separate_given(parts: dict[str, Part], notes: list[str]) -> None:
    """A text of val that stands in test goes from val; one of train that stands in val or test goes from train."""
    seen = np.empty(0, dtype=np.uint64)
    later: list[str] = []
    for name in ("test", "val", "train"):
        if name not in parts:
            continue
        part = parts[name]
        assert part.text is not None
        keys = part.text.hash().to_numpy()
        shared = np.isin(keys, seen) & (part.text != "").to_numpy()
        if shared.any():
            notes.append(
                f"{shared.sum():,} of {len(part):,} {name} rows have a text that stands in {' or '.join(later)} as well; "
                f"they are left out of {name} (data.duplicates=keep leaves them in)"
            )
            parts[name] = part.take(~shared)
            if shared.all():
                raise DataError(f"{part.where}: every text of {name} stands in {' or '.join(later)} as well; give other files")
        seen = np.concatenate([seen, keys])
        later.append(name)


def _keep_together(pool: Part, roles: Roles, settings: Source, notes: list[str]) -> np.ndarray | None:
    """(N,) int: rows that no split may separate, or None where each row stands for itself."""
    keys = [pool.groups] if pool.groups is not None else []
    if pool.groups is not None:
        notes.append(f"split by '{roles.group}': {len(np.unique(pool.groups)):,} groups, none of which is in two splits")
    if pool.text is not None and settings.duplicates == "separate":
        codes = duplicate_codes(pool.text)
        if repeated := len(codes) - len(np.unique(codes)):
            notes.append(f"{repeated:,} of {len(pool):,} rows repeat the text of another row; rows of one text stay in one split")
            keys.append(codes)
    return joined(*keys) if len(keys) > 1 else (keys[0] if keys else None)


def _split(
    targets: np.ndarray, keys: np.ndarray | None, settings: Source, given: set[str], whole: bool, seed: int, notes: list[str]
) -> dict[str, np.ndarray]:
    """(N,) bool masks over the pool: "train", and "val" and "test" where they have to be made."""
    masks = {}
    rest = np.ones(len(targets), dtype=bool)
    if settings.fold is not None:
        number = settings.folds or 5
        masks["test"] = folds(targets, number, generator(seed, "folds"), keys) == settings.fold
        notes.append(f"fold {settings.fold} of {number} is test; data.fold=0 to {number - 1} are the others")
    elif whole and settings.test_fraction > 0:
        masks["test"] = holdout(targets, settings.test_fraction, generator(seed, "test split"), keys)
    if "test" in masks:
        rest &= ~masks["test"]
    if "val" not in given and settings.val_fraction > 0:
        rng = generator(seed, "val split", settings.fold or 0)
        masks["val"] = np.zeros_like(rest)
        masks["val"][rest] = holdout(targets[rest], settings.val_fraction, rng, keys[rest] if keys is not None else None)
        rest &= ~masks["val"]
    made = {name: mask for name, mask in masks.items() if mask.any()}  # what cannot be separated may leave nothing for a split
    notes += [f"there is no {name} split: {meaning}" for name, meaning in _WITHOUT.items() if name not in given and name not in made]
    return {**made, "train": rest}


def _limited(train: Table, limit: int | None, num_classes: int, seed: int, notes: list[str]) -> Table:
    """Train cut to `limit` rows in the proportions of its classes."""
    if limit is None or limit >= len(train):
        return train
    if limit < num_classes:
        raise ConfigError(f"data.limit={limit} is fewer rows than there are classes ({num_classes}); give at least {num_classes}")
    keep = np.flatnonzero(subsample(train.targets, limit, generator(seed, "limit")))
    notes.append(f"train is cut to {len(keep):,} of {len(train):,} rows (data.limit)")
    return Table(
        train.name,
        train.text[keep] if train.text is not None else None,
        train.features[keep] if train.features is not None else None,
        train.targets[keep],
        train.weights[keep] if train.weights is not None else None,
        train.rows[keep],
    )


def _note_coverage(tables: dict[str, Table], names: tuple[str, ...], notes: list[str]) -> None:
    """Classes that a split has no row of."""
    counts = {name: table.counts(len(names)) for name, table in tables.items()}
    total = np.sum(list(counts.values()), axis=0)
    absent = {split: {name: int(total[i]) for i, name in enumerate(names) if not held[i]} for split, held in counts.items()}
    notes += [f"{split} has no row of {listed(lacking)}; in brackets: in all splits" for split, lacking in absent.items() if lacking]


def _note_shared_texts(tables: dict[str, Table], notes: list[str]) -> None:
    keys = {name: table.text.filter(table.text != "").hash().to_numpy() for name, table in tables.items() if table.text is not None}
    shared = {name: int(np.isin(keys[name], keys["train"]).sum()) for name in ("val", "test") if name in keys}
    notes += [
        f"{count:,} of {len(tables[name]):,} {name} rows have a text that stands in train as well; their scores flatter"
        for name, count in shared.items()
        if count
    ]


def _table(name: str, part: Part, targets: np.ndarray) -> Table:
    return Table(name, part.text, part.features, targets, part.weights, part.rows)


def _columns(raw: Raw, roles: Roles, settings: Source) -> dict[str, Any]:
    columns: dict[str, Any] = {"label": roles.label, "label_separator": raw.label_separator}
    if roles.text is not None:
        return columns | {"text": roles.text}
    kinds = {name: kind_of(raw.frames["train"].schema[name]) for name in roles.features}
    return columns | {"features": list(roles.features), "dtypes": kinds, "sparse": raw.sparse, "nan": settings.nan}
