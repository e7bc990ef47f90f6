"""Heads against sums of products in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from recipes.models.heads import CosineHead, ScaledHead, make_head
from recipes.optim import last_layer


def rows(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def cosine(scale: float = 30.0) -> CosineHead:
    torch.manual_seed(0)
    head = make_head("cosine", 4, 3, scale).double()
    assert isinstance(head, CosineHead)
    return head


def test_cosines_by_hand() -> None:
    head, x = cosine(7.0), rows(5, 4)
    w = head.weight.detach()
    for n, logits in enumerate(head(x).tolist()):
        for c, logit in enumerate(logits):
            product = sum(float(a * b) for a, b in zip(x[n], w[c], strict=True))
            lengths = math.sqrt(sum(float(a) ** 2 for a in x[n])) * math.sqrt(sum(float(b) ** 2 for b in w[c]))
            assert logit == pytest.approx(7 * product / lengths, abs=1e-13)


def test_lengths_of_features_and_weights_do_not_matter() -> None:
    head, x = cosine(), rows(5, 4)
    before = head(x)
    with torch.no_grad():
        head.weight.mul_(torch.tensor([[1e-3], [1.0], [1e3]]))
    torch.testing.assert_close(head(x * torch.logspace(-4, 4, 5)[:, None].double()), before, rtol=0, atol=1e-12)


def test_gradients_of_cosines() -> None:
    head, x = cosine(), rows(5, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, w: torch.func.functional_call(head, {"weight": w}, (a,)), (x, head.weight))


def test_features_of_zero_give_zeros_and_no_gradient() -> None:
    """A text of no words has no direction; dividing by a small number instead of its length would make a gradient of millions."""
    head, x = cosine(), rows(3, 4)
    x[1] = 0
    x.requires_grad_()
    logits = head(x)
    logits.square().sum().backward()
    (head(x) * 3).sum().backward()
    assert logits[1].tolist() == [0, 0, 0]
    assert x.grad[1].tolist() == [0, 0, 0, 0]
    assert x.grad[[0, 2]].all()
    assert torch.isfinite(head.weight.grad).all()


def test_both_kinds_draw_the_same_weights_and_are_the_last_layer() -> None:
    torch.manual_seed(3)
    linear = make_head("linear", 4, 3, 30.0)
    torch.manual_seed(3)
    other = make_head("cosine", 4, 3, 30.0)
    assert torch.equal(linear.weight, other.weight)
    assert other.bias is None
    assert make_head("linear", 4, 3, 30.0, bias=False).bias is None
    for head in (linear, other):  # which adaptive clipping spares
        assert last_layer(nn.Sequential(nn.Linear(4, 4), head)) == list(head.parameters())


@pytest.mark.parametrize("bias", [True, False])
def test_a_scale_is_learnt_on_fixed_weights_and_folds_into_a_linear_layer(bias: bool) -> None:
    torch.manual_seed(0)
    linear, x = nn.Linear(4, 3, bias=bias, dtype=torch.float64), rows(6, 4)
    before, logits = linear.weight.detach().clone(), linear(x).detach()
    head = ScaledHead(linear)
    assert torch.equal(head(x), logits)
    assert [name for name, p in head.named_parameters() if p.requires_grad] == ["scale_C"]
    with torch.no_grad():
        head.scale_C.copy_(torch.tensor([0.5, 1.0, -2.0]))
    offset = linear.bias if bias else torch.zeros(3, dtype=torch.float64)
    expected = (logits - offset) * torch.tensor([0.5, 1.0, -2.0]) + offset
    torch.testing.assert_close(head(x), expected, rtol=0, atol=1e-14)
    head(x).sum().backward()
    torch.testing.assert_close(head.scale_C.grad, (logits - offset).sum(0), rtol=0, atol=1e-13)
    folded = head.folded()
    assert type(folded) is nn.Linear
    assert (folded.bias is not None) == bias
    assert torch.equal(folded(x), head(x))
    assert torch.equal(linear.weight, before)
