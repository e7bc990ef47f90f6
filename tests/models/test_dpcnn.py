"""DPCNN against a loop over positions, text by text."""

from __future__ import annotations

import pytest
import torch
from texts import TEXTS, batch, learns_order, make

from recipes.models import DPCNN


def convolved(layer: torch.nn.Conv2d, rows: list[torch.Tensor]) -> list[torch.Tensor]:
    zeros = torch.zeros_like(rows[0])
    around = [zeros, *rows, zeros]
    return [layer.bias + sum(layer.weight[:, :, 0, j] @ around[i + j] for j in range(3)) for i in range(len(rows))]


def naive(model: DPCNN, text: list[int]) -> torch.Tensor:
    rows = convolved(model.region, [model.embedding.weight[i] for i in text or [0]])
    for number, block in enumerate(model.blocks):
        if number:
            rows = [torch.stack(rows[i : i + 3]).amax(0) for i in range(0, len(rows), 2)]
        inner = convolved(block.first, [row.relu() for row in rows])
        rows = [row + more for row, more in zip(rows, convolved(block.second, [row.relu() for row in inner]), strict=True)]
    return model.head.weight @ torch.stack(rows).amax(0) + model.head.bias


@pytest.mark.parametrize("halvings", [0, 1, 2, 6])
@pytest.mark.parametrize("width", [1, 13, 32])
@torch.no_grad()
def test_it_is_the_pyramid_of_each_text_alone(halvings: int, width: int) -> None:
    model = make(DPCNN, dim=5, maps=4, halvings=halvings).double().eval()
    for p in model.parameters():
        p.add_(0.1 * torch.randn_like(p))  # biases that matter
    model.after_step()
    expected = torch.stack([naive(model, text) for text in TEXTS])
    torch.testing.assert_close(model(batch(TEXTS, width)), expected, rtol=0, atol=1e-12)


def test_gradients() -> None:
    model = make(DPCNN, dim=3, maps=2, halvings=2, init="he_normal").double().eval()
    weights = {name: p for name, p in model.named_parameters() if name != "embedding.weight"}

    def logits(*values: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(model, dict(zip(weights, values, strict=True)), (batch(TEXTS),))

    with torch.no_grad():
        for p in weights.values():
            p.add_(0.1 * torch.randn_like(p))  # no two positions are equal, and no activation is at its corner
    assert torch.autograd.gradcheck(logits, tuple(weights.values()))


def test_init_draws_every_convolution() -> None:
    model = make(DPCNN, dim=100, maps=100, init="he_normal")
    for conv in (model.region, model.blocks[0].first, model.blocks[6].second):
        assert conv.weight.var().item() == pytest.approx(2 / 300, rel=0.05)
        assert not conv.bias.any()


def test_it_learns_order() -> None:
    assert learns_order(make(DPCNN, dim=16, maps=32, halvings=3, dropout=0.0)) > 0.9


def test_bf16() -> None:
    model = make(DPCNN).eval()
    with torch.autocast("cpu", torch.bfloat16):
        half = model(batch(TEXTS))
    torch.testing.assert_close(half.float(), model(batch(TEXTS)), rtol=0.05, atol=0.02)
