"""fastText's forward pass by hand, its first weights, and its gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recipes.data.batch import Batch
from recipes.data.facts import Needs
from recipes.errors import ConfigError
from recipes.models import FastText
from recipes.models.fused import Objective
from recipes.models.huffman import HierarchicalHead

BAGS = [[2, 3, 3, 9], [], [5]]
WORDS = ("", "<unk>", *"abcdef")  # and four n-grams
COUNTS = np.array([70, 25, 5])


def fasttext(**settings: Any) -> FastText:
    torch.manual_seed(0)
    return FastText(3, 12, WORDS, "multiclass", COUNTS, 100, **settings)


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
    bag = {"representation": "tokens", "form": "bag", "end": True}
    assert FastText.needs({"word_ngrams": 3, "buckets": 50}) == Needs(**bag, word_ngrams=3, buckets=50)
    assert FastText.needs({"word_ngrams": 1, "buckets": 50}) == Needs(**bag, buckets=0)
    assert FastText.needs({}) == Needs(**bag, word_ngrams=2, buckets=2_000_000)
    assert FastText.needs({"word_ngrams": 1, "minn": 3, "maxn": 6}) == Needs(**bag, buckets=2_000_000, minn=3, maxn=6)
    assert not FastText.needs({"end": False}).end


@pytest.mark.parametrize(("minn", "maxn"), [(4, 3), (0, 3), (3, 0)])
def test_lengths_that_are_no_range_are_refused(minn: int, maxn: int) -> None:
    for made in (lambda: FastText.needs({"minn": minn, "maxn": maxn}), lambda: fasttext(minn=minn, maxn=maxn)):
        with pytest.raises(ConfigError, match=f"model.minn and model.maxn: {minn} to {maxn} is no range of lengths; use minn=3 maxn=6"):
            made()


def test_rows_start_from_given_vectors(tmp_path: Path) -> None:
    path = tmp_path / "vectors.vec"
    path.write_text("3 2\na 1.5 -2\nd 0.25 4\nunseen 9 9\n", encoding="utf-8")
    rows = fasttext(dim=2, vectors=str(path)).embedding.weight
    assert rows[[2, 5]].tolist() == [[1.5, -2], [0.25, 4]]
    others = [i for i in range(12) if i not in (2, 5)]
    assert rows[others].abs().max() <= 0.5
    settings = FastText.inference_settings({"vectors": str(path), "dim": 2}, {})
    path.unlink()  # a trained model does not read it again
    assert fasttext(**settings).embedding.weight.shape == (12, 2)
    assert FastText.inference_settings({"dim": 2}, {}) == {"dim": 2}


def test_a_hierarchical_head_gives_log_probabilities() -> None:
    model = fasttext(dim=4, head="hierarchical")
    assert isinstance(model.head, HierarchicalHead)
    assert not model.head.weight.any()
    torch.testing.assert_close(model(batch()).exp(), torch.tensor([[0.5, 0.25, 0.25]]).expand(3, 3))
    with pytest.raises(
        ConfigError, match=r"model\.head: the tree of loss=\w+ is one distribution .* and this task is multilabel; use loss=ova"
    ):
        FastText(3, 12, WORDS, "multilabel", COUNTS, 100, head="hierarchical")


@pytest.mark.parametrize(
    ("settings", "form", "reason"),
    [
        ({"head": "hierarchical"}, "softmax", "model.head=hierarchical and loss=hierarchical_softmax go together"),
        ({}, "hierarchical", "model.head=hierarchical and loss=hierarchical_softmax go together"),
        ({"head": "cosine"}, "softmax", "heads that are linear, without a bias: model.head=linear model.bias_init=none"),
        ({"bias_init": "zero"}, "softmax", "heads that are linear, without a bias"),
    ],
)
def test_there_is_no_fused_step_where_the_kernel_does_not_know_the_model(settings: dict[str, Any], form: Any, reason: str) -> None:
    said = fasttext(dim=4, **settings).fused_update(Objective(form), 1)
    assert isinstance(said, str)
    assert reason in said


def test_there_is_no_fused_step_where_a_part_is_not_trained() -> None:
    model = fasttext(dim=4)
    model.embedding.weight.requires_grad_(False)
    assert model.fused_update(Objective("softmax"), 1) == "a part of the model is not trained (init.train)"
