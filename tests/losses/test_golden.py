"""Losses against numbers computed by hand in float64, and against torch's own."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from recipes.errors import ConfigError
from recipes.losses import BCE, CrossEntropy, Focal, Loss, WeightedBCE, WeightedCE, class_weights

MARGINS, SIDES = [0.0, 2.0, -1.0, -3.0], [1, 1, 0, 1]
LOGITS = torch.tensor([[2, 0.5, -1], [0.1, 0.2, 0.3], [-1, 3, 0], [0, 0, 0]], dtype=torch.float64)
TARGETS = torch.tensor([0, 2, 1, 2])
COUNTS, NAMES = np.array([1000, 100, 10]), ("a", "b", "c")


def on_margin(loss: Loss) -> torch.Tensor:
    """A binary task has two logits; only their difference may matter, so both are shifted by another amount in each row."""
    z = torch.tensor(MARGINS, dtype=torch.float64)
    shift = torch.arange(4, dtype=torch.float64)
    return loss.double()(torch.stack([shift, z + shift], dim=1), torch.tensor(SIDES))


def expect(found: torch.Tensor, numbers: list[float], tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(found, torch.tensor(numbers, dtype=torch.float64), rtol=0, atol=tolerance)


def binary(cls: type[Loss], **settings: object) -> Loss:
    known = {"sampled_counts": np.array([3, 1]), "class_names": ("no", "yes"), "sampled_rows": 4}
    return cls("binary", **{k: v for k, v in known.items() if k in inspect.signature(cls).parameters}, **settings)


def focal(task: Any, counts: np.ndarray = COUNTS, **settings: Any) -> Focal:
    return Focal(task, counts, NAMES[: len(counts)], int(counts.sum()), **settings)


def test_bce() -> None:
    expect(on_margin(binary(BCE)), [0.6931471806, 0.126928011, 0.3132616875, 3.0485873516])


def test_weighted_bce() -> None:
    expected = [2.0794415417, 0.3807840331, 0.3132616875, 9.1457620547]
    expect(on_margin(binary(WeightedBCE)), expected, 1e-9)  # 3 negatives to 1 positive
    expect(on_margin(binary(WeightedBCE, pos_weight=3)), expected, 1e-9)


def test_focal_binary() -> None:
    expect(on_margin(binary(Focal, alpha=0.25)), [0.0433216988, 0.0004508907, 0.0169935431, 0.6915701103])
    assert on_margin(binary(Focal)).mean().item() == pytest.approx(0.7410072141, abs=1e-10)


def test_half_of_the_hardest() -> None:
    found = on_margin(binary(BCE))
    assert found.topk(2).values.mean().item() == pytest.approx(1.8708672661, abs=1e-10)


def test_cross_entropy_and_its_weights() -> None:
    plain = CrossEntropy("multiclass")(LOGITS, TARGETS)
    expect(plain, [0.2413112967, 1.0019428482, 0.0658839038, 1.0986122887])
    given = class_weights("balanced", COUNTS, NAMES)
    balanced = torch.tensor([0.37, 3.7, 37.0], dtype=torch.float64)
    torch.testing.assert_close(given, balanced)  # mean 1 over the train rows, as scikit-learn's are by construction
    weighted = WeightedCE("multiclass", COUNTS, NAMES)
    found = weighted(LOGITS, TARGETS)
    assert found.mean().item() == pytest.approx(19.5133989222, abs=1e-9)
    assert (found.sum() / given[TARGETS].sum()).item() == pytest.approx(0.9997898769, abs=1e-10)
    torch.testing.assert_close(weighted.difficulty(LOGITS, TARGETS), plain)


def test_focal_softmax() -> None:
    assert focal("multiclass")(LOGITS, TARGETS).mean().item() == pytest.approx(0.2252226058, abs=1e-10)


@pytest.mark.parametrize(
    ("beta", "expected"),
    [
        (0.9, [0.8485683, 0.8485909, 1.3028408]),
        (0.99, [0.2301472, 0.363011, 2.4068418]),
        (0.999, [0.0421604, 0.2800001, 2.6778395]),
        (0.9999, [0.0283624, 0.2712551, 2.7003825]),
    ],
)
def test_effective_number(beta: float, expected: list[float]) -> None:
    found = class_weights("effective_number", COUNTS, NAMES, beta)
    torch.testing.assert_close(found / found.sum() * 3, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-7)


@pytest.mark.filterwarnings("error")
def test_effective_number_between_no_weights_and_balanced_ones() -> None:
    torch.testing.assert_close(class_weights("effective_number", COUNTS, NAMES, 0.0), class_weights("none", COUNTS, NAMES))
    near = class_weights("effective_number", COUNTS, NAMES, 1 - 1e-9)
    torch.testing.assert_close(near, class_weights("balanced", COUNTS, NAMES), rtol=1e-5, atol=0)


@pytest.mark.parametrize("scheme", ["none", "balanced", "sqrt", "effective_number", [3.0, 1.0, 5.0], {"c": 7.0}])
def test_weights_have_mean_one_over_the_train_rows(scheme: object) -> None:
    found = class_weights(scheme, COUNTS, NAMES)  # type: ignore[arg-type]
    assert (found.numpy() * COUNTS).sum() / COUNTS.sum() == pytest.approx(1)


def test_a_class_without_rows_has_a_finite_weight() -> None:
    for scheme in ("balanced", "sqrt", "effective_number"):
        assert class_weights(scheme, np.array([5, 0, 5]), NAMES).tolist() == [1, 1, 1]  # type: ignore[arg-type]
    assert WeightedBCE("multilabel", np.array([0, 4, 2]), 4).pos_weight_C.tolist() == [1, 1, 1]


def test_multilabel_equals_torch() -> None:
    z, y = torch.randn(5, 3, dtype=torch.float64), (torch.rand(5, 3) > 0.5).double()
    loss = WeightedBCE("multilabel", np.array([10, 20, 50]), 100).double()
    expected = F.binary_cross_entropy_with_logits(z, y, pos_weight=torch.tensor([9.0, 4.0, 1.0]).double(), reduction="none").mean(1)
    torch.testing.assert_close(loss(z, y), expected, rtol=0, atol=1e-12)
    assert WeightedBCE("multilabel", np.array([1, 20, 50]), 100, cap=8.0).pos_weight_C.tolist() == [8, 4, 1]


def test_weights_that_float32_cannot_hold_are_exact_in_float64() -> None:
    """101 / 7 and 11 / 97 in single precision would be off by 1e-8."""
    z, y = torch.randn(5, 2, dtype=torch.float64), (torch.rand(5, 2) > 0.5).double()
    weight = torch.tensor([101 / 7, 11 / 97], dtype=torch.float64)
    loss = WeightedBCE("multilabel", np.array([7, 97]), 108)
    expected = F.binary_cross_entropy_with_logits(z, y, pos_weight=weight, reduction="none").mean(1)
    torch.testing.assert_close(loss(z, y), expected, rtol=0, atol=1e-12)
    side = torch.tensor([0, 1, 1, 0, 1])
    single = F.binary_cross_entropy_with_logits(z[:, 1] - z[:, 0], side.double(), pos_weight=weight[0], reduction="none")
    torch.testing.assert_close(WeightedBCE("binary", np.array([101, 7]), 108)(z, side), single, rtol=0, atol=1e-12)


def test_smoothed_targets() -> None:
    """1 - e + e / C for the class and e / C for the others, times the class's weight."""
    target = F.one_hot(TARGETS, 3).double() * 0.8 + 0.2 / 3
    expected = -(target * LOGITS.log_softmax(1)).sum(1)
    torch.testing.assert_close(CrossEntropy("multiclass", label_smoothing=0.2)(LOGITS, TARGETS), expected, rtol=0, atol=1e-12)
    weights = torch.tensor([0.37, 3.7, 37.0], dtype=torch.float64)
    found = WeightedCE("multiclass", COUNTS, NAMES, label_smoothing=0.2)(LOGITS, TARGETS)
    torch.testing.assert_close(found, weights[TARGETS] * expected, rtol=0, atol=1e-12)


def test_focal_without_focus_is_what_it_is_made_of() -> None:
    z, y = torch.randn(6, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2])
    many = (torch.rand(6, 3) > 0.5).double()
    torch.testing.assert_close(focal("multiclass", gamma=0.0)(z, y), F.cross_entropy(z, y, reduction="none"))
    torch.testing.assert_close(focal("multilabel", gamma=0.0)(z, many), BCE("multilabel")(z, many))
    torch.testing.assert_close(focal("binary", COUNTS[:2], gamma=0.0)(z[:, :2], y % 2), F.cross_entropy(z[:, :2], y % 2, reduction="none"))


def test_the_factor_is_part_of_the_gradient_and_unweighted() -> None:
    """Two public implementations fail this: one detaches the factor, one takes p_t from the weighted softmax."""
    z = LOGITS.clone().requires_grad_()
    weights = class_weights("balanced", COUNTS, NAMES)
    p = torch.softmax(z, 1).gather(1, TARGETS[:, None]).squeeze(1)
    (by_hand,) = torch.autograd.grad((weights[TARGETS] * (1 - p) ** 2 * -p.log()).sum(), z)
    loss = focal("multiclass", alpha="balanced")
    (found,) = torch.autograd.grad(loss(z, TARGETS).sum(), z)
    torch.testing.assert_close(found, by_hand)


@pytest.mark.parametrize("alpha", [0.05, 0.25, 0.75])
def test_alpha_weighs_the_positive_side(alpha: float) -> None:
    """A public implementation expands a binary task to two columns, where alpha and 1 - alpha cancel."""
    plain, weighted = on_margin(binary(Focal)), on_margin(binary(Focal, alpha=alpha))
    sides = torch.tensor([alpha, alpha, 1 - alpha, alpha], dtype=torch.float64)
    torch.testing.assert_close(weighted, sides * plain)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("size", [0.0, 1e-3, 17.0, 1e2, 1e4])
def test_extreme_logits_have_finite_losses_and_gradients(gamma: float, size: float) -> None:
    z = torch.tensor([[size, -size], [-size, size]], requires_grad=True)
    for targets in (torch.tensor([0, 0]), torch.tensor([1, 1])):
        for task in ("binary", "multiclass"):
            loss = focal(task, COUNTS[:2], gamma=gamma)(z, targets)
            (gradient,) = torch.autograd.grad(loss.sum(), z)
            assert torch.isfinite(loss).all()
            assert torch.isfinite(gradient).all()


def test_mistakes_are_named() -> None:
    with pytest.raises(ConfigError, match=r"'d' is not a class; allowed: a, b, c"):
        class_weights({"d": 1.0}, COUNTS, NAMES)
    with pytest.raises(ConfigError, match="2 weights for 3 classes"):
        class_weights([1.0, 2.0], COUNTS, NAMES)
    with pytest.raises(ConfigError, match="-1 is negative"):
        class_weights([1.0, -1.0, 2.0], COUNTS, NAMES)
    with pytest.raises(ConfigError, match=r"loss\.alpha: every class of the train split would weigh 0"):
        focal("multiclass", np.array([5, 0, 5]), alpha=[0.0, 1.0, 0.0])
    with pytest.raises(ConfigError, match="only scale the learning rate"):
        focal("multiclass", alpha=0.25)
    with pytest.raises(ConfigError, match="one number in"):
        focal("multilabel", alpha=[0.1, 0.2, 0.7])
    for softmax in (CrossEntropy, WeightedCE):
        with pytest.raises(ConfigError, match=r"loss=bce \(loss=ova\), loss=weighted_bce or loss=focal"):
            softmax("multilabel", *([COUNTS, NAMES] if softmax is WeightedCE else []))  # type: ignore[arg-type]


def test_a_warning_where_alpha_does_the_opposite_of_what_is_meant(caplog: pytest.LogCaptureFixture) -> None:
    focal("binary", COUNTS[:2], alpha=0.25, gamma=0.0)
    assert "weighs the positive class down" in caplog.text


def test_b_beside_b_times_one_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        BCE("multilabel")(torch.zeros(4, 1), torch.zeros(4))


def test_a_scheme_weighs_the_two_sides_of_each_label() -> None:
    """Mean 1 over the rows: with 3 negatives to 1 positive, balanced sides weigh 4 / (2 * 3) and 4 / (2 * 1)."""
    sides = torch.tensor([2.0, 2.0, 2 / 3, 2.0], dtype=torch.float64)
    torch.testing.assert_close(on_margin(binary(Focal, alpha="balanced")), sides * on_margin(binary(Focal)))
    z, y = torch.randn(6, 2, dtype=torch.float64), torch.tensor([[0, 1], [1, 1], [0, 0], [0, 1], [1, 0], [0, 1]]).double()
    plain, loss = Focal("multilabel", np.array([2, 4]), NAMES[:2], 6), Focal("multilabel", np.array([2, 4]), NAMES[:2], 6, alpha="balanced")
    weights = torch.where(y > 0.5, torch.tensor([6 / 4, 6 / 8]).double(), torch.tensor([6 / 8, 6 / 4]).double())
    each = torch.stack([Focal("multilabel", np.array([1]), NAMES[:1], 6)(z[:, [c]], y[:, [c]]) for c in (0, 1)], dim=1)
    torch.testing.assert_close(plain(z, y), each.mean(1))
    torch.testing.assert_close(loss(z, y), (weights * each).mean(1))


def test_numbers_that_a_user_gave_are_told_from_schemes() -> None:
    assert not WeightedCE("multiclass", COUNTS, NAMES).explicit_weights
    assert WeightedCE("multiclass", COUNTS, NAMES, weights={"c": 2.0}).explicit_weights
    assert WeightedBCE("binary", np.array([3, 1]), 4, pos_weight=3).explicit_weights
    assert not WeightedBCE("binary", np.array([3, 1]), 4).explicit_weights
    assert focal("multiclass", alpha=[1.0, 2.0, 3.0]).explicit_weights
    assert not focal("multiclass", alpha="balanced").explicit_weights


@pytest.mark.parametrize("cls", [BCE, WeightedBCE])
def test_one_class_against_the_rest_is_said(cls: type[Loss], caplog: pytest.LogCaptureFixture) -> None:
    cls("multiclass", *([COUNTS, 1110] if cls is WeightedBCE else []))
    assert "each class against the rest" in caplog.text
    caplog.clear()
    binary(cls)
    assert not caplog.text
