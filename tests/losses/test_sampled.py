"""Hierarchical softmax and negative sampling against sums by hand, and the models that they go with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from recipes.cli.settings import read_settings
from recipes.errors import ConfigError
from recipes.losses import HierarchicalSoftmax, NegativeSampling
from recipes.models.fused import Objective
from recipes.models.huffman import HierarchicalHead

COUNTS = np.array([60, 30, 9, 1])
TARGETS = torch.tensor([0, 3, 2, 1, 3])


def logits(scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_hierarchical_is_the_way_to_the_leaf() -> None:
    torch.manual_seed(0)
    head, x = HierarchicalHead(6, COUNTS).double(), torch.randn(5, 6, dtype=torch.float64)
    with torch.no_grad():
        head.weight.normal_()
    loss = HierarchicalSoftmax("multiclass")
    found = loss(head(x), TARGETS)
    for b, y in enumerate(TARGETS.tolist()):
        z = head.weight.detach().numpy() @ x[b].numpy()
        way = zip(head.tree.paths[y], head.tree.bits[y], strict=True)
        assert found[b].item() == pytest.approx(sum(np.logaddexp(0, -z[node] if bit else z[node]) for node, bit in way), abs=1e-12)
    assert loss.objective() == Objective("hierarchical")
    assert not loss.declares().approximate, "its posterior is that of the data"


@pytest.mark.parametrize("power", [0.5, 1.0])
@pytest.mark.parametrize("negatives", [1, 5])
def test_negative_sampling_is_the_expectation_over_the_draws(power: float, negatives: int) -> None:
    loss = NegativeSampling("multiclass", COUNTS, negatives=negatives, power=power)
    z, found = logits(2).numpy(), loss(logits(2), TARGETS)
    for b, y in enumerate(TARGETS.tolist()):
        noise = COUNTS**power * (np.arange(4) != y)
        expected = np.logaddexp(0, -z[b, y]) + negatives * (noise / noise.sum() * np.logaddexp(0, z[b])).sum()
        assert found[b].item() == pytest.approx(expected, abs=1e-12)


def test_the_mean_of_many_draws_is_the_loss() -> None:
    """Value and gradient, so that a step which draws is, on average, the step which does not."""
    loss, rng, times = NegativeSampling("multiclass", COUNTS), np.random.default_rng(0), 20_000
    z = logits().requires_grad_()
    (expected,) = torch.autograd.grad(loss(z, TARGETS).sum(), z)
    s = 1 / (1 + np.exp(-z.detach().numpy()))
    for b, y in enumerate(TARGETS.tolist()):
        noise = np.sqrt(COUNTS) * (np.arange(4) != y)
        drawn = rng.choice(4, size=(times, 5), p=noise / noise.sum())
        sampled = (drawn[:, :, None] == np.arange(4)).sum(1) * s[b] - (np.arange(4) == y) * (1 - s[b])  # (times, C) gradients
        np.testing.assert_allclose(sampled.mean(0), expected[b], atol=5 * 2.5 / times**0.5)


def test_what_the_kernel_is_told() -> None:
    objective = NegativeSampling("multiclass", COUNTS, negatives=3).objective()
    assert (objective.form, objective.negatives, objective.weights_C) == ("negative_sampling", 3, None)
    np.testing.assert_allclose(objective.noise_C, np.sqrt(COUNTS) / np.sqrt(COUNTS).sum())


def test_a_class_without_rows_is_no_noise() -> None:
    loss, z = NegativeSampling("multiclass", np.array([5, 0, 3])), torch.zeros(1, 3, dtype=torch.float64)
    far = z.clone()
    far[0, 1] = 50
    torch.testing.assert_close(loss(far, torch.tensor([0])), loss(z, torch.tensor([0])))


def test_logits_of_negative_sampling_are_scores() -> None:
    loss = NegativeSampling("multiclass", COUNTS)
    assert loss.scores
    assert loss.declares().link == "sigmoid"
    assert "fits no distribution" in str(loss.declares().approximate)


def test_one_class_has_no_noise() -> None:
    with pytest.raises(ConfigError, match="loss=negative_sampling: negatives are drawn from the other classes, and train has rows of one"):
        NegativeSampling("binary", np.array([12, 0]))


def test_several_labels_are_refused() -> None:
    for made in (lambda: HierarchicalSoftmax("multilabel"), lambda: NegativeSampling("multilabel", COUNTS)):
        with pytest.raises(ConfigError, match=r"is for one class a row, and this task is multilabel; use loss=asl, .*loss=bce"):
            made()


@pytest.mark.parametrize("model", ["textcnn", "mlp", "textrnn"])
def test_a_model_without_a_tree_is_refused_with_the_way_out(compose: Callable[..., dict[str, Any]], model: str) -> None:
    with pytest.raises(
        ConfigError,
        match=r"loss: HierarchicalSoftmax needs a model with the setting head=hierarchical, and \w+ has none; "
        r"use model=fasttext, or loss=cross_entropy, which goes with any model",
    ):
        read_settings(compose(f"model={model}", "loss=hierarchical_softmax", "trainer.device=cpu"))


def test_fasttext_gets_the_tree_and_the_note(compose: Callable[..., dict[str, Any]]) -> None:
    settings = read_settings(compose("model=fasttext", "loss=hierarchical_softmax", "trainer.device=cpu"))
    assert settings.group("model")["head"] == "hierarchical"
    assert settings.notes == ["HierarchicalSoftmax needs model.head=hierarchical: set"]
