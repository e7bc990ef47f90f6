"""Changes to a trained head against their formulas, scikit-learn's nearest centroid, and what freezing leaves to train."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestCentroid
from torch import nn
from torch.nn import functional

from recipes.config import build
from recipes.data.batch import Batch
from recipes.errors import ConfigError
from recipes.models import MLP, Model, TextCNN
from recipes.models.heads import CosineHead
from recipes.models.mlp import BagLinear
from recipes.models.posthoc import freeze, nearest_class_mean, reinitialised, scaled, settings_with, tau_normalized
from recipes.optim import make_optimizer


def linear(bias: bool = True, seed: int = 0) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(5, 4, bias=bias, dtype=torch.float64)


def features(rows: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    """Four unequal classes around centres of unequal length."""
    rng = np.random.default_rng(0)
    targets = np.minimum(rng.geometric(0.5, rows) - 1, 3)
    centres = rng.normal(size=(4, 5)) * np.array([[1], [2], [3], [0.5]])
    return torch.from_numpy(centres[targets] + rng.normal(size=(rows, 5))), torch.from_numpy(targets)


def mlp(sparse: bool = False, **settings: Any) -> MLP:
    torch.manual_seed(0)
    return MLP(3, 5, (), sparse, "multiclass", np.array([5, 3, 2]), 10, **settings)


def batch(rows: int = 8) -> Batch:
    x = torch.randn(rows, 5, generator=torch.Generator().manual_seed(1))
    return Batch(torch.arange(rows), torch.arange(rows) % 3, torch.ones(rows), features_BF=x)


@pytest.mark.parametrize("tau", [0.0, 0.3, 1.0, 2.0])
def test_tau_normalisation_is_the_papers_formula_and_keeps_the_bias(tau: float) -> None:
    head = linear()
    before = head.weight.detach().clone()
    changed = tau_normalized(head, tau)
    for row, w in zip(changed.weight, before, strict=True):
        torch.testing.assert_close(row, w / w.square().sum().sqrt() ** tau, rtol=0, atol=1e-15)
    assert torch.equal(changed.bias, head.bias)
    assert torch.equal(head.weight, before)


def test_tau_zero_is_the_head_to_the_bit() -> None:
    head = linear().float()
    assert torch.equal(tau_normalized(head, 0.0).weight, head.weight)


def test_tau_normalisation_of_a_head_on_words_and_of_classes_without_weights() -> None:
    dense = linear()
    with torch.no_grad():
        dense.weight[2] = 0
    changed, bags = tau_normalized(dense, 1.0), tau_normalized(BagLinear(dense), 1.0)
    assert torch.equal(bags.weight.t(), changed.weight)
    assert not changed.weight[2].any()
    assert linear(bias=False).bias is tau_normalized(linear(bias=False), 1.0).bias is None


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_the_nearest_mean_is_scikit_learns(metric: str) -> None:
    x, y = features()
    new = features(200)[0] + 0.3
    head = nearest_class_mean(x, y, 4, scale=10.0 if metric == "cosine" else None)
    means = NearestCentroid().fit(x.numpy(), y.numpy()).centroids_
    if metric == "euclidean":
        expected = NearestCentroid().fit(x.numpy(), y.numpy()).predict(new.numpy())
        distances = torch.cdist(new, torch.from_numpy(means)).square()
        logits = head(new)
        torch.testing.assert_close(logits - logits[:, :1], -(distances - distances[:, :1]) / 2, rtol=0, atol=1e-10)
    else:
        expected = functional.cosine_similarity(new[:, None], torch.from_numpy(means)[None], dim=2).argmax(1).numpy()
    assert head(new).argmax(1).tolist() == expected.tolist()
    assert len(set(expected)) == 4


def test_means_count_rows_by_their_weight_and_a_class_without_rows_is_never_chosen() -> None:
    x, y = features()
    x = x.float() * 100
    weights = torch.randint(1, 4, (len(x),), generator=torch.Generator().manual_seed(0))
    head, repeated = (
        nearest_class_mean(x, y, 6, weights),
        nearest_class_mean(x.repeat_interleave(weights, 0), y.repeat_interleave(weights), 6),
    )
    torch.testing.assert_close(head.weight, repeated.weight)
    assert head.weight.dtype == torch.float32
    logits = head(-x)
    assert torch.isfinite(logits).all()
    assert logits.argmax(1).max() < 4


def test_a_new_head_has_the_size_and_kind_of_the_old_and_depends_on_the_seed_alone() -> None:
    for head in (linear(), linear(bias=False), CosineHead(5, 4, 9.0).double(), BagLinear(linear())):
        torch.manual_seed(1)
        one = reinitialised(head)
        torch.manual_seed(1)
        two = reinitialised(head)
        assert type(one) is type(head)
        assert torch.equal(one.weight, two.weight)
        assert one.weight.shape == head.weight.shape
        assert one.weight.dtype == torch.float64
        assert (one.weight != head.weight).all()
        assert one.weight.abs().max() <= 5**-0.5
        assert one.bias is None or not one.bias.any()


def test_a_scale_works_on_a_copy() -> None:
    head = linear()
    copied = scaled(head)
    assert head.weight.requires_grad
    assert torch.equal(copied(features()[0]), head(features()[0]))


def test_methods_that_the_head_rules_out_are_refused_with_a_way_on() -> None:
    angles, bags = CosineHead(5, 4, 9.0), BagLinear(linear())
    for method in (lambda head: tau_normalized(head, 1.0), scaled):
        with pytest.raises(ConfigError, match="a cosine head divides by them; use a model with head=linear"):
            method(angles)
    with pytest.raises(ConfigError, match=r"as in model.widths=\[64\]"):
        scaled(bags)
    for refused in (lambda head: tau_normalized(head, 1.0), scaled, reinitialised):
        with pytest.raises(ConfigError, match="Sequential"):
            refused(nn.Sequential(linear()))
    with pytest.raises(ConfigError, match="one class a row"):
        nearest_class_mean(torch.ones(2, 3), torch.ones(2, 4), 4)


@pytest.mark.parametrize("kind", ["linear", "cosine"])
@pytest.mark.parametrize("option", ["fasttext", "mlp"])
def test_a_model_is_built_again_with_a_new_head(option: str, kind: str) -> None:
    """fastText has no bias as published, and the nearest mean needs one; a cosine head may give way to a linear one, and back."""
    facts = {
        "num_classes": 3,
        "vocab_size": 9,
        "vocabulary": (),
        "task": "multiclass",
        "class_counts": np.array([5, 3, 2]),
        "train_rows": 10,
    }
    facts |= {"num_features": 5, "category_sizes": (), "sparse_features": False}
    for scale in (None, 4.0):
        sizes = {"dim": 6, "bias_init": "none"} if option == "fasttext" else {"widths": [6], "bias_init": "zero"}
        settings = {"_target_": f"recipes.models.{'FastText' if option == 'fasttext' else 'MLP'}", "head": kind, "scale": 30.0, **sizes}
        model = build(Model, settings, "model", facts=facts)
        model.head = nearest_class_mean(torch.randn(20, 6), torch.arange(20) % 3, 3, scale=scale)
        again = build(Model, settings_with(model.head, settings), "model", facts=facts)
        again.load_state_dict(model.state_dict())
        x = torch.randn(4, 6)
        assert torch.equal(again.head(x), model.head(x))
        assert settings_with(again.head, settings_with(model.head, settings)) == settings_with(model.head, settings)


def trained(model: Model, steps: int = 3) -> None:
    optimizer = make_optimizer({"_target_": "torch.optim.SGD", "lr": 0.5}, model)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        functional.cross_entropy(model(batch()), batch().targets).backward()
        optimizer.step()
        model.after_step()


def test_only_the_head_learns_and_batch_norm_stands_still() -> None:
    model = mlp(widths=[6], norm="batch", dropout=0.0)
    trained(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    features_BH = model.eval().encode(model.embed(batch()), batch())
    freeze(model, "head")
    trained(model)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"head.weight", "head.bias"}
    # What the head was trained on is what it reads in evaluation.
    assert torch.equal(model.train().encode(model.embed(batch()), batch()), features_BH)


def test_a_frozen_encoder_keeps_its_dropout_and_a_scale_its_weights() -> None:
    model = mlp(widths=[200], dropout=0.5)
    model.head = scaled(model.head)
    freeze(model, "head")
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["head.scale_C"]
    assert (model.train().encode(model.embed(batch()), batch()) == 0).float().mean() > 0.6
    trained(model)
    assert (model.head.scale_C != 1).all()


def test_all_changes_nothing_and_keeps_what_is_fixed_already() -> None:
    model = TextCNN(3, 4, ("", "<unk>", "a", "b"), "multiclass", np.array([5, 3, 2]), 10, dim=3, maps=2)
    model.embedding.weight.requires_grad_(False)
    freeze(model, "all")
    assert not model.frozen
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == ["embedding.weight"]


def test_a_model_without_a_head_is_named() -> None:
    class Whole(Model):
        def classify(self, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
            return hidden

    with pytest.raises(ConfigError, match=r"Whole has no `head`.*init.train=all"):
        freeze(Whole(), "head")
