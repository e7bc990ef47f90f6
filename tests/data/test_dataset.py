"""`prepare`: from a source to splits, the same from files and from the cache."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from recipes.data import Dataset, Features, File, Needs, Source, TrainSplit, prepare
from recipes.data.table import Table, Tables
from recipes.errors import ConfigError

SEQUENCE, BAG, DENSE = Needs("tokens"), Needs("tokens", form="bag", word_ngrams=2, buckets=1000), Needs("dense")


@dataclass(kw_only=True)
class Fake(Source):
    """Three splits made in memory; counts how often it is read."""

    modality: str = "text"
    task: str = "multiclass"
    val: bool = True
    reads: int = 0

    def content(self) -> dict[str, Any]:
        return {"modality": self.modality, "task": self.task, "val": self.val}

    def fingerprint(self) -> dict[str, Any]:
        return self.content()

    def read(self, task: Any, seed: int) -> Tables:
        self.reads += 1
        parts = [self._table("train", 6, 0), self._table("val", 3, 6) if self.val else None, self._table("test", 4, 9)]
        names = ("x", "y") if self.task == "binary" else ("x", "y", "z")
        columns = {"text": "body"} if self.modality == "text" else {"features": ["a", "b"]}
        return Tables(self.modality, self.task, names, *parts, notes=["2 rows had no label"], columns=columns)  # type: ignore[arg-type]

    def _table(self, name: str, rows: int, start: int) -> Table:
        numbers = np.arange(start, start + rows)
        text = pl.Series([f"w{i % 4} common w{i % 3}" for i in numbers]) if self.modality == "text" else None
        features = pl.DataFrame({"a": numbers, "b": [f"l{i % 2}" for i in numbers]}) if self.modality == "tabular" else None
        targets = numbers % (2 if self.task == "binary" else 3)
        if self.task == "multilabel":
            targets = np.stack([numbers % 2, numbers % 3 == 0, numbers >= 0], axis=1).astype(np.float32)
        return Table(name, text, features, targets, (numbers + 0.5).astype(np.float32) if name == "train" else None, numbers * 10)


def same(one: Dataset, two: Dataset) -> None:
    for name, value in one.facts.as_dict().items():
        np.testing.assert_array_equal(value, getattr(two.facts, name), err_msg=name)
    assert one.notes == two.notes
    assert one.columns == two.columns
    assert one.encoder.describe() == two.encoder.describe()
    assert one.splits.keys() == two.splits.keys() == one.rows.keys() == two.rows.keys()
    for name, split in one.splits.items():
        other = two.splits[name]
        assert type(split) is type(other)
        assert torch.equal(split.targets, other.targets)
        assert torch.equal(split.weights, other.weights)
        assert split.weighted == other.weighted
        assert split.store.tensors.keys() == other.store.tensors.keys()
        for key, tensor in split.store.tensors.items():
            assert torch.equal(tensor, other.store.tensors[key])
            assert tensor.dtype == other.store.tensors[key].dtype
        np.testing.assert_array_equal(one.rows[name], two.rows[name])
        np.testing.assert_array_equal(split.class_counts(), other.class_counts())


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize(
    ("modality", "needs", "categorical"),
    [(kind, needs, "onehot") for kind, needs in (("text", SEQUENCE), ("text", BAG), ("text", DENSE), ("tabular", DENSE))]
    + [("tabular", DENSE, "embed")],
)
def test_the_cache_gives_back_what_was_encoded(tmp_path: Path, task: str, modality: str, needs: Needs, categorical: Any) -> None:
    source = Fake(modality=modality, task=task, cache=str(tmp_path))
    features = Features(categorical=categorical)
    first = prepare(source, features, needs, None, 0)
    second = prepare(source, features, needs, None, 0)
    assert source.reads == 1
    same(first, second)
    same(first, prepare(replace(source, cache="off"), features, needs, None, 0))
    assert isinstance(second.train, TrainSplit)
    assert not isinstance(second.val, TrainSplit)
    for split in (first.train, second.train):
        batch = split.batch(np.array([4, 1]))
        assert batch.weights.tolist() == [4.5, 1.5]
        assert batch.rows.tolist() == [4, 1]
        assert torch.equal(batch.targets, split.targets[[4, 1]])
    assert second.test is not None
    assert second.test.batch(np.array([3, 0, 0])).weights.tolist() == [1, 1, 1]
    assert second.rows["test"].tolist() == [90, 100, 110, 120]


def test_facts() -> None:
    facts = prepare(Fake(cache="off"), Features(), SEQUENCE, None, 0).facts
    assert facts.class_counts.tolist() == [2, 2, 2]
    assert facts.class_counts.dtype == np.int64
    assert (facts.train_rows, facts.num_classes, facts.vocab_size) == (6, 3, 7)
    assert facts.vocabulary == ("", "<unk>", "common", "w0", "w1", "w2", "w3")
    assert facts.num_features == 0
    multi = prepare(Fake(task="multilabel", cache="off"), Features(), DENSE, None, 0).facts
    assert multi.class_counts.tolist() == [3, 2, 6]
    assert multi.sparse_features
    table = prepare(Fake(modality="tabular", cache="off"), Features(), DENSE, None, 0).facts
    assert (table.num_features, table.sparse_features, table.vocab_size) == (3, False, 0)


def test_each_setting_has_an_entry_of_its_own(tmp_path: Path) -> None:
    source = Fake(cache=str(tmp_path))
    cases: list[tuple[Features, Needs, Any, int]] = [
        (Features(), SEQUENCE, None, 0),
        (Features(), SEQUENCE, None, 1),
        (Features(), SEQUENCE, "multiclass", 0),
        (Features(lowercase=False), SEQUENCE, None, 0),
        (Features(), BAG, None, 0),
        (Features(), replace(BAG, buckets=500), None, 0),
        (Features(), DENSE, None, 0),
    ]
    for features, needs, task, seed in cases:
        prepare(source, features, needs, task, seed)
    assert source.reads == len(list(tmp_path.iterdir())) == len(cases)


def test_a_split_that_is_not_there(tmp_path: Path) -> None:
    source = Fake(val=False, cache=str(tmp_path))
    for _ in range(2):
        dataset = prepare(source, Features(), SEQUENCE, None, 0)
        assert dataset.val is None
        assert list(dataset.splits) == ["train", "test"]


def test_damage_is_rebuilt_with_a_message(tmp_path: Path) -> None:
    source = Fake(cache=str(tmp_path))
    first = prepare(source, Features(), SEQUENCE, None, 0)
    (path,) = tmp_path.glob("*/train.features.ids.npy")
    path.write_bytes(path.read_bytes()[:-3])
    second = prepare(source, Features(), SEQUENCE, None, 0)
    assert source.reads == 2
    assert len(second.notes) == 2
    assert "damaged" in second.notes[-1]
    third = prepare(source, Features(), SEQUENCE, None, 0)
    assert source.reads == 2
    same(first, third)


def test_fitted_on_train_only() -> None:
    """What only val or test holds changes nothing."""
    dataset = prepare(Fake(modality="tabular", cache="off"), Features(), DENSE, None, 0)
    train = dataset.train.store.tensors["features"]
    np.testing.assert_allclose(train[:, 0].mean(), 0, atol=1e-6)
    np.testing.assert_allclose(train[:, 0].std(correction=0), 1, atol=1e-6)
    assert dataset.val is not None
    assert dataset.val.store.tensors["features"][:, 0].min() > 1


def test_a_token_model_on_a_table_names_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="model=mlp"):
        prepare(Fake(modality="tabular", cache=str(tmp_path)), Features(), SEQUENCE, None, 0)
    assert list(tmp_path.iterdir()) == []


def test_weights_of_a_batch_larger_than_the_split() -> None:
    split = prepare(Fake(cache="off"), Features(), SEQUENCE, None, 0).test
    assert split is not None
    assert split.batch(np.arange(40) % 4).weights.tolist() == [1] * 40


def test_notes_of_every_split() -> None:
    dataset = prepare(Fake(cache="off"), Features(max_length=2), SEQUENCE, None, 0)
    cut = "texts are longer than 2 tokens (features.max_length) and were cut there"
    assert dataset.notes == ["2 rows had no label", f"train: 6 {cut}", f"val: 3 {cut}", f"test: 4 {cut}"]


PROGRAM = """
import sys, time
from recipes.data import Features, File, Needs, prepare
path, cache, needs = sys.argv[1:]
start = time.perf_counter()
data = prepare(File(path=path, cache=cache), Features(), Needs("tokens") if needs == "tokens" else Needs("dense"), None, 0)
import numpy as np
batch = data.train.batch(np.arange(8))
print(time.perf_counter() - start, data.facts.train_rows, *sorted({"polars", "sklearn", "scipy", "pandas"} & set(sys.modules)))
"""


@pytest.mark.parametrize("needs", ["tokens", "dense"])
def test_a_hit_imports_nothing_that_reads(text_csv: Path, tmp_path: Path, needs: str) -> None:
    def run() -> list[str]:
        command = [sys.executable, "-c", PROGRAM, str(text_csv), str(tmp_path), needs]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    cold, warm = run(), run()
    assert "polars" in cold
    assert warm[1] == cold[1]
    assert warm[2:] == []


def test_a_file_from_end_to_end(text_csv: Path, tmp_path: Path) -> None:
    dataset = prepare(File(path=str(text_csv), cache=str(tmp_path)), Features(), SEQUENCE, None, 0)
    assert dataset.facts.class_names == ("common", "middle", "rare")
    assert sum(len(split) for split in dataset.splits.values()) == 300
    # Every row went to one split, and its ids are those of its text.
    texts = pl.read_csv(text_csv)["text"]
    for name, split in dataset.splits.items():
        rows = np.arange(len(split))
        batch = split.batch(rows)
        assert batch.tokens_BT is not None
        for ids, row in zip(batch.tokens_BT.tolist(), dataset.rows[name].tolist(), strict=True):
            words = [dataset.facts.vocabulary[i] for i in ids if i]
            assert all(word in ("<unk>", own) for word, own in zip(words, texts[row].split(), strict=True))
    assert sorted(np.concatenate(list(dataset.rows.values())).tolist()) == list(range(300))
