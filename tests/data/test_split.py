"""Batches out of flat tensors, against Python loops; on the device as on the host."""

from __future__ import annotations

import copy

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
import torch

from recipes.data import Features, Needs, Split
from recipes.data.split import TrainSplit
from recipes.data.stores import BagStore, DenseStore, Layout, SequenceStore, Store, load_store
from recipes.data.tabular import TabularEncoder

N = 50


def stores() -> dict[str, Store]:
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 9, N)
    ids = rng.integers(1, 30, lengths.sum()).astype(np.int32)
    values = rng.random(len(ids)).astype(np.float32)
    numbers = rng.standard_normal((N, 5)).astype(np.float32)
    return {
        "sequence": SequenceStore(np.append(ids, np.int32(0)), lengths, 20),
        "bag": BagStore(ids, lengths, 20),
        "tfidf": BagStore(ids, lengths, 30, values),
        "dense": DenseStore(numbers, np.empty((N, 0), np.int64)),
        "embedded": DenseStore(numbers, rng.integers(0, 3, (N, 2)), (3, 4), ((1, 3),)),
    }


KINDS = list(stores())
ROWS = [np.array([0]), np.arange(N), np.random.default_rng(1).integers(0, N, 80), np.random.default_rng(2).permutation(N)[:7]]


def split(kind: str, weighted: bool = False) -> Split:
    rng = np.random.default_rng(3)
    return Split("train", stores()[kind], rng.integers(0, 4, N), rng.random(N).astype(np.float32) if weighted else None, num_classes=5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", ROWS, ids=len)
@pytest.mark.parametrize("weighted", [True, False])
def test_a_batch_is_the_rows_one_by_one(kind: str, rows: np.ndarray, weighted: bool) -> None:
    whole = split(kind, weighted)
    batch = whole.batch(rows)
    assert len(batch) == len(rows)
    assert batch.rows.tolist() == rows.tolist()
    assert batch.targets.tolist() == [whole.labels()[row] for row in rows]
    assert batch.weights.tolist() == [whole.weights[row].item() if weighted else 1.0 for row in rows]
    singles = [whole.batch(np.array([row])) for row in rows]
    for position, one in enumerate(singles):
        if batch.tokens_BT is not None:
            assert one.tokens_BT is not None
            width = one.tokens_BT.shape[1]
            assert torch.equal(batch.tokens_BT[position, :width], one.tokens_BT[0])
            assert not batch.tokens_BT[position, width:].any()
        if batch.ids is not None:
            assert batch.offsets is not None
            assert one.ids is not None
            here = slice(batch.offsets[position], batch.offsets[position + 1])
            assert torch.equal(batch.ids[here], one.ids)
            if batch.values is not None:
                assert one.values is not None
                assert torch.equal(batch.values[here], one.values)
        for name in ("lengths_B", "features_BF", "categories_BK"):
            value = getattr(batch, name)
            assert value is None or torch.equal(value[position], getattr(one, name)[0])


def test_single_rows_are_what_the_arrays_hold() -> None:
    """The other half of the argument above: a batch of one row, from the arrays themselves."""
    made = {kind: split(kind) for kind in KINDS}
    _, arrays = made["tfidf"].store.state()
    ends = np.cumsum(arrays["lengths"])
    for row in range(N):
        ids = arrays["ids"][ends[row] - arrays["lengths"][row] : ends[row]].tolist()
        one = {kind: split_.batch(np.array([row])) for kind, split_ in made.items()}
        tokens, bag, dense, embedded = one["sequence"].tokens_BT, one["tfidf"], one["dense"].features_BF, one["embedded"].categories_BK
        assert tokens is not None
        assert tokens.tolist() == [ids or [0]]
        assert bag.ids is not None
        assert bag.offsets is not None
        assert bag.values is not None
        assert bag.ids.tolist() == ids
        assert bag.offsets.tolist() == [0, len(ids)]
        assert bag.values.tolist() == arrays["values"][ends[row] - len(ids) : ends[row]].tolist()
        assert dense is not None
        assert torch.equal(dense[0], made["dense"].store.tensors["features"][row])
        assert embedded is not None
        assert torch.equal(embedded[0], made["embedded"].store.tensors["levels"][row])


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_comes_back_from_its_state(kind: str) -> None:
    store = stores()[kind]
    settings, arrays = store.state()
    again = load_store(copy.deepcopy(settings), arrays)
    assert len(again) == N
    assert again.layout() == store.layout()
    assert again.nbytes == store.nbytes
    assert again.tensors.keys() == store.tensors.keys()
    for name, tensor in store.tensors.items():
        assert torch.equal(again.tensors[name], tensor)
    one, two = (Split("test", s).batch(ROWS[3]) for s in (store, again))
    assert torch.equal(one.rows, two.rows)


def test_counts_of_classes() -> None:
    rng = np.random.default_rng(3)
    assert split("dense").class_counts().tolist() == [*np.bincount(rng.integers(0, 4, N), minlength=4), 0]
    labels = np.array([[1, 0, 0], [1, 1, 0]], np.float32)
    store = DenseStore(np.zeros((2, 1), np.float32), np.empty((2, 0), np.int64))
    assert Split("val", store, labels).class_counts().tolist() == [2, 1, 0]
    assert Split("val", store, labels).batch(np.array([1])).targets.tolist() == [[1, 1, 0]]


def test_the_layout_tells_numbers_from_categories() -> None:
    frame = pl.DataFrame({"a": ["x", "y", "x", "z"], "n": [1.0, None, 3.0, 4.0], "b": ["p", "p", "q", "q"], "t": [True, False, True, True]})
    one_hot = TabularEncoder.fit(frame, Features(category_min_count=1), Needs("dense"))[1]
    assert one_hot.layout() == Layout(8, ((0, 3), (5, 7)))  # n and whether it was missing stand between, t after
    assert one_hot.layout().numbers.tolist() == [3, 4, 7]
    embedded = TabularEncoder.fit(frame, Features(category_min_count=1, categorical="embed"), Needs("dense"))[1]
    assert embedded.layout() == Layout(3, ((3, 7), (7, 10)))
    assert embedded.layout().numbers.tolist() == [0, 1, 2]
    for store in (one_hot, embedded):
        space = np.asarray(store.space())
        assert all((space[:, start:stop].sum(1) == 1).all() for start, stop in store.layout().categories)
    assert stores()["tfidf"].layout() == Layout(30)


MADE = 9


def made(kind: str, empty: bool = False) -> tuple[np.ndarray | sp.csr_matrix, np.ndarray, np.ndarray]:
    """Rows that a sampler might make for `stores()[kind]`: features, levels, labels."""
    rng = np.random.default_rng(4)
    labels, levels = rng.integers(0, 4, MADE), rng.integers(0, 3, (MADE, 2 if kind == "embedded" else 0))
    if kind == "tfidf":
        rows = sp.random(MADE, 30, 0.0 if empty else 0.2, format="csr", random_state=0, dtype=np.float32)
        return rows, levels, labels
    return rng.standard_normal((MADE, 5)).astype(np.float32), levels, labels


@pytest.mark.parametrize("kind", ["dense", "embedded", "tfidf"])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize(
    "rows",
    [np.arange(N), np.arange(N, N + MADE), np.random.default_rng(0).permutation(N + MADE), np.array([N + 2, 3, N + 2, 3, 3])],
    ids=len,
)
def test_made_rows_are_dealt_with_the_others(kind: str, weighted: bool, rows: np.ndarray) -> None:
    rng = np.random.default_rng(3)
    weights = rng.random(N).astype(np.float32) if weighted else None
    train = TrainSplit("train", stores()[kind], rng.integers(0, 4, N), weights, num_classes=4)
    features, levels, labels = made(kind)
    grown = train.with_made(features, levels, labels)
    assert (len(train), len(grown)) == (N, N + MADE)
    batch = grown.batch(rows)
    assert batch.rows.tolist() == rows.tolist()
    for place, row in enumerate(rows):
        old = train.batch(np.array([row])) if row < N else None
        new = row - N
        assert batch.targets[place] == (old.targets[0] if old else labels[new])
        assert batch.weights[place] == (old.weights[0] if old else 1)
        if kind == "tfidf":
            assert batch.offsets is not None
            assert batch.ids is not None
            assert batch.values is not None
            here = slice(batch.offsets[place], batch.offsets[place + 1])
            dense = np.zeros(30, np.float32)
            np.add.at(dense, batch.ids[here].numpy(), batch.values[here].numpy())
            expected = train.space()[row].toarray()[0] if row < N else np.asarray(features[new].todense())[0]  # type: ignore[union-attr]
            np.testing.assert_array_equal(dense, expected)
            continue
        assert batch.features_BF is not None
        expected = train.store.tensors["features"][row].numpy() if row < N else features[new]
        np.testing.assert_array_equal(batch.features_BF[place].numpy(), expected)
        if kind == "embedded":
            assert batch.categories_BK is not None
            expected = train.store.tensors["levels"][row].numpy() if row < N else levels[new]
            np.testing.assert_array_equal(batch.categories_BK[place].numpy(), expected)


def test_made_rows_without_any_term() -> None:
    train = TrainSplit("train", stores()["tfidf"], np.zeros(N, np.int64))
    batch = train.with_made(*made("tfidf", empty=True)).batch(np.array([N, 4, N + 1]))
    assert batch.offsets is not None
    assert batch.ids is not None
    alone = train.batch(np.array([4])).ids
    assert alone is not None
    assert batch.offsets.tolist() == [0, 0, len(alone), len(alone)]
    assert torch.equal(batch.ids, alone)


def test_train_rows_are_not_copied_and_no_other_split_takes_made_rows() -> None:
    train = TrainSplit("train", stores()["dense"], np.zeros(N, np.int64))
    grown = train.with_made(*made("dense"))
    assert grown.store.first is train.store  # type: ignore[attr-defined]
    assert grown.nbytes == train.nbytes + MADE * (5 * 4 + 8 + 4)
    assert not hasattr(Split, "with_made")
    for kind in ("sequence", "bag"):
        with pytest.raises(TypeError, match="token ids"):
            TrainSplit("train", stores()[kind], np.zeros(N, np.int64)).with_made(*made("dense"))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("kind", ["dense", "embedded", "tfidf"])
@pytest.mark.parametrize("fits", [True, False])
@pytest.mark.parametrize("first", ["made", "moved"])
def test_made_rows_on_the_device_never_wait(kind: str, fits: bool, first: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not fits:
        monkeypatch.setattr("recipes.data.split.MEMORY_SHARE", 0.0)
    host = TrainSplit("train", stores()[kind], np.random.default_rng(3).integers(0, 4, N))
    there = host.with_made(*made(kind)).to("cuda") if first == "made" else host.to("cuda").with_made(*made(kind))
    expected = host.with_made(*made(kind))
    for rows in (np.arange(5), np.arange(N, N + 4), np.array([N + 1, 2, N, 7, 7])):
        there.batch(rows)
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            moved = there.batch(rows)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        for name in moved.__slots__:
            value = getattr(moved, name)
            if isinstance(value, torch.Tensor):
                assert value.is_cuda
                assert torch.equal(value.cpu(), getattr(expected.batch(rows), name))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("fits", [True, False])
def test_batches_on_the_device_equal_those_on_the_host_and_never_wait(
    kind: str, weighted: bool, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not fits:
        monkeypatch.setattr("recipes.data.split.MEMORY_SHARE", 0.0)
    host = split(kind, weighted)
    there = host.to("cuda")
    assert there.targets.is_cuda == fits
    assert all(tensor.is_cuda == fits for tensor in there.store.tensors.values())
    rows, partners = np.array([3, 1, 5]), np.array([0, 1, 2])
    mix = np.array([[0.5, 0.5], [1, 0], [0.2, 0.8]], np.float32)
    there.batch(rows, partners, mix)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        moved = there.batch(rows, partners, mix)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected = host.batch(rows, partners, mix)
    assert moved.partner is not None
    assert expected.partner is not None
    for one, two in ((moved, expected), (moved.partner, expected.partner)):
        for name in one.__slots__:
            value, other = getattr(one, name), getattr(two, name)
            if isinstance(value, torch.Tensor):
                assert value.is_cuda
                assert torch.equal(value.cpu(), other)
            else:
                assert name == "partner" or (value is None and other is None)
