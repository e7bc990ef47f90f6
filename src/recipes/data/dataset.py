"""From a source to encoded splits, through the cache."""

from __future__ import annotations

import contextlib
import ctypes
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from recipes import __version__
from recipes.data.cache import Cache, digest
from recipes.data.encoder import Encoder, encoder_class, load_encoder
from recipes.data.facts import Facts, Needs, Task
from recipes.data.features import Features
from recipes.data.split import Split, TrainSplit
from recipes.data.stores import Arrays, load_store

if TYPE_CHECKING:
    from recipes.data.sources import Source
    from recipes.data.table import Tables

FORMAT = 4  # raise it whenever the same settings make other arrays


@dataclass
class Dataset:
    """Everything that a run knows of its data.

    notes: messages for the user, with counts. columns: what prediction needs to read new input. rows: for each split, (N,) int64 row of
    each sample in the file that it was read from.
    """

    facts: Facts
    train: TrainSplit
    val: Split | None
    test: Split | None
    encoder: Encoder
    notes: list[str]
    columns: dict[str, Any]
    rows: dict[str, np.ndarray]

    @property
    def splits(self) -> dict[str, Split]:
        """The splits that there are, by name."""
        return {split.name: split for split in (self.train, self.val, self.test) if split is not None}


def prepare(source: Source, features: Features, needs: Needs, task: Task | None, seed: int) -> Dataset:
    """Read, split and encode a source, or map the same from the cache.

    `needs` is what the model asks for, `task` overrides the one that the labels suggest, `seed` decides the splits. Raises DataError and
    ConfigError; whatever goes wrong with the cache is a note.
    """
    cache = Cache(source.cache)
    key = digest([FORMAT, __version__, source.fingerprint(), asdict(features), asdict(needs), task, seed])
    entry = cache.read(key)
    if entry is not None:
        dataset = _unpack(*entry)
    else:
        dataset = _encode(source.read(task, seed), features, needs)
        _give_back()
        cache.write(key, *_pack(dataset))
    dataset.notes += cache.notes
    return dataset


def _give_back() -> None:
    """Memory that texts and tokens took goes back to the system, which glibc does not do by itself: a tenth of a process, or more."""
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another C library has no such function, and no such need
        ctypes.CDLL(None).malloc_trim(0)


def _encode(tables: Tables, features: Features, needs: Needs) -> Dataset:
    """Fit on train, then encode every split."""
    kind, train = encoder_class(tables.modality, needs, features), tables.train
    encoder, store, notes = kind.fit(train.text if tables.modality == "text" else train.features, features, needs, train.rows)
    splits: dict[str, Split] = {"train": TrainSplit("train", store, train.targets, train.weights)}
    for table in (tables.val, tables.test):
        if table is not None:
            data = table.text if tables.modality == "text" else table.features
            splits[table.name] = encoder.encode(data, table.name, table.targets, table.weights, table.rows)
            notes = notes + splits[table.name].notes
    meta = {"task": tables.task, "modality": tables.modality, "class_names": list(tables.class_names)}
    rows = {table.name: table.rows for table in (train, tables.val, tables.test) if table is not None}
    return _dataset(meta, splits, encoder, [*tables.notes, *notes], tables.columns, rows)


def _dataset(
    meta: dict[str, Any], splits: dict[str, Split], encoder: Encoder, notes: list[str], columns: dict[str, Any], rows: dict[str, np.ndarray]
) -> Dataset:
    train = splits["train"]
    assert isinstance(train, TrainSplit)
    names = tuple(meta["class_names"])
    for split in splits.values():
        split.num_classes = len(names)
    facts = Facts(meta["task"], meta["modality"], names, train.class_counts(), len(train), **encoder.facts())
    return Dataset(facts, train, splits.get("val"), splits.get("test"), encoder, notes, columns, rows)


def _pack(dataset: Dataset) -> tuple[dict[str, Any], Arrays]:
    """A JSON-able document and named arrays, from which `_unpack` makes the dataset again."""
    facts = dataset.facts
    meta: dict[str, Any] = {"task": facts.task, "modality": facts.modality, "class_names": list(facts.class_names)}
    settings, arrays = dataset.encoder.state()
    meta |= {"notes": dataset.notes, "columns": dataset.columns, "encoder": settings, "splits": {}}
    arrays = {f"encoder.{name}": array for name, array in arrays.items()}
    for split in dataset.splits.values():
        meta["splits"][split.name], features = split.store.state()
        arrays |= {f"{split.name}.features.{name}": array for name, array in features.items()}
        arrays |= {f"{split.name}.targets": split.labels(), f"{split.name}.rows": dataset.rows[split.name]}
        if split.weighted:
            arrays[f"{split.name}.weights"] = split.weights.numpy()
    return meta, arrays


def _unpack(meta: dict[str, Any], arrays: Arrays) -> Dataset:
    encoder = load_encoder(meta["encoder"], _under("encoder.", arrays))
    splits: dict[str, Split] = {}
    for name, settings in meta["splits"].items():
        store = load_store(settings, _under(f"{name}.features.", arrays))
        kind = TrainSplit if name == "train" else Split
        splits[name] = kind(name, store, arrays[f"{name}.targets"], arrays.get(f"{name}.weights"))
    rows = {name: arrays[f"{name}.rows"] for name in splits}
    return _dataset(meta, splits, encoder, meta["notes"], meta["columns"], rows)


def _under(prefix: str, arrays: Arrays) -> Arrays:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
