"""Batches out of flat tensors, against Python loops; on the device as on the host."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from recipes.data import Split
from recipes.data.stores import BagStore, DenseStore, SequenceStore, Store, load_store

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
        "embedded": DenseStore(numbers, rng.integers(0, 3, (N, 2)), (3, 4)),
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
