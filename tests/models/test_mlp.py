"""The MLP against plain matrix products: dense rows, weighted bags, norms and residuals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from recipes.data.batch import Batch
from recipes.errors import ConfigError
from recipes.models import MLP

ROWS_BF = torch.tensor([[0.0, 0.5, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0, 3.0]])


def mlp(sparse: bool = False, categories: tuple[int, ...] = (), **settings: Any) -> MLP:
    torch.manual_seed(0)
    return MLP(3, 5, categories, sparse, "multiclass", np.array([5, 3, 2]), 10, **settings)


def dense(features_BF: torch.Tensor = ROWS_BF, categories_BK: torch.Tensor | None = None) -> Batch:
    rows = len(features_BF)
    return Batch(torch.arange(rows), torch.arange(rows) % 3, torch.ones(rows), features_BF=features_BF, categories_BK=categories_BK)


def bags() -> Batch:
    """The same rows; an id that stands twice in a row adds up."""
    ids, values = torch.tensor([1, 3, 3, 0, 4]), torch.tensor([0.5, 1.5, 0.5, 1.0, 3.0])
    return Batch(torch.arange(3), torch.arange(3), torch.ones(3), ids=ids, offsets=torch.tensor([0, 3, 3, 5]), values=values)


@pytest.mark.parametrize("widths", [[], [4], [4, 6]])
@pytest.mark.parametrize("init", ["default", "orthogonal", "xavier_normal"])
def test_bags_are_the_dense_maths(widths: list[int], init: Any) -> None:
    """The same seed, too, gives the same model for both forms."""
    settings = {"widths": widths, "init": init, "dropout": 0.0}
    plain, sparse = mlp(**settings).double(), mlp(sparse=True, **settings).double()
    logits = [plain(dense()), sparse(bags())]
    torch.testing.assert_close(logits[0], logits[1], rtol=0, atol=1e-14)
    for found in logits:
        found.square().sum().backward()
    first, bag = (plain.layers[0], sparse.layers[0]) if widths else (plain.head, sparse.head)
    torch.testing.assert_close(first.weight.grad.T, bag.weight.grad, rtol=0, atol=1e-13)
    for (name, p), (_, q) in zip(list(plain.named_parameters())[1:], list(sparse.named_parameters())[1:], strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=0, atol=1e-13, msg=name)


def test_without_widths_it_is_logistic_regression() -> None:
    model = mlp(widths=[])
    assert sum(p.numel() for p in model.parameters()) == 5 * 3 + 3
    torch.testing.assert_close(model(dense()), ROWS_BF @ model.head.weight.T + model.head.bias)


@pytest.mark.parametrize(
    ("activation", "formula"),
    [
        ("relu", lambda x: x.clamp(min=0)),
        ("leaky_relu", lambda x: torch.where(x > 0, x, 0.01 * x)),
        ("tanh", torch.tanh),
        ("sigmoid", lambda x: 1 / (1 + torch.exp(-x))),
        ("gelu", lambda x: x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))),
    ],
)
@pytest.mark.parametrize("residual", [False, True])
def test_layers_by_hand(activation: Any, formula: Any, residual: bool) -> None:
    model = mlp(widths=[5, 5, 4], activation=activation, residual=residual).double().eval()
    hidden = ROWS_BF.double()
    for i, layer in enumerate(model.layers):
        out = formula(hidden @ layer.weight.T + layer.bias)
        # The second layer only: the first reads features, though they happen to be five, and the third is narrower.
        hidden = hidden + out if residual and i == 1 else out
    torch.testing.assert_close(model(dense()), hidden @ model.head.weight.T + model.head.bias, rtol=0, atol=1e-14)


def test_a_cosine_head_reads_the_last_hidden_layer_or_the_features() -> None:
    for widths in ([4], []):
        model = mlp(widths=widths, head="cosine", scale=5.0, dropout=0.0).double()
        hidden = model.encode(ROWS_BF.double(), dense())
        expected = 5 * torch.cosine_similarity(hidden[:, None], model.head.weight[None], dim=2)
        torch.testing.assert_close(model(dense()), expected, rtol=0, atol=1e-12)
    mlp(sparse=True, widths=[4], head="cosine")
    with pytest.raises(ConfigError, match=r"model.head: with model.widths=\[\] .* as in model.widths=\[64\], or model.head=linear"):
        mlp(sparse=True, widths=[], head="cosine")
    with pytest.raises(ConfigError, match=r"use model.bias_init=zero, or model.head=linear"):
        mlp(head="cosine", bias_init="prior")


def test_embedded_categories_stand_beside_the_features() -> None:
    model = mlp(categories=(2, 1000, 100_000))
    assert [table.weight.shape[1] for table in model.categories] == [2, 50, 50]
    assert [t.weight.shape[1] for t in mlp(categories=(2, 30), category_dim=7).categories] == [7, 7]
    levels = torch.tensor([[0, 3, 7], [1, 999, 0], [1, 0, 99_999]])
    hidden = model.embed(dense(categories_BK=levels))
    assert hidden.shape == (3, 5 + 102)
    torch.testing.assert_close(hidden[2, 5:7], model.categories[0].weight[1])
    torch.testing.assert_close(hidden[1, 7:57], model.categories[1].weight[999])


def test_norms() -> None:
    torch.manual_seed(1)
    features = torch.randn(64, 5)
    for norm, axis in (("batch", 0), ("layer", 1)):
        model = mlp(widths=[16], norm=norm).train()
        normed = model.norms[0](model.layers[0](features))
        torch.testing.assert_close(normed.mean(axis), torch.zeros(normed.shape[1 - axis]), rtol=0, atol=1e-5)
        torch.testing.assert_close(normed.var(axis, unbiased=False), torch.ones(normed.shape[1 - axis]), rtol=0, atol=1e-2)


def test_batch_norm_equals_torchs_and_takes_one_row_by_its_running_statistics() -> None:
    torch.manual_seed(1)
    model, reference = mlp(widths=[4], norm="batch"), nn.BatchNorm1d(4)
    norm = model.norms[0].train()
    rows = torch.randn(8, 4)
    for _ in range(3):
        torch.testing.assert_close(norm(rows), reference(rows))
    state = {name: value.clone() for name, value in norm.state_dict().items()}
    one = rows[:1].clone().requires_grad_()
    found = norm(one)
    torch.testing.assert_close(found, reference.eval()(rows[:1]))
    assert all(torch.equal(value, state[name]) for name, value in norm.state_dict().items())
    found.sum().backward()
    assert torch.isfinite(one.grad).all()


def test_dropout_is_off_in_evaluation_and_after_each_hidden_layer_in_training() -> None:
    model = mlp(widths=[500], dropout=0.9)
    hidden: list[torch.Tensor] = []
    model.head.register_forward_pre_hook(lambda _, inputs: hidden.append(inputs[0]))
    features = torch.ones(1, 5)
    model.eval()(dense(features))
    model.train()(dense(features))
    active = hidden[0] > 0
    kept = (hidden[1] != 0)[active].float().mean().item()
    assert kept == pytest.approx(0.1, abs=0.06)
    torch.testing.assert_close(hidden[1][hidden[1] != 0], hidden[0][hidden[1] != 0] / 0.1)


def test_a_residual_that_adds_nothing_is_refused() -> None:
    for widths in ([], [64], [64, 32]):
        with pytest.raises(ConfigError, match=r"model\.residual: no two neighbours"):
            mlp(widths=widths, residual=True)


def test_it_learns_xor() -> None:
    features = torch.tensor([[0.0, 0, 1, 1, 1], [0, 1, 1, 1, 1], [1, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    model = mlp(widths=[16, 16], dropout=0.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    targets = torch.tensor([0, 1, 1, 0])
    for _ in range(150):
        optimizer.zero_grad()
        functional.cross_entropy(model(dense(features)), targets).backward()
        optimizer.step()
    assert model(dense(features)).argmax(1).tolist() == targets.tolist()
