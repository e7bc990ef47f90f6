"""The word vectors that sequence models share: what is drawn, fixed and freed, and gradients of a batch's rows alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from texts import TEXTS, batch, make
from torch.nn import functional

from recipes.errors import ConfigError
from recipes.models import DPCNN, HAN, Model, TextCNN, TextRCNN, TextRNN, Transformer
from recipes.models.posthoc import freeze
from recipes.optim import Combined, make_clip, make_optimizer

SHARED = (TextRNN, TextRCNN, HAN, DPCNN, Transformer)


@pytest.fixture
def vectors(tmp_path: Path) -> str:
    path = tmp_path / "words.vec"
    path.write_text("3 4\na 1 2 3 4\nc -3 4 0 1\nz 0 0 0 0\n", encoding="utf-8")
    return str(path)


def train(model: Model, optimizer: Any, steps: int, start: int = 0, total: int = 10) -> None:
    """Steps as the loop makes them."""
    clip = make_clip("norm", 1.0, model)
    for number in range(start, start + steps):
        model.before_step(number, total // 2, total)
        texts = TEXTS[number % 3 :]
        functional.cross_entropy(model(batch(texts)), torch.arange(len(texts)) % 3).backward()
        clip()
        optimizer.step()
        model.after_step()
        for p in model.parameters():
            p.grad = None


def settings(name: str, **more: Any) -> dict[str, Any]:
    return {"_target_": f"torch.optim.{name}", "lr": 0.1, **more}


@pytest.mark.parametrize("cls", SHARED)
def test_rows_of_the_file_and_drawn_ones(cls: type[Any], vectors: str) -> None:
    rows = make(cls, vectors=vectors).embedding.weight
    assert rows[2].tolist() == [1, 2, 3, 4]
    assert rows[4].tolist() == [-3, 4, 0, 1]
    assert not rows[:2].any()
    assert 0 < rows[[3, 5, 6, 7, 8, 9]].abs().max() <= 0.25


@pytest.mark.parametrize("cls", SHARED)
@pytest.mark.parametrize("name", ["SGD", "AdamW", "Adagrad"])
def test_frozen_vectors_begin_to_train_when_they_are_freed(cls: type[Any], vectors: str, name: str) -> None:
    """Until then the optimizer has them and leaves them as they are: no decay, no moments."""
    model = make(cls, vectors=vectors, freeze=True, unfreeze="40%").eval()
    other = model.head.weight.detach().clone()
    start = model.embedding.weight.detach().clone()
    optimizer = make_optimizer(settings(name, weight_decay=0.0 if name == "Adagrad" else 0.5, decay="all"), model)
    train(model, optimizer, 4)
    assert torch.equal(model.embedding.weight, start)
    assert not torch.equal(model.head.weight, other)
    train(model, optimizer, 1, start=4)
    assert not torch.equal(model.embedding.weight[2:], start[2:])
    assert not model.embedding.weight[0].any()


@pytest.mark.parametrize(("unfreeze", "at"), [("2 epochs", 20), ("20%", 10), ("7 steps", 7), ("0 steps", 0)])
def test_when_they_are_freed_depends_on_the_step_alone(vectors: str, unfreeze: str, at: int) -> None:
    model = make(TextRNN, vectors=vectors, freeze=True, unfreeze=unfreeze)
    for step in (at, 49, at - 1, at + 1):  # in any order, as a resumed run asks
        model.before_step(step, 10, 50)
        assert model.embedding.weight.requires_grad == (step >= at)


def test_static_vectors_of_textcnn_can_be_freed(vectors: str) -> None:
    model = make(TextCNN, mode="static", vectors=vectors, unfreeze="1 steps")
    start = model.embedding.weight.detach().clone()
    optimizer = make_optimizer(settings("SGD"), model)
    train(model, optimizer, 1)
    assert torch.equal(model.embedding.weight, start)
    train(model, optimizer, 1, start=1)
    assert not torch.equal(model.embedding.weight, start)


def test_where_the_head_alone_is_trained_nothing_is_freed(vectors: str) -> None:
    model = make(TextRNN, vectors=vectors, freeze=True, unfreeze="0 steps")
    freeze(model, "head")
    model.before_step(5, 10, 50)
    assert not model.embedding.weight.requires_grad


def test_for_good_means_that_no_optimizer_has_them(vectors: str) -> None:
    model = make(TextRNN, vectors=vectors, freeze=True)
    model.before_step(5, 10, 50)
    held = [p for group in make_optimizer(settings("SGD"), model).param_groups for p in group["params"]]
    assert not any(p is model.embedding.weight for p in held)


@pytest.mark.parametrize("cls", [TextCNN, TextRNN])
@pytest.mark.parametrize("name", ["SGD", "Adagrad"])
def test_sparse_gradients_give_the_same_weights(cls: type[Any], name: str) -> None:
    models = [make(cls, dim=5, sparse=sparse).double().eval() for sparse in ("auto", False)]
    for model in models:
        train(model, make_optimizer(settings(name), model), 6)
    sparse, dense = models
    assert (sparse.embedding.sparse, dense.embedding.sparse) == (True, False)
    for own, other in zip(sparse.parameters(), dense.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=0, atol=1e-12)
    assert not sparse.embedding.weight[0].any()


@pytest.mark.parametrize(
    ("optimizer", "sparse"),
    [
        (settings("SGD"), True),
        (settings("Adagrad"), True),
        (settings("SparseAdam"), True),
        (settings("SGD", weight_decay=0.1), True),  # which embeddings are spared by default
        (settings("SGD", weight_decay=0.1, decay="all"), False),
        (settings("SGD", l1=0.1, decay="all"), False),
        (settings("SGD", decay="all"), True),
        (settings("SGD", momentum=0.9), False),
        (settings("SGD", sam_rho=0.1), False),
        (settings("AdamW"), False),
        (settings("Adam"), False),
        (settings("RMSprop"), False),
    ],
    ids=str,
)
def test_auto_is_sparse_where_the_updates_are_the_same(optimizer: dict[str, Any], sparse: bool) -> None:
    model = make(TextRNN, dim=4)
    made = make_optimizer(optimizer, model)
    assert model.embedding.sparse == sparse
    train(model, made, 2)


def test_true_is_sparse_beside_adam() -> None:
    model = make(TextRNN, dim=4, sparse=True)
    optimizer = make_optimizer(settings("AdamW"), model)
    assert isinstance(optimizer, Combined)
    assert type(optimizer.parts[1]) is torch.optim.SparseAdam
    before = model.embedding.weight.detach().clone()
    functional.cross_entropy(model(batch([[2, 3]])), torch.tensor([0])).backward()
    optimizer.step()
    changed = (model.embedding.weight != before).any(1).nonzero().ravel().tolist()
    assert changed == [2, 3]


def test_mistakes_are_named_with_their_fix(vectors: str) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"freeze": True}, r"model.freeze: it keeps pretrained vectors .* add model.vectors=<path"),
        ({"vectors": vectors, "unfreeze": "1 epoch"}, r"model.unfreeze: '1 epoch' frees what model.freeze fixes, .* add model.freeze=true"),
        ({"vectors": vectors, "freeze": True, "unfreeze": "3"}, r"model.unfreeze: '3' is not a duration"),
        ({"vectors": vectors, "freeze": True, "sparse": True}, r"model.sparse: true is about the gradient .* use model.sparse=auto"),
        ({"unknown_range": None}, "model.unknown_range: null"),
        ({"vectors": vectors, "dim": 300}, r"model.dim: 300 was asked for, .* have 4 numbers; set model.dim=null or 4"),
        ({"vectors": "/no/such.vec"}, "model.vectors: there is no file '/no/such.vec'"),
    ]
    for given, message in cases:
        with pytest.raises(ConfigError, match=message):
            make(TextRNN, **given)
    with pytest.raises(ConfigError, match=r"model.unfreeze: '1 epoch' frees what mode 'static' fixes, and the mode is 'nonstatic'"):
        make(TextCNN, mode="nonstatic", vectors=vectors, unfreeze="1 epoch")
