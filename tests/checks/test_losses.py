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


def facts(task: Task) -> dict[str, Any]:
    """What the builder gives: the data's facts, and what an epoch deals, here the rows as they are."""
    names = ("no", "yes") if task == "binary" else ("a", "b", "c", "d")
    data = Facts(task, "tabular", names, np.array([90, 10] if task == "binary" else [60, 30, 9, 1]), 100)
    return data.as_dict() | {"sampled_counts": data.class_counts, "sampled_rows": data.train_rows}


def made(path: Path, task: Task, changed: dict[str, Any] | None = None, **other_facts: Any) -> Loss:
    return build(Loss, settings_of(path) | (changed or {}), "loss", facts=facts(task) | other_facts)


def sample(task: Task, rows: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(rows)
    classes = facts(task)["num_classes"]
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
    ("focal", "binary"): [{"alpha": 0.25}, {"gamma": 0.5}, {"alpha": "balanced"}, {"alpha": {"yes": 5.0}}],
    ("focal", "multiclass"): [{"alpha": "balanced"}, {"gamma": 0.5}],
    ("focal", "multilabel"): [{"alpha": 0.75}, {"gamma": 0.5}, {"alpha": "balanced"}],
    ("weighted_ce", "multiclass"): [{"weights": "effective_number", "label_smoothing": 0.1}],
    ("balanced_softmax", "multiclass"): [{"weights": "sqrt"}],
    ("ldam", "multiclass"): [{"weights": "balanced"}],
    ("lmf", "multiclass"): [{"weights": "balanced", "gamma": 0.5}],
    ("vs", "multiclass"): [{"weights": "sqrt"}],
    ("poly1", "multiclass"): [{"weights": "balanced"}, {"gamma": 0.5}, {"epsilon": -1.0}],
    ("gce", "multiclass"): [{"weights": "balanced"}, {"q": 1.0}],
    ("asl", "multilabel"): [{"clip": 0.0}, {"gamma_neg": 0.5, "gamma_pos": 0.5}],
    ("asl", "binary"): [{"clip": 0.0, "gamma_neg": 0.5, "gamma_pos": 0.0}],
    ("ghm", "binary"): [{"momentum": 0.0, "bins": 3}],
    ("ntr", "multilabel"): [{"weights": "effective_number"}, {"gamma": 0.5}],
    ("dice", "multiclass"): [{"alpha": 1.0}],
}
BUILT = [(path, task, changed) for path, task in LEGAL for changed in [{}, *VARIANTS.get((path.stem, task), [])]]


@pytest.fixture(params=BUILT, ids=lambda x: "-".join([x[0].stem, x[1], *(f"{k}={v}" for k, v in x[2].items())]))
def loss_and_task(request: pytest.FixtureRequest) -> tuple[Loss, Task]:
    path, task, changed = request.param
    return made(path, task, changed), task


@pytest.mark.parametrize(("path", "task"), [pair for pair in PAIRS if pair not in LEGAL], ids=lambda x: getattr(x, "stem", x))
def test_a_task_that_a_loss_is_not_for_is_refused_with_the_way_out(path: Path, task: Task) -> None:
    with pytest.raises(ConfigError, match="use loss="):
        made(path, task)


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
    """But for losses that say so: these follow the order of their window, and do see it."""
    loss, task = loss_and_task
    logits, targets = sample(task, 9)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    together = loss(logits, targets)
    torch.testing.assert_close(loss(logits[order], targets[order]), together[order])
    alone = torch.cat([loss(logits[i : i + 1], targets[i : i + 1]) for i in range(9)])
    if loss.batchwise:
        assert not torch.allclose(alone, together)
    else:
        torch.testing.assert_close(alone, together)


# Losses that are easier on one side of a yes-or-no question than on the other, by their formula and not by a weight of classes.
ONE_SIDED = ("ASL", "Dice")


def test_difficulty_has_no_class_weights(loss_and_task: tuple[Loss, Task]) -> None:
    loss, task = loss_and_task
    logits, targets = sample(task, 9)
    found = loss.difficulty(logits, targets)
    assert found.shape == (9,)
    loss.active = False
    torch.testing.assert_close(loss.difficulty(logits, targets), found)
    if task == "multiclass" or (task == "binary" and type(loss).__name__ not in ONE_SIDED):
        # equally wrong on every class: equally difficult, whatever the class weighs
        classes = logits.shape[1]
        flat = loss.difficulty(torch.zeros(classes, classes, dtype=torch.float64), torch.arange(classes))
        torch.testing.assert_close(flat, flat[:1].expand(classes))


def test_what_is_not_active_yet_neither_weighs_nor_adjusts(loss_and_task: tuple[Loss, Task]) -> None:
    loss, task = loss_and_task
    loss.eval()
    logits, targets = sample(task, 9)
    active = loss(logits, targets)
    loss.active = False
    declared = loss.declares()
    assert declared.weights_C is None
    assert declared.adjust_C is None or not declared.adjust_C.any()
    assert torch.allclose(loss(logits, targets), active) != loss.rebalances


def test_logits_are_left_as_they_are(loss_and_task: tuple[Loss, Task]) -> None:
    """A public implementation of the distribution-balanced loss adds its bias in place, once more with every call."""
    loss, task = loss_and_task
    for dtype in (torch.float32, torch.float64):
        logits, targets = sample(task, 6, dtype)
        before, labels = logits.clone(), targets.clone()
        loss(logits, targets)
        loss.difficulty(logits, targets)
        assert torch.equal(logits, before)
        assert torch.equal(targets, labels)


@pytest.mark.parametrize(("path", "task"), LEGAL, ids=lambda x: getattr(x, "stem", x))
def test_a_balanced_sampler_leaves_nothing_to_balance(path: Path, task: Task) -> None:
    """Weights and adjustments come from what is dealt. What describes the amount of data does not: margins, divisors, db and ntr."""
    equal = np.full(facts(task)["num_classes"], 50)
    declared = made(path, task, sampled_counts=equal, sampled_rows=100 if task == "multilabel" else int(equal.sum())).declares()
    if declared.weights_C is not None and not (path.stem == "weighted_bce" and task == "multiclass"):  # each class against the rest
        np.testing.assert_allclose(declared.weights_C, 1.0)
    assert declared.adjust_C is None or np.ptp(declared.adjust_C) < 1e-12


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


SCHEMES: list[Any] = ["none", "balanced", "sqrt", "effective_number", [1.0, 2.0, 3.0, 4.0], {"d": 2.0}, {"b": 2, "d": 2}]
BETAS = (0.5, 0.9, 0.99)
# Other values of each setting, and the task on which they are seen.
CHANGES: dict[tuple[str, str], list[tuple[Task, dict[str, Any]]]] = {
    ("cross_entropy", "label_smoothing"): [("multiclass", {"label_smoothing": 0.1})],
    ("weighted_ce", "label_smoothing"): [("multiclass", {"label_smoothing": 0.1})],
    ("weighted_ce", "weights"): [("multiclass", {"weights": w}) for w in SCHEMES if w != "balanced"],
    ("weighted_ce", "beta"): [("multiclass", {"weights": "effective_number", "beta": b}) for b in (0.0, 0.9, 0.9999)],
    ("cb_ce", "label_smoothing"): [("multiclass", {"label_smoothing": 0.1})],
    ("cb_ce", "weights"): [("multiclass", {"weights": w}) for w in SCHEMES if w != "effective_number"],
    ("cb_ce", "beta"): [("multiclass", {"beta": b}) for b in BETAS],
    ("weighted_bce", "pos_weight"): [("multilabel", {"pos_weight": w}) for w in (2.0, [1.0, 2.0, 3.0, 4.0])]
    + [("binary", {"pos_weight": w}) for w in (2.0, [3.0])],
    ("weighted_bce", "cap"): [(task, {"cap": 2.0}) for task in TASKS],
    ("focal", "gamma"): [(task, {"gamma": g}) for task in TASKS for g in (0.0, 0.5, 1.0)],
    ("focal", "alpha"): [
        *((task, {"alpha": a}) for task in ("binary", "multilabel") for a in (0.25, 0.75, "balanced", "sqrt", "effective_number")),
        *(("binary", {"alpha": a}) for a in ([1.0, 5.0], {"yes": 2.0})),
        *(("multiclass", {"alpha": w}) for w in SCHEMES if w != "none"),
    ],
    ("focal", "beta"): [(task, {"alpha": "effective_number", "beta": b}) for task in TASKS for b in (0.5, 0.9, 0.9999)],
    ("cb_focal", "gamma"): [(task, {"gamma": g}) for task in TASKS for g in (0.0, 0.5, 1.0)],
    ("cb_focal", "alpha"): [(task, {"alpha": a}) for task in TASKS for a in ("none", "balanced", "sqrt")],
    ("cb_focal", "beta"): [(task, {"beta": b}) for task in TASKS for b in BETAS],
    ("logit_adjusted", "tau"): [("multiclass", {"tau": t}) for t in (0.0, 0.5, 2.0)],
    ("vs", "tau"): [("multiclass", {"tau": t}) for t in (0.0, 0.5, 2.0)],
    ("vs", "gamma"): [("multiclass", {"gamma": g}) for g in (0.0, 0.2, 1.0)],
    ("cdt", "gamma"): [("multiclass", {"gamma": g}) for g in (0.0, 0.2, 1.0)],
    ("ldam", "max_margin"): [("multiclass", {"max_margin": m}) for m in (0.0, 0.1)],
    ("ldam", "scale"): [("multiclass", {"scale": s}) for s in (1.0, 10.0)],
    ("lmf", "margin_part"): [("multiclass", {"margin_part": p}) for p in (0.0, 0.5)],
    ("lmf", "focal_part"): [("multiclass", {"focal_part": p}) for p in (0.0, 0.5)],
    ("lmf", "gamma"): [("multiclass", {"gamma": g}) for g in (0.0, 0.5)],
    ("lmf", "max_margin"): [("multiclass", {"max_margin": m}) for m in (0.0, 0.1)],
    ("lmf", "scale"): [("multiclass", {"scale": s}) for s in (1.0, 10.0)],
    ("poly1", "epsilon"): [("multiclass", {"epsilon": e}) for e in (-1.0, 0.0, 2.0)],
    ("poly1", "gamma"): [("multiclass", {"gamma": g}) for g in (0.5, 2.0)],
    ("gce", "q"): [("multiclass", {"q": q}) for q in (0.1, 1.0)],
    ("ghm", "bins"): [(task, {"bins": k}) for task in TASKS for k in (1, 3)],
    ("ghm", "momentum"): [(task, {"momentum": m}) for task in TASKS for m in (0.0, 0.5)],
    ("asl", "gamma_neg"): [(task, {"gamma_neg": g}) for task in TASKS for g in (0.0, 1.0)],
    ("asl", "gamma_pos"): [(task, {"gamma_pos": g}) for task in TASKS for g in (0.0, 2.0)],
    ("asl", "clip"): [(task, {"clip": c}) for task in TASKS for c in (0.0, 0.2)],
    ("asl", "detach_factor"): [(task, {"detach_factor": True}) for task in TASKS],
    ("ntr", "weights"): [("multilabel", {"weights": "effective_number"})],
    ("ntr", "beta"): [("multilabel", {"weights": "effective_number", "beta": b}) for b in (0.5, 0.99)],
    **{("db", f"map_{name}"): [("multilabel", {f"map_{name}": v}) for v in (0.0, 0.5)] for name in ("alpha", "beta", "gamma")},
    **{
        (option, name): [("multilabel", {name: v}) for v in values]
        for option in ("db", "ntr")
        for name, values in {"neg_scale": (1.0, 5.0), "kappa": (0.0, 0.2), "gamma": (0.0, 1.0), "alpha": (0.25, 1.0)}.items()
    },
    ("negative_sampling", "negatives"): [(task, {"negatives": n}) for task in ("binary", "multiclass") for n in (1, 20)],
    ("negative_sampling", "power"): [("multiclass", {"power": p}) for p in (0.25, 0.75, 1.0)],
    ("dice", "alpha"): [(task, {"alpha": a}) for task in TASKS for a in (0.0, 1.0)],
    ("dice", "smooth"): [(task, {"smooth": s}) for task in TASKS for s in (0.1, 2.0)],
    ("pairwise_auc", "margin"): [(task, {"margin": m}) for task in TASKS for m in (0.5, 2.0)],
    ("auc_margin", "margin"): [(task, {"margin": m}) for task in TASKS for m in (0.5, 2.0)],
}
for _option in ("balanced_softmax", "logit_adjusted", "vs", "cdt", "ldam", "lmf", "poly1", "gce"):
    CHANGES[_option, "weights"] = [("multiclass", {"weights": w}) for w in SCHEMES if w != "none"]
    CHANGES[_option, "beta"] = [("multiclass", {"weights": "effective_number", "beta": b}) for b in BETAS]
SETTINGS = [(p.stem, name) for p in OPTIONS for name in settings_of_class(resolve(Loss, settings_of(p), "loss"))]


def observed(loss: Loss, task: Task) -> torch.Tensor:
    """Losses and gradients of two windows, the second of which may be seen in the light of the first."""
    seen = []
    for rows in (9, 7):
        logits, targets = sample(task, rows)
        found = loss(logits.requires_grad_(), targets)
        seen += [found.detach(), *torch.autograd.grad(found.sum(), logits)]
    return torch.cat([s.flatten() for s in seen])


@pytest.mark.parametrize(("option", "name"), SETTINGS, ids=lambda x: x)
def test_every_setting_is_observed_and_each_value_is_another_loss(option: str, name: str) -> None:
    path = next(p for p in OPTIONS if p.stem == option)
    seen: dict[Task, list[torch.Tensor]] = {}
    for task, changed in CHANGES[option, name]:
        if task not in seen:
            seen[task] = [observed(made(path, task), task)]
        found = observed(made(path, task, changed), task)
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
