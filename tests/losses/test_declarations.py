"""What losses declare, held against optima found by minimising: the ledger gives back the posterior of the data.

A discrete world: X inputs, C classes, p(x | y) and a prior pi known. Training presents a prior q. Expected loss is minimised over one free
logit vector for each x.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch

from recipes.data.facts import Task
from recipes.losses import (
    ASL,
    BCE,
    CDT,
    GCE,
    LDAM,
    VS,
    AUCMargin,
    BalancedSoftmax,
    CrossEntropy,
    Focal,
    Hinge,
    LogitAdjusted,
    Loss,
    PairwiseAUC,
    Poly1,
    SquaredHinge,
    WeightedBCE,
    WeightedCE,
)
from recipes.priors import Ledger

ROWS, INPUTS = 10_000, 5


def world(classes: int) -> tuple[np.ndarray, np.ndarray]:
    """p(x | y), (X, C), and the natural prior pi, (C,)."""
    rng = np.random.default_rng(classes)
    given = rng.dirichlet(np.full(INPUTS, 2.0), size=classes).T
    prior = np.array([0.9, 0.1] if classes == 2 else [0.6, 0.3, 0.09, 0.01])
    return given, prior


def fitted(loss: Loss, joint_XY: np.ndarray, logits: int, task: Task) -> np.ndarray:
    """(X, C) logits of least expected loss under p(x, y); y of a multi-label task is the one label's two values."""
    inputs, values = joint_XY.shape
    weights = torch.from_numpy(joint_XY).reshape(-1)
    targets = torch.arange(values).repeat(inputs)
    shown = targets[:, None].double() if task == "multilabel" else targets
    free = torch.zeros(inputs, logits, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([free], max_iter=2000, tolerance_grad=1e-13, tolerance_change=1e-18, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        expected = (weights * loss(free.repeat_interleave(values, dim=0), shown)).sum()
        expected.backward()
        return expected

    optimizer.step(closure)
    return free.detach().numpy()


def log_softmax(z: np.ndarray) -> np.ndarray:
    return z - np.logaddexp.reduce(z, axis=1, keepdims=True)


def made(cls: Any, task: Task, prior: np.ndarray, dealt: np.ndarray, settings: dict[str, Any]) -> Loss:
    names = tuple("abcd"[: len(prior)])
    facts = {
        "class_counts": prior * ROWS, "train_rows": ROWS, "sampled_counts": dealt * ROWS, "sampled_rows": ROWS, "class_names": names
    }  # fmt: skip
    named = {k: v for k, v in facts.items() if k in inspect.signature(cls).parameters}
    return cls(task, **named, **settings)


SINGLE: list[tuple[Any, dict[str, Any]]] = [
    (CrossEntropy, {}),
    (WeightedCE, {}),
    (WeightedCE, {"weights": "effective_number"}),
    (WeightedCE, {"weights": {"b": 7.0}}),
    (BCE, {}),
    (WeightedBCE, {}),
    (WeightedBCE, {"pos_weight": 4.0}),
    (Focal, {}),
    (Focal, {"alpha": "balanced", "gamma": 1.0}),
    (BalancedSoftmax, {}),
    (BalancedSoftmax, {"weights": "sqrt"}),
    (LogitAdjusted, {"tau": 1.5}),
    (LogitAdjusted, {"tau": 0.5, "weights": [1.0, 3.0]}),
    (VS, {"weights": "sqrt"}),
    (CDT, {"gamma": 0.2}),
    (Poly1, {"epsilon": 0.0, "gamma": 2.0, "weights": "balanced"}),
    (GCE, {"q": 0.3}),
    (GCE, {"q": 0.5, "weights": "sqrt"}),
]


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("balanced", [False, True], ids=["natural", "sampled"])
@pytest.mark.parametrize("active", [True, False], ids=["active", "waiting"])
@pytest.mark.parametrize(("cls", "settings"), SINGLE, ids=lambda x: getattr(x, "__name__", str(x)))
def test_one_class_a_row(cls: Any, settings: dict[str, Any], active: bool, balanced: bool, classes: int) -> None:
    settings = {k: [*v, *[2.0] * (classes - 2)] if isinstance(v, list) else v for k, v in settings.items()}
    task: Task = "binary" if classes == 2 else "multiclass"
    given, prior = world(classes)
    dealt = np.array([0.4, 0.6] if classes == 2 else [0.1, 0.2, 0.4, 0.3]) if balanced else prior
    loss = made(cls, task, prior, dealt, settings)
    loss.active = active
    found = Ledger(task, prior, dealt, loss.declares()).natural(fitted(loss, given * dealt, classes, task))
    np.testing.assert_allclose(log_softmax(found), log_softmax(np.log(given * prior)), atol=2e-6)


@pytest.mark.parametrize("dealt", [0.1, 0.45], ids=["natural", "sampled"])
@pytest.mark.parametrize("active", [True, False], ids=["active", "waiting"])
@pytest.mark.parametrize(
    ("cls", "settings"),
    [
        (BCE, {}),
        (WeightedBCE, {}),
        (Focal, {}),
        (Focal, {"alpha": 0.25}),
        (Focal, {"alpha": "balanced", "gamma": 0.5}),
        (ASL, {"gamma_neg": 0.0, "gamma_pos": 0.0, "clip": 0.0}),
    ],
    ids=lambda x: getattr(x, "__name__", str(x)),
)
def test_labels(cls: Any, settings: dict[str, Any], active: bool, dealt: float) -> None:
    given, _ = world(2)
    loss = made(cls, "multilabel", np.array([0.1]), np.array([dealt]), settings)
    loss.active = active
    fit = fitted(loss, given * [1 - dealt, dealt], 1, "multilabel")
    found = Ledger("multilabel", np.array([0.1]), np.array([dealt]), loss.declares()).natural(fit)
    expected = np.log(given[:, 1] * 0.1) - np.log(given[:, 0] * 0.9)
    np.testing.assert_allclose(found[:, 0], expected, atol=2e-6)


def test_binary_sides_of_focal_loss() -> None:
    given, prior = world(2)
    loss = made(Focal, "binary", prior, prior, {"alpha": 0.75})
    found = Ledger("binary", prior, prior, loss.declares()).natural(fitted(loss, given * prior, 2, "binary"))
    np.testing.assert_allclose(log_softmax(found), log_softmax(np.log(given * prior)), atol=2e-6)


@pytest.mark.parametrize(
    ("cls", "settings"), [(ASL, {}), (Hinge, {}), (Poly1, {}), (LDAM, {}), (VS, {}), (CDT, {}), (PairwiseAUC, {}), (AUCMargin, {})]
)
def test_an_optimum_without_closed_form_says_why(cls: Any, settings: dict[str, Any]) -> None:
    _, prior = world(2)
    reason = made(cls, "binary", prior, prior, settings).declares().approximate
    assert reason is not None
    assert reason.startswith("loss=")


def test_smoothed_targets_have_no_closed_form() -> None:
    _, prior = world(2)
    for cls in (CrossEntropy, WeightedCE):
        assert "label_smoothing" in str(made(cls, "binary", prior, prior, {"label_smoothing": 0.1}).declares().approximate)
        assert made(cls, "binary", prior, prior, {}).declares().approximate is None


def test_which_logits_are_scores() -> None:
    assert [c for c in (Hinge, SquaredHinge, PairwiseAUC, AUCMargin, ASL, CrossEntropy) if c.scores] == [
        Hinge, SquaredHinge, PairwiseAUC, AUCMargin
    ]  # fmt: skip
