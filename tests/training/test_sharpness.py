"""Sharpness-aware minimisation against the formula in NumPy, and a step of the real kind against its two halves by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from recipes.augmentation import NoAugment
from recipes.data.split import TrainSplit
from recipes.data.stores import DenseStore
from recipes.losses import CrossEntropy
from recipes.models import MLP
from recipes.sampling import NoMining, Plan
from recipes.training.precision import Precision
from recipes.training.sharpness import SharpnessAware
from recipes.training.step import Gather, Step

CPU = torch.device("cpu")
ROWS = 24


class Quadratic(nn.Module):
    """loss = w A w / 2 + b v; its gradient at any place is known."""

    def __init__(self) -> None:
        super().__init__()
        rng = np.random.default_rng(0)
        a = rng.normal(size=(3, 3))
        self.a, self.v = a @ a.T, rng.normal(size=2)
        self.w = nn.Parameter(torch.from_numpy(rng.normal(size=(3, 1))))
        self.b = nn.Parameter(torch.from_numpy(rng.normal(size=2)))

    def step(self) -> torch.Tensor:
        loss = (self.w.T @ torch.from_numpy(self.a) @ self.w).sum() / 2 + (self.b * torch.from_numpy(self.v)).sum() + self.b.pow(3).sum()
        loss.backward()
        return loss.detach()

    def gradient(self, w: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.a @ w, self.v + 3 * b**2


@pytest.mark.parametrize("adaptive", [False, True])
def test_the_formula_on_a_quadratic(adaptive: bool) -> None:
    model, rho = Quadratic(), 0.3
    w, b = model.w.detach().numpy().copy(), model.b.detach().numpy().copy()
    g, h = model.gradient(w, b)
    t = np.abs(w) + 0.01 if adaptive else np.ones_like(w)
    length = np.sqrt((t * g).ravel() @ (t * g).ravel() + h @ h)
    expected = model.gradient(w + rho * t**2 * g / length, b + rho * h / length)
    loss = SharpnessAware(model.step, model, rho, adaptive)()
    np.testing.assert_allclose(model.w.grad.numpy(), expected[0], rtol=1e-12)
    np.testing.assert_allclose(model.b.grad.numpy(), expected[1], rtol=1e-12)
    assert np.array_equal(model.w.detach().numpy(), w)
    assert np.array_equal(model.b.detach().numpy(), b)
    model.zero_grad()
    assert torch.equal(loss, model.step())


def test_the_radius_is_rho_and_rescaled_weights_are_moved_in_proportion() -> None:
    for adaptive in (False, True):
        model, places = Quadratic(), []

        def step(model: Quadratic = model, places: list[Any] = places) -> torch.Tensor:
            places.append([p.detach().clone() for p in model.parameters()])
            return model.step()

        SharpnessAware(step, model, 0.3, adaptive)()
        (w, b), (up_w, up_b) = places
        scale = w.abs() + 0.01 if adaptive else torch.ones_like(w)
        moved = torch.cat([((up_w - w) / scale).ravel(), up_b - b])
        assert moved.norm().item() == pytest.approx(0.3, rel=1e-12)


def split() -> TrainSplit:
    x = np.random.default_rng(0).normal(size=(ROWS, 4)).astype(np.float32)
    return TrainSplit("train", DenseStore(x, np.empty((ROWS, 0), np.int64)), np.arange(ROWS) % 3, num_classes=3)


def mlp(**settings: Any) -> MLP:
    torch.manual_seed(0)
    return MLP(3, 4, (), False, "multiclass", np.array([8, 8, 8]), ROWS, **{"widths": [6], "dropout": 0.0, **settings})


def step_of(model: MLP, batch_size: int = ROWS, device: torch.device = CPU) -> Step:
    gather, precision = Gather(split().to(device), Plan(np.arange(ROWS))), Precision("fp32", device)
    return Step(model, model, CrossEntropy("multiclass"), NoMining(), NoAugment(), gather, precision, batch_size, 0, False)


def gradients(model: nn.Module) -> list[torch.Tensor]:
    return [p.grad.clone() for p in model.parameters()]


def run(model: MLP, step: Callable[..., torch.Tensor]) -> torch.Tensor:
    model.train()
    model.zero_grad()
    torch.manual_seed(5)
    return step([np.arange(ROWS)], 0, 0)


def test_dropout_masks_are_the_same_and_batch_norm_moves_once() -> None:
    """Against the two passes written out, with the seed set before each and the statistics put back after the second."""
    model, other = (mlp(dropout=0.5, norm="batch") for _ in range(2))
    loss = run(model, SharpnessAware(step_of(model), model, 0.2))
    after = torch.get_rng_state()
    start = [p.detach().clone() for p in other.parameters()]
    expected_loss = run(other, step_of(other))
    buffers = [b.clone() for b in other.buffers()]
    first = gradients(other)
    norm = torch.sqrt(sum(g.square().sum() for g in first))
    with torch.no_grad():
        for p, g in zip(other.parameters(), first, strict=True):
            p.add_(0.2 * g / norm)
    run(other, step_of(other))
    assert torch.equal(loss, expected_loss)
    for g, h in zip(gradients(model), gradients(other), strict=True):
        torch.testing.assert_close(g, h, rtol=1e-5, atol=1e-7)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), start, strict=True))
    assert all(torch.equal(b, c) for b, c in zip(model.buffers(), buffers, strict=True))
    assert torch.equal(torch.get_rng_state(), after)


def test_a_vanishing_radius_is_the_plain_step() -> None:
    model, plain = mlp().double(), mlp().double()
    run(plain, in_float64(step_of(plain)))
    for adaptive in (False, True):
        run(model, SharpnessAware(in_float64(step_of(model)), model, 1e-9, adaptive))
        for g, h in zip(gradients(model), gradients(plain), strict=True):
            torch.testing.assert_close(g, h, rtol=0, atol=1e-8)
    run(model, SharpnessAware(in_float64(step_of(model)), model, 0.5))
    assert not torch.allclose(model.head.weight.grad, plain.head.weight.grad, atol=1e-3)


def in_float64(step: Step) -> Step:
    for name, tensor in step.gather.train.store.tensors.items():
        if tensor.is_floating_point():
            step.gather.train.store.tensors[name] = tensor.double()
    return step


@pytest.mark.parametrize("adaptive", [False, True])
def test_four_micro_batches_are_one_batch(adaptive: bool) -> None:
    found = []
    for size in (ROWS, 6):
        model = mlp()
        step = SharpnessAware(step_of(model, size), model, 0.3, adaptive)
        model.double()  # also after the wrapper was made
        in_float64(step.step)
        loss = run(model, step)
        found.append([loss, *gradients(model)])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_state_of_the_loss_moves_once() -> None:
    class Counting(CrossEntropy):
        def __init__(self) -> None:
            super().__init__("multiclass")
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, logits_BC: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return super().forward(logits_BC, targets)

    model = mlp()
    step = step_of(model)
    step.loss = Counting()
    run(model, SharpnessAware(step, model, 0.1))
    assert step.loss.calls == 1


@pytest.mark.parametrize("factor", [0.0, float("nan"), float("inf")])
def test_gradients_without_a_direction_leave_the_weights_as_they_were(factor: float) -> None:
    model = nn.Linear(2, 1)
    before, places = model.weight.detach().clone(), []

    def step() -> torch.Tensor:
        places.append(model.weight.detach().clone())
        (model(torch.ones(1, 2)) * factor).sum().backward()
        return torch.tensor(factor)

    SharpnessAware(step, model, 0.5)()
    assert torch.equal(model.weight, before)
    if factor == 0:
        assert all(torch.equal(place, before) for place in places)
        assert model.weight.grad.tolist() == [[0, 0]]
    else:  # has to reach whoever refuses it
        assert not torch.isfinite(model.weight.grad).any()


def test_what_is_frozen_stays_and_an_interrupt_puts_the_weights_back() -> None:
    model = mlp()
    model.layers[0].weight.requires_grad_(False)
    before = [p.detach().clone() for p in model.parameters()]
    calls, step = [], step_of(model)

    def interrupted(*args: Any) -> torch.Tensor:
        calls.append([p.detach().clone() for p in model.parameters()])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return step(*args)

    with pytest.raises(KeyboardInterrupt):
        run(model, SharpnessAware(interrupted, model, 0.5))
    assert torch.equal(calls[1][0], before[0])
    assert not torch.equal(calls[1][-1], before[-1])
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("adaptive", [False, True])
def test_nothing_waits_for_the_device(adaptive: bool) -> None:
    device, found = torch.device("cuda"), []
    for place in (CPU, device):
        model = mlp(head="cosine", norm="batch").to(place)
        step = SharpnessAware(step_of(model, 6, place), model, 0.3, adaptive)
        run(model, step)
        found.append([g.cpu() for g in gradients(model)])
    for on_cpu, on_device in zip(*found, strict=True):
        torch.testing.assert_close(on_device, on_cpu, rtol=1e-3, atol=1e-4)
    torch.cuda.set_sync_debug_mode("error")
    try:
        step([np.arange(ROWS)], 0, 0)
    finally:
        torch.cuda.set_sync_debug_mode("default")
