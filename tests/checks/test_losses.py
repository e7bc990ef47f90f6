"""What every loss must do; an option of configs/loss is covered by being there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from recipes.config import build, resolve
from recipes.config import settings_of as settings_of_class
from recipes.data.facts import Facts, Task
from recipes.errors import ConfigError
from recipes.losses import Loss

OPTIONS = sorted((Path(__file__).resolve().parents[2] / "configs" / "loss").glob("*.yaml"))
TASKS: tuple[Task, ...] = ("binary", "multiclass", "multilabel")


def facts(task: Task) -> Facts:
    names = ("no", "yes") if task == "binary" else ("a", "b", "c", "d")
    return Facts(task, "tabular", names, np.array([90, 10] if task == "binary" else [60, 30, 9, 1]), 100)


def sample(task: Task, rows: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(rows)
    classes = len(facts(task).class_names)
    logits = torch.randn(rows, classes, generator=generator, dtype=torch.float64).to(dtype)
    if task == "multilabel":
        return logits, (torch.rand(rows, classes, generator=generator) < 0.4).float()
    return logits, torch.randint(0, classes, (rows,), generator=generator)


def settings_of(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


PAIRS = [(p, t) for p in OPTIONS for t in TASKS]
LEGAL = [(p, t) for p, t in PAIRS if t in resolve(Loss, settings_of(p), "loss").tasks]
# Beside each option's defaults: settings that take another way through it.
VARIANTS: dict[tuple[str, Task], list[dict[str, Any]]] = {
    ("focal", "binary"): [{"alpha": 0.25}, {"gamma": 0.5}],
    ("focal", "multiclass"): [{"alpha": "balanced"}, {"gamma": 0.5}],
    ("focal", "multilabel"): [{"alpha": 0.75}, {"gamma": 0.5}],
    ("weighted_ce", "multiclass"): [{"weights": "effective_number", "label_smoothing": 0.1}],
}
BUILT = [(path, task, changed) for path, task in LEGAL for changed in [{}, *VARIANTS.get((path.stem, task), [])]]


@pytest.fixture(params=BUILT, ids=lambda x: "-".join([x[0].stem, x[1], *(f"{k}={v}" for k, v in x[2].items())]))
def loss_and_task(request: pytest.FixtureRequest) -> tuple[Loss, Task]:
    path, task, changed = request.param
    return build(Loss, settings_of(path) | changed, "loss", facts=facts(task).as_dict()), task


@pytest.mark.parametrize(("path", "task"), [pair for pair in PAIRS if pair not in LEGAL], ids=lambda x: getattr(x, "stem", x))
def test_a_task_that_a_loss_is_not_for_is_refused_with_the_way_out(path: Path, task: Task) -> None:
    with pytest.raises(ConfigError, match="use loss="):
        build(Loss, settings_of(path), "loss", facts=facts(task).as_dict())


def test_one_finite_float32_number_a_sample(loss_and_task: tuple[Loss, Task]) -> None:
    loss, task = loss_and_task
    for rows in (1, 7):
        for dtype in (torch.float32, torch.bfloat16, torch.float16):
            found = loss(*sample(task, rows, dtype))
            assert found.shape == (rows,)
            assert found.dtype == torch.float32
            assert torch.isfinite(found).all()
            assert (found >= 0).all()


def test_gradients_are_right(loss_and_task: tuple[Loss, Task]) -> None:
    loss, task = loss_and_task
    logits, targets = sample(task, 5)
    assert torch.autograd.gradcheck(lambda z: loss.double()(z, targets), logits.requires_grad_())


def test_a_sample_does_not_see_the_others(loss_and_task: tuple[Loss, Task]) -> None:
    loss, task = loss_and_task
    logits, targets = sample(task, 9)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    together = loss(logits, targets)
    torch.testing.assert_close(loss(logits[order], targets[order]), together[order])
    torch.testing.assert_close(torch.cat([loss(logits[i : i + 1], targets[i : i + 1]) for i in range(9)]), together)


def test_difficulty_has_no_class_weights(loss_and_task: tuple[Loss, Task]) -> None:
    loss, task = loss_and_task
    logits, targets = sample(task, 9)
    found = loss.difficulty(logits, targets)
    assert found.shape == (9,)
    if task != "multilabel":
        # equally wrong on every class: equally difficult, whatever the class weighs
        classes = logits.shape[1]
        flat = loss.difficulty(torch.zeros(classes, classes, dtype=torch.float64), torch.arange(classes))
        torch.testing.assert_close(flat, flat[:1].expand(classes))


def test_extreme_logits(loss_and_task: tuple[Loss, Task]) -> None:
    loss, task = loss_and_task
    logits, targets = sample(task, 6, torch.float32)
    logits = (logits.sign() * 1e4).requires_grad_()
    found = loss(logits, targets)
    (gradient,) = torch.autograd.grad(found.sum(), logits)
    assert torch.isfinite(found).all()
    assert torch.isfinite(gradient).all()


def test_moving_against_the_gradient_helps(loss_and_task: tuple[Loss, Task]) -> None:
    loss, task = loss_and_task
    logits, targets = sample(task, 8)
    logits.requires_grad_()
    before = loss(logits, targets).sum()
    (gradient,) = torch.autograd.grad(before, logits)
    assert loss(logits - 0.01 * gradient, targets).sum() < before


# Other values of each setting, and the task on which they are seen.
CHANGES: dict[tuple[str, str], list[tuple[Task, dict[str, Any]]]] = {
    ("cross_entropy", "label_smoothing"): [("multiclass", {"label_smoothing": 0.1})],
    ("weighted_ce", "label_smoothing"): [("multiclass", {"label_smoothing": 0.1})],
    ("weighted_ce", "weights"): [
        ("multiclass", {"weights": w}) for w in ("none", "sqrt", "effective_number", [1.0, 2.0, 3.0, 4.0], {"d": 2.0}, {"b": 2, "d": 2})
    ],
    ("weighted_ce", "beta"): [("multiclass", {"weights": "effective_number", "beta": b}) for b in (0.0, 0.9, 0.9999)],
    ("weighted_bce", "pos_weight"): [("multilabel", {"pos_weight": w}) for w in (2.0, [1.0, 2.0, 3.0, 4.0])]
    + [("binary", {"pos_weight": w}) for w in (2.0, [3.0])],
    ("weighted_bce", "cap"): [(task, {"cap": 2.0}) for task in TASKS],
    ("focal", "gamma"): [(task, {"gamma": g}) for task in TASKS for g in (0.0, 0.5, 1.0)],
    ("focal", "alpha"): [
        *((task, {"alpha": a}) for task in ("binary", "multilabel") for a in (0.25, 0.75)),
        *(("multiclass", {"alpha": a}) for a in ("balanced", "sqrt", "effective_number", [1.0, 2.0, 3.0, 4.0], {"d": 2.0})),
    ],
    ("focal", "beta"): [("multiclass", {"alpha": "effective_number", "beta": b}) for b in (0.5, 0.9, 0.9999)],
}
SETTINGS = [(p.stem, name) for p in OPTIONS for name in settings_of_class(resolve(Loss, settings_of(p), "loss"))]


@pytest.mark.parametrize(("option", "name"), SETTINGS, ids=lambda x: x)
def test_every_setting_is_observed_and_each_value_is_another_loss(option: str, name: str) -> None:
    path = next(p for p in OPTIONS if p.stem == option)
    seen: dict[Task, list[torch.Tensor]] = {}
    for task, changed in CHANGES[option, name]:
        if task not in seen:
            seen[task] = [build(Loss, settings_of(path), "loss", facts=facts(task).as_dict())(*sample(task, 9))]
        found = build(Loss, settings_of(path) | changed, "loss", facts=facts(task).as_dict())(*sample(task, 9))
        assert not any(torch.allclose(found, other) for other in seen[task]), changed
        seen[task].append(found)


def test_shapes_that_would_broadcast_are_refused(loss_and_task: tuple[Loss, Task]) -> None:
    loss, task = loss_and_task
    logits, targets = sample(task, 4)
    wrong = [targets[:3], targets[:, None], targets[:1]] if task != "multilabel" else [targets[:3], targets[:, :1], targets[:, 0]]
    for other in wrong:
        with pytest.raises(ValueError, match="do not fit"):
            loss(logits, other)
        with pytest.raises(ValueError, match="do not fit"):
            loss.difficulty(logits, other)


def test_float64_stays(loss_and_task: tuple[Loss, Task]) -> None:
    loss, task = loss_and_task
    logits, targets = sample(task, 4)
    for function in (loss, loss.difficulty):
        assert function(logits, targets).dtype == torch.float64
        torch.testing.assert_close(function(logits.float(), targets).double(), function(logits, targets), rtol=1e-5, atol=1e-6)
