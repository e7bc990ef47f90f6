"""Initial weights against their published variances, and the prior bias against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from recipes.models.init import init_last_bias, init_weights, prior_logits

FAN_IN, FAN_OUT = 400, 300


def drawn(scheme: str) -> torch.Tensor:
    torch.manual_seed(0)
    layer = nn.Linear(FAN_IN, FAN_OUT)
    init_weights([layer], scheme)  # type: ignore[arg-type]
    assert torch.count_nonzero(layer.bias) == (FAN_OUT if scheme == "default" else 0)
    return layer.weight.detach()


@pytest.mark.parametrize(
    ("scheme", "variance", "bound"),
    [
        ("default", 1 / (3 * FAN_IN), 1 / math.sqrt(FAN_IN)),
        ("xavier_uniform", 2 / (FAN_IN + FAN_OUT), math.sqrt(6 / (FAN_IN + FAN_OUT))),
        ("xavier_normal", 2 / (FAN_IN + FAN_OUT), math.inf),
        ("he_uniform", 2 / FAN_IN, math.sqrt(6 / FAN_IN)),
        ("he_normal", 2 / FAN_IN, math.inf),
    ],
)
def test_variance_and_bound(scheme: str, variance: float, bound: float) -> None:
    weight = drawn(scheme)
    assert weight.var().item() == pytest.approx(variance, rel=0.02)  # 120,000 draws: a standard error below 0.5 %
    largest = weight.abs().max().item()
    assert largest <= bound
    assert largest > (0.99 * bound if math.isfinite(bound) else 3 * math.sqrt(variance))


def test_orthogonal() -> None:
    weight = drawn("orthogonal")
    torch.testing.assert_close(weight @ weight.T, torch.eye(FAN_OUT), rtol=0, atol=1e-5)


def test_convolutions_count_the_width_as_input() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(80, 200, (1, 5))
    init_weights([layer], "he_normal")
    assert layer.weight.var().item() == pytest.approx(2 / (80 * 5), rel=0.03)


def test_the_prior_of_one_percent_is_the_papers_bias() -> None:
    logits = prior_logits("multilabel", np.array([10, 500]), 1000)
    assert logits[0].item() == pytest.approx(-4.59511985, abs=1e-8)
    assert logits[1].item() == 0
    two = prior_logits("binary", np.array([990, 10]), 1000)
    assert (two[1] - two[0]).item() == pytest.approx(-4.59511985, abs=1e-8)


def test_the_softmax_of_the_prior_is_the_class_frequencies() -> None:
    bias = torch.empty(3)
    init_last_bias(bias, "prior", "multiclass", np.array([70, 25, 5]), 100)
    torch.testing.assert_close(bias.softmax(0), torch.tensor([0.7, 0.25, 0.05]))
    init_last_bias(bias, "zero", "multiclass", np.array([70, 25, 5]), 100)
    assert bias.tolist() == [0, 0, 0]


def test_classes_without_rows_or_without_others_are_finite() -> None:
    for task in ("multiclass", "multilabel"):
        assert torch.isfinite(prior_logits(task, np.array([0, 100]), 100)).all()  # type: ignore[arg-type]
