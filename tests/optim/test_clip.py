"""Clipping against torch's own functions and against plain loops over units."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from recipes.optim import clip_agc, clip_norm, clip_value, grad_norm, last_layer, make_clip


def mlp(scale: float = 1.0, dtype: torch.dtype = torch.float32) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 7), nn.ReLU(), nn.Linear(7, 3)).to(dtype)
    for p in model.parameters():
        p.grad = scale * torch.randn_like(p)
    return model


def bag(sparse: bool) -> nn.Sequential:
    """A bag of embeddings whose ids repeat, so that a sparse gradient has several entries of one row."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.EmbeddingBag(9, 4, sparse=sparse), nn.Linear(4, 2)).double()
    ids = torch.tensor([[1, 1, 2], [2, 2, 7], [7, 1, 1]])
    (10 * model(ids).square().sum()).backward()
    return model


def gradients(model: nn.Module) -> list[torch.Tensor]:
    return [p.grad.to_dense() if p.grad.is_sparse else p.grad for p in model.parameters()]


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_norm_is_torchs_bit_for_bit(scale: float, dtype: torch.dtype) -> None:
    ours, theirs = mlp(scale, dtype), mlp(scale, dtype)
    total = make_clip("norm", 1.5, ours)()
    expected = nn.utils.clip_grad_norm_(theirs.parameters(), 1.5)
    assert torch.equal(total, expected)
    assert all(torch.equal(a, b) for a, b in zip(gradients(ours), gradients(theirs), strict=True))


def test_norm_is_torchs_when_it_is_just_the_bound() -> None:
    # norm / (norm + 1e-6) is below 1 in float64, so the gradient shrinks although it is not above the bound.
    ours, theirs = mlp(dtype=torch.float64), mlp(dtype=torch.float64)
    bound = grad_norm(list(ours.parameters())).item()
    clip_norm(list(ours.parameters()), bound)
    nn.utils.clip_grad_norm_(theirs.parameters(), bound)
    assert all(torch.equal(a, b) for a, b in zip(gradients(ours), gradients(theirs), strict=True))


def test_value_is_torchs_and_its_norm_is_the_one_before() -> None:
    ours, theirs = mlp(), mlp()
    total = make_clip("value", 0.3, ours)()
    expected = nn.utils.get_total_norm([p.grad for p in theirs.parameters()])
    nn.utils.clip_grad_value_(theirs.parameters(), 0.3)
    assert torch.equal(total, expected)
    assert all(torch.equal(a, b) for a, b in zip(gradients(ours), gradients(theirs), strict=True))
    assert max(g.abs().max() for g in gradients(ours)) <= 0.3


def test_none_measures_and_changes_nothing() -> None:
    ours, untouched = mlp(), mlp()
    assert make_clip("none", 1e-9, ours)() == nn.utils.get_total_norm(gradients(untouched))
    assert all(torch.equal(a, b) for a, b in zip(gradients(ours), gradients(untouched), strict=True))


def agc_by_hand(weight: np.ndarray, gradient: np.ndarray, ratio: float, eps: float = 1e-3) -> np.ndarray:
    """One unit after the other, as the paper's equation reads."""
    rows = weight.reshape(len(weight), -1) if weight.ndim > 1 else weight.reshape(1, -1)
    clipped = gradient.copy().reshape(rows.shape)
    for unit, row in zip(clipped, rows, strict=True):
        most = ratio * max(math.sqrt((row**2).sum()), eps)
        norm = math.sqrt((unit**2).sum())
        if norm > most:
            unit *= most / norm
    return clipped.reshape(gradient.shape)


def test_agc_is_the_papers_and_leaves_the_last_layer() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(6, 4), nn.Conv1d(4, 5, 3), nn.LayerNorm(5), nn.Linear(5, 5), nn.Linear(5, 3)).double()
    with torch.no_grad():
        model[3].bias.zero_()
        model[3].weight[2].zero_()
    for p in model.parameters():
        p.grad = 10.0 ** torch.randint(-4, 2, (len(p),) + (1,) * (p.ndim - 1)) * torch.randn_like(p)
    before = copy.deepcopy(model)
    for p, q in zip(before.parameters(), model.parameters(), strict=True):
        p.grad = q.grad.clone()
    total = make_clip("agc", 0.05, model)()
    assert total.item() == pytest.approx(nn.utils.get_total_norm(gradients(before)).item(), rel=1e-12)
    changed = 0
    for (name, p), q in zip(model.named_parameters(), before.parameters(), strict=True):
        expected = q.grad.numpy() if name.startswith("4.") else agc_by_hand(q.detach().numpy(), q.grad.numpy(), 0.05)
        np.testing.assert_allclose(p.grad.numpy(), expected, rtol=1e-12, atol=0, err_msg=name)
        changed += not torch.equal(p.grad, q.grad)
    assert changed >= 5
    assert torch.isfinite(model[3].weight.grad).all()


def test_agc_keeps_a_zero_gradient_at_zero() -> None:
    p = nn.Parameter(torch.zeros(3, 2))
    p.grad = torch.zeros(3, 2)
    assert clip_agc([p], 0.01) == 0
    assert not p.grad.any()


def test_the_last_layer_is_the_last_linear_one() -> None:
    model = mlp()
    assert last_layer(model) == [model[4].weight, model[4].bias]
    assert last_layer(nn.Embedding(3, 2)) == []


def test_the_norm_of_sparse_gradients_is_not_asked_for_in_vain() -> None:
    ours = bag(sparse=True)
    before = ours[0].weight.grad.clone()
    assert make_clip("none", 1.0, ours)() is None
    assert torch.equal(ours[0].weight.grad.to_dense(), before.to_dense())


@pytest.mark.parametrize("kind", ["norm", "value", "agc"])
def test_sparse_gradients_are_clipped_as_dense_ones(kind: str) -> None:
    ours, theirs = bag(sparse=True), bag(sparse=False)
    assert ours[0].weight.grad.is_sparse
    left, right = make_clip(kind, 0.02, ours)(), make_clip(kind, 0.02, theirs)()
    torch.testing.assert_close(left, right, rtol=1e-12, atol=0)
    assert ours[0].weight.grad.is_sparse
    for a, b in zip(gradients(ours), gradients(theirs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("kind", ["norm", "value", "agc", "none"])
def test_nothing_to_clip(kind: str) -> None:
    assert make_clip(kind, 1.0, nn.Linear(2, 2))() == 0.0
    assert make_clip(kind, 1.0, nn.ReLU())() == 0.0


@pytest.mark.parametrize("kind", ["norm", "value", "agc", "none"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_bad_gradient_shows_in_the_norm(kind: str, bad: float) -> None:
    model = mlp()
    model[2].weight.grad[0, 0] = bad
    assert not torch.isfinite(make_clip(kind, 1.0, model)())


def test_frozen_parameters_do_not_count() -> None:
    model = mlp()
    model[0].requires_grad_(False)
    rest = [p.grad for p in (*model[2].parameters(), *model[4].parameters())]
    assert torch.equal(make_clip("none", 1.0, model)(), nn.utils.get_total_norm(rest))


def test_functions_take_any_sequence_of_parameters() -> None:
    model = mlp()
    parameters = list(model.parameters())
    total = grad_norm(parameters)
    assert torch.equal(clip_value(parameters, 1e9), total)
    assert torch.equal(clip_norm(parameters, 1e9), total)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", ["norm", "value", "agc", "none"])
@pytest.mark.parametrize("sparse", [False, True])
def test_on_cuda_without_waiting(kind: str, sparse: bool) -> None:
    model, reference = bag(sparse).cuda(), bag(sparse)
    for p, q in zip(model.parameters(), reference.parameters(), strict=True):
        p.grad = (q.grad.coalesce() if q.grad.is_sparse else q.grad).cuda()
    clip = make_clip(kind, 0.02, model)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        total = clip()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(total.cpu(), make_clip(kind, 0.02, reference)(), rtol=1e-12, atol=0)
    for a, b in zip(gradients(model), gradients(reference), strict=True):
        torch.testing.assert_close(a.cpu(), b, rtol=1e-12, atol=1e-15)
