"""Losses on yes-or-no questions: asymmetric, distribution-balanced, hinge and dice, against numbers and formulas written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import hinge_loss

from recipes.losses import ASL, BCE, NTR, Dice, DistributionBalanced, Hinge, SquaredHinge

Z = torch.tensor([[0, 2, -1], [-3, 1, 0.5]], dtype=torch.float64)
Y = torch.tensor([[1, 0, 0], [0, 1, 0]], dtype=torch.float64)
COUNTS, ROWS = np.array([50, 10, 2]), 100


def elements(loss: Any, z: torch.Tensor = Z, y: torch.Tensor = Y) -> torch.Tensor:
    """(B, C): the loss of each label by itself."""
    return loss(z.reshape(-1, 1), y.reshape(-1, 1)).reshape(z.shape)


def test_asl() -> None:
    expected = torch.tensor([[0.3465735903, 0.8464149507, 0.0005677975], [0, 0.0842490435, 0.0912530041]], dtype=torch.float64)
    loss = ASL("multilabel")
    torch.testing.assert_close(elements(loss), expected, rtol=0, atol=1e-9)
    assert 3 * loss(Z, Y).sum().item() == pytest.approx(1.369058386, abs=1e-8)


def test_asl_without_asymmetry_is_bce() -> None:
    loss = ASL("multilabel", gamma_neg=0.0, gamma_pos=0.0, clip=0.0)
    torch.testing.assert_close(loss(Z, Y), BCE("multilabel")(Z, Y))
    assert loss.declares().approximate is None
    assert "loss=asl" in str(ASL("multilabel").declares().approximate)


def test_the_factor_is_part_of_the_gradient_unless_detached() -> None:
    z = Z.clone().requires_grad_()
    p = torch.sigmoid(z)
    p_m = (p - 0.05).clamp(min=0)
    whole = Y * (1 - p) * -p.log() + (1 - Y) * p_m**4 * -(1 - p_m).log()
    held = Y * (1 - p).detach() * -p.log() + (1 - Y) * (p_m**4).detach() * -(1 - p_m).log()
    for loss, by_hand in ((ASL("multilabel"), whole), (ASL("multilabel", detach_factor=True), held)):
        (expected,) = torch.autograd.grad(by_hand.mean(1).sum(), z, retain_graph=True)
        (found,) = torch.autograd.grad(loss(z, Y).sum(), z)
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 4.0])
@pytest.mark.parametrize("clip", [0.0, 0.05])
def test_asl_is_finite_wherever_a_float_is(gamma: float, clip: float) -> None:
    z = torch.tensor([[-1e4], [-90.0], [-2.9444389], [0.0], [30.0], [1e4]], requires_grad=True)
    for y in (torch.zeros(6, 1), torch.ones(6, 1)):
        loss = ASL("multilabel", gamma_neg=gamma, gamma_pos=gamma, clip=clip)(z, y)
        (gradient,) = torch.autograd.grad(loss.sum(), z)
        assert torch.isfinite(loss).all()
        assert torch.isfinite(gradient).all()


def by_hand(z: np.ndarray, y: np.ndarray, weights: np.ndarray | float, *, focus: float = 2.0) -> np.ndarray:
    """(B, C) of the formula: kappa .05, lambda 2, alpha .5."""
    u = z - 0.05 * np.log(ROWS / COUNTS - 1)
    p, q = 1 / (1 + np.exp(-u)), 1 / (1 + np.exp(-2 * u))
    return weights * np.where(y > 0, 0.5 * (1 - p) ** focus * -np.log(p), 0.5 * q**focus * -np.log(1 - q) / 2)


def test_ntr() -> None:
    found = NTR("multilabel", COUNTS, ROWS)(Z, Y)
    np.testing.assert_allclose(found, by_hand(Z.numpy(), Y.numpy(), 1.0).mean(1), rtol=1e-12)
    found = NTR("multilabel", COUNTS, ROWS, gamma=0.0)(Z, Y)
    np.testing.assert_allclose(found, by_hand(Z.numpy(), Y.numpy(), 1.0, focus=0.0).mean(1), rtol=1e-12)


def test_class_balanced_ntr_is_ten_times_the_effective_number_at_its_beta() -> None:
    weights = 10 * (1 - 0.9) / (1 - 0.9**COUNTS)
    found = NTR("multilabel", COUNTS, ROWS, weights="effective_number")(Z, Y)
    np.testing.assert_allclose(found, by_hand(Z.numpy(), Y.numpy(), weights).mean(1), rtol=1e-12)


def test_distribution_balanced() -> None:
    y = np.array([[1, 0, 1], [0, 1, 0]])
    ratio = (1 / COUNTS) / (y / COUNTS).sum(1, keepdims=True)
    weights = 0.1 + 1 / (1 + np.exp(-10 * (ratio - 0.9)))
    found = DistributionBalanced("multilabel", COUNTS, ROWS)(Z, torch.tensor(y).double())
    np.testing.assert_allclose(found, by_hand(Z.numpy(), y, weights).mean(1), rtol=1e-12)


def test_a_row_without_labels_has_the_limit_of_the_weights() -> None:
    for dtype in (torch.float32, torch.float64):
        z, y = Z.to(dtype), torch.zeros(2, 3)
        found = DistributionBalanced("multilabel", COUNTS, ROWS)(z, y).double()
        np.testing.assert_allclose(found, by_hand(Z.numpy(), y.numpy(), 1.1).mean(1), rtol=1e-6)


@pytest.mark.parametrize("counts", [[0, 100, 50], [0, 0, 0], [100, 100, 100]])
def test_labels_of_no_row_or_of_every_row_are_finite(counts: list[int]) -> None:
    for cls in (NTR, DistributionBalanced):
        assert torch.isfinite(cls("multilabel", np.array(counts), ROWS)(Z, Y)).all()


def test_biases_and_weights_wait_until_the_loss_is_active() -> None:
    for loss in (NTR("multilabel", COUNTS, ROWS, weights="effective_number"), DistributionBalanced("multilabel", COUNTS, ROWS)):
        assert loss.rebalances
        loss.active = False
        torch.testing.assert_close(loss(Z, Y), NTR("multilabel", COUNTS, ROWS, kappa=0.0)(Z, Y))
    assert not NTR("multilabel", COUNTS, ROWS, kappa=0.0).rebalances


def test_hinge_is_that_of_scikit_learn() -> None:
    z = torch.tensor([-2.0, 0.3, 0.9, 4.0], dtype=torch.float64)
    logits, sides = torch.stack([torch.ones(4).double(), 1 + z], dim=1), torch.tensor([0, 1, 0, 1])
    assert Hinge("binary")(logits, sides).mean().item() == pytest.approx(hinge_loss(sides, z.numpy()))
    torch.testing.assert_close(SquaredHinge("binary")(logits, sides), Hinge("binary")(logits, sides) ** 2)


def test_hinge_takes_each_class_against_the_rest() -> None:
    z, targets = torch.tensor([[2.0, -0.5, -3.0], [0.0, 0.0, 0.0]]), torch.tensor([0, 2])
    torch.testing.assert_close(Hinge("multiclass")(z, targets), torch.tensor([0.5 / 3, 1.0]))
    torch.testing.assert_close(SquaredHinge("multiclass")(z, targets), torch.tensor([0.25 / 3, 1.0]))


def test_dice() -> None:
    p = torch.sigmoid(Z)
    said = (1 - p) ** 0.5 * p
    loss = Dice("multilabel", alpha=0.5, smooth=2.0)
    torch.testing.assert_close(loss(Z, Y), (1 - (2 * said * Y + 2) / (said + Y + 2)).mean(1))
    s, targets = torch.softmax(Z, 1), torch.tensor([0, 1])
    torch.testing.assert_close(Dice("multiclass", alpha=0.0)(Z, targets), (1 - (2 * s * Y + 1) / (s + Y + 1)).mean(1))


@pytest.mark.parametrize("alpha", [0.01, 0.25, 1.0])
def test_dice_turns_round_where_its_docstring_says(alpha: float) -> None:
    turn = np.log(1 / alpha)  # the logit of 1 / (1 + alpha)
    z = torch.tensor([turn - 0.5, turn, turn + 0.5], dtype=torch.float64)[:, None].requires_grad_()
    (slope,) = torch.autograd.grad(Dice("multilabel", alpha=alpha)(z, torch.ones(3, 1)).sum(), z)
    assert slope[0] < 0 < slope[2]
    assert abs(slope[1].item()) < 1e-12


def test_one_class_against_the_rest_is_said(caplog: pytest.LogCaptureFixture) -> None:
    ASL("multiclass")
    assert "loss=asl takes each class against the rest" in caplog.text
