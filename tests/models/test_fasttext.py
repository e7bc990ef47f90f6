"""fastText's forward pass by hand, its first weights, and its gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from recipes.data.batch import Batch
from recipes.data.facts import Needs
from recipes.errors import ConfigError
from recipes.models import FastText

BAGS = [[2, 3, 3, 9], [], [5]]


def fasttext(**settings: Any) -> FastText:
    torch.manual_seed(0)
    return FastText(3, 12, "multiclass", np.array([70, 25, 5]), 100, **settings)


def batch() -> Batch:
    offsets = torch.tensor(np.cumsum([0, *map(len, BAGS)]))
    ids = torch.tensor([i for bag in BAGS for i in bag])
    return Batch(torch.arange(3), torch.arange(3), torch.ones(3), ids=ids, offsets=offsets)


def test_the_hidden_row_is_the_mean_and_zero_for_an_empty_text() -> None:
    model = fasttext(dim=6, init="he_normal").double()
    rows = model.embedding.weight
    expected = torch.stack([rows[bag].mean(0) if bag else torch.zeros(6, dtype=torch.float64) for bag in BAGS])
    torch.testing.assert_close(model.embed(batch()), expected, rtol=0, atol=1e-15)
    torch.testing.assert_close(model(batch()), expected @ model.head.weight.T, rtol=0, atol=1e-15)


def test_first_weights_are_the_published_ones() -> None:
    model = fasttext(dim=4000)
    assert model.embedding.weight.abs().max() <= 1 / 4000
    assert model.embedding.weight.std().item() == pytest.approx(1 / 4000 / 3**0.5, rel=0.02)
    assert not model.head.weight.any()
    assert model.head.bias is None


def test_prior_bias() -> None:
    model = fasttext(bias_init="prior")
    torch.testing.assert_close(model(batch()).softmax(1), torch.tensor([[0.7, 0.25, 0.05]]).expand(3, 3))
    assert fasttext(bias_init="zero").head.bias.tolist() == [0, 0, 0]


def test_a_cosine_head_begins_with_directions_and_has_no_bias() -> None:
    model = fasttext(head="cosine", scale=8.0)
    assert model.head.weight.norm(dim=1).min() > 0
    hidden = model.embed(batch())
    expected = 8 * torch.cosine_similarity(hidden[:, None], model.head.weight[None], dim=2)
    torch.testing.assert_close(model(batch()), expected)
    for bias in ("zero", "prior"):
        with pytest.raises(
            ConfigError, match=r"model.bias_init: .* a cosine head has none; use model.bias_init=none, or model.head=linear"
        ):
            fasttext(head="cosine", bias_init=bias)


def test_sparse_gradients_hold_the_rows_of_the_batch_and_equal_the_dense_ones() -> None:
    gradients = []
    for sparse in (True, False):
        model = fasttext(dim=5, init="he_normal", sparse=sparse).double()
        model(batch()).square().sum().backward()
        gradients.append(model.embedding.weight.grad)
    sparse, dense = gradients
    assert sparse is not None
    assert sparse.is_sparse
    assert sparse.coalesce().indices()[0].tolist() == [2, 3, 5, 9]
    torch.testing.assert_close(sparse.to_dense(), dense, rtol=0, atol=1e-15)


def test_needs() -> None:
    assert FastText.needs({"word_ngrams": 3, "buckets": 50}) == Needs("tokens", 3, 50, form="bag")
    assert FastText.needs({"word_ngrams": 1, "buckets": 50}) == Needs("tokens", 1, 0, form="bag")
    assert FastText.needs({}) == Needs("tokens", 2, 100_000, form="bag")
