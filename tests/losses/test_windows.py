"""Losses of a whole window: pairs, means of the two sides, and the density of gradient norms."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score

from recipes.losses import GHM, AUCMargin, Loss, PairwiseAUC

GENERATOR = torch.Generator().manual_seed(3)
Z = torch.randn(12, 3, generator=GENERATOR, dtype=torch.float64)
LABELS = (torch.rand(12, 3, generator=GENERATOR) < 0.3).double()
LABELS[:2] = torch.tensor([[1.0, 0, 1], [0, 1, 0]])


def one_label(loss: Loss, z: torch.Tensor, side: torch.Tensor) -> torch.Tensor:
    return loss(z[:, None], side[:, None].double())


def pairs(z: torch.Tensor, side: torch.Tensor, margin: float) -> float:
    costs = [max(0.0, margin - (a - b).item()) ** 2 for a, b in itertools.product(z[side > 0], z[side == 0])]
    return sum(costs) / len(costs)


def test_pairwise_auc_is_the_mean_over_pairs_and_labels() -> None:
    for margin in (0.5, 1.0, 2.0):
        loss = PairwiseAUC("multilabel", margin=margin)
        by_label = [pairs(Z[:, c], LABELS[:, c], margin) for c in range(3)]
        assert loss(Z, LABELS).mean().item() == pytest.approx(np.mean(by_label))
    targets = torch.arange(12) % 3
    by_class = [pairs(Z[:, c], (targets == c).double(), 1.0) for c in range(3)]
    assert PairwiseAUC("multiclass")(Z, targets).mean().item() == pytest.approx(np.mean(by_class))
    logits = torch.stack([Z[:, 1], Z[:, 1] + Z[:, 0]], dim=1)
    assert PairwiseAUC("binary")(logits, LABELS[:, 0].long()).mean().item() == pytest.approx(pairs(Z[:, 0], LABELS[:, 0], 1.0))


def test_a_row_carries_half_of_each_of_its_pairs() -> None:
    z, side = torch.tensor([0.2, -0.3, 0.1, 5.0]).double(), torch.tensor([1, 0, 0, 1])
    cost = {(i, j): max(0.0, 1 - (z[i] - z[j]).item()) ** 2 for i in (0, 3) for j in (1, 2)}
    expected = [sum(v for pair, v in cost.items() if row in pair) / 2 for row in range(4)]  # 4 rows, 4 pairs
    torch.testing.assert_close(one_label(PairwiseAUC("multilabel"), z, side), torch.tensor(expected).double())


def test_pairwise_auc_bounds_what_the_ranking_lacks() -> None:
    for seed in range(5):
        z = torch.randn(40, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        side = (torch.arange(40) % 5 == 0).double()
        found = one_label(PairwiseAUC("multilabel"), z, side).mean().item()
        assert found >= 1 - roc_auc_score(side, z)
        apart = z + 100 * side
        assert one_label(PairwiseAUC("multilabel"), apart, side).mean().item() == 0


def test_pairwise_auc_of_a_whole_split_needs_no_matrix_of_pairs() -> None:
    """80,000 rows have 1.5 billion pairs; rows that come 200 times each leave the mean as it is."""
    z = torch.randn(400, generator=torch.Generator().manual_seed(1)) * 5 + 300
    side = (torch.arange(400) % 4 == 0).float()
    found = one_label(PairwiseAUC("multilabel"), z.repeat(200), side.repeat(200))
    expected = torch.square((1 - z[side > 0][:, None].double() + z[side == 0].double()).clamp(min=0)).mean()
    assert found.mean().item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("cls", [PairwiseAUC, AUCMargin])
@pytest.mark.parametrize("rows", [1, 6])
def test_a_window_of_one_class_gives_nothing_and_can_be_gone_back_through(cls: Any, rows: int) -> None:
    for task, targets in (("binary", torch.ones(rows, dtype=torch.long)), ("multilabel", torch.zeros(rows, 2))):
        z = torch.randn(rows, 2, requires_grad=True)
        found = cls(task)(z, targets)
        (gradient,) = torch.autograd.grad(found.sum(), z)
        assert not found.any()
        assert not gradient.any()


@pytest.mark.parametrize("cls", [PairwiseAUC, AUCMargin])
def test_labels_without_both_sides_do_not_thin_the_others_out(cls: Any) -> None:
    with_empty = torch.cat([LABELS, torch.zeros(12, 1).double()], dim=1)
    torch.testing.assert_close(cls("multilabel")(torch.cat([Z, Z[:, :1]], dim=1), with_empty), cls("multilabel")(Z, LABELS))


@pytest.mark.parametrize("margin", [0.2, 1.0])
def test_auc_margin_is_the_min_max_form_with_its_variables_solved(margin: float) -> None:
    z, side = Z[:, 0].clone().requires_grad_(), LABELS[:, 0] > 0
    h = torch.sigmoid(z)
    a, b = (h[s].mean().detach().requires_grad_() for s in (side, ~side))
    alpha = (margin + b - a).clamp(min=0).detach().requires_grad_()
    gap = margin + h[~side].mean() - h[side].mean()
    objective = ((h[side] - a) ** 2).mean() + ((h[~side] - b) ** 2).mean() + 2 * alpha * gap - alpha**2
    at_z, at_a, at_b, at_alpha = torch.autograd.grad(objective, [z, a, b, alpha])
    assert max(abs(v.item()) for v in (at_a, at_b, at_alpha)) < 1e-12  # the saddle
    found = one_label(AUCMargin("multilabel", margin=margin), z, side).mean()
    torch.testing.assert_close(found, objective)
    (gradient,) = torch.autograd.grad(found, z)
    torch.testing.assert_close(gradient, at_z)


def test_each_side_has_the_mean_of_its_own_rows() -> None:
    """A public implementation takes mean(y * neg - mean(y * pos)) for the difference of the two means."""
    p = torch.tensor([0.9, 0.7, 0.6, 0.2, 0.4], dtype=torch.float64)
    side = torch.tensor([1, 1, 0, 0, 0])
    variances = ((p[:2] - 0.8) ** 2).mean() + ((p[2:] - 0.4) ** 2).mean()
    found = one_label(AUCMargin("multilabel"), torch.logit(p), side)
    assert found.mean().item() == pytest.approx(variances.item() + (1 + 0.4 - 0.8) ** 2)


def harmonized(z: torch.Tensor, y: torch.Tensor, bins: int) -> torch.Tensor:
    """GHM-C of one window, bin by bin."""
    norm = (torch.sigmoid(z) - y).abs()
    inside = [(norm >= k / bins) & ((norm < (k + 1) / bins) | (k == bins - 1)) for k in range(bins)]
    filled = [i for i in inside if i.any()]
    weights = sum(i * (norm.numel() / i.sum() / len(filled)) for i in filled)
    return weights * F.binary_cross_entropy_with_logits(z, y, reduction="none")


@pytest.mark.parametrize("bins", [1, 3, 10, 30])
def test_ghm(bins: int) -> None:
    found = GHM("multilabel", bins=bins, momentum=0.0)(Z, LABELS)
    torch.testing.assert_close(found, harmonized(Z, LABELS, bins).mean(1))
    torch.testing.assert_close(GHM("multilabel", bins=bins)(Z, LABELS), found)  # the average begins with the first window


def test_ghm_averages_over_windows_in_training_only() -> None:
    first, second = Z[:6] * 0.1, Z[6:] * 3
    loss = GHM("multilabel", bins=2, momentum=0.75)
    loss(first, LABELS[:6])
    loss.eval()
    before = loss.share_K.clone()
    waiting = loss(second, LABELS[6:])
    loss.difficulty(second, LABELS[6:])
    torch.testing.assert_close(loss.share_K, before)
    loss.train()
    torch.testing.assert_close(loss(second, LABELS[6:]), waiting)
    shares = []
    for z, y in ((first, LABELS[:6]), (second, LABELS[6:])):
        hard = ((torch.sigmoid(z) - y).abs() >= 0.5).double().mean().item()
        shares.append(np.array([1 - hard, hard]))
    np.testing.assert_allclose(loss.share_K, 0.75 * shares[0] + 0.25 * shares[1])


def test_ghm_of_logits_that_are_not_numbers_is_not_a_number() -> None:
    """And not an index error, which on a GPU would end the process: the loop says which step it was."""
    found = GHM("binary")(torch.tensor([[0.0, torch.nan], [0.0, 1.0]]), torch.tensor([0, 1]))
    assert found.isnan().tolist() == [True, False]


def test_ghm_goes_on_from_its_state() -> None:
    loss, again = GHM("multilabel"), GHM("multilabel")
    loss(Z[:6] * 0.1, LABELS[:6])
    again.load_state_dict(loss.state_dict())
    torch.testing.assert_close(again(Z[6:] * 3, LABELS[6:]), loss(Z[6:] * 3, LABELS[6:]))
    assert not torch.allclose(GHM("multilabel")(Z[6:] * 3, LABELS[6:]), loss(Z[6:] * 3, LABELS[6:]))
