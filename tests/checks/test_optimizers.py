"""What holds for every option of `optimizer`: a new YAML file is checked by being there."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from recipes.optim import OWN_SETTINGS, make_optimizer, optimizer_problems, set_lr

FOLDER = Path(__file__).parents[2] / "configs" / "optimizer"
OPTIONS = {path.stem: OmegaConf.to_container(OmegaConf.load(path)) for path in sorted(FOLDER.glob("*.yaml"))}
DECAYING = [name for name, settings in OPTIONS.items() if "weight_decay" in settings]
NATIVE = ("sgd", "adagrad", "sparse_adam")
LIKE_ADAM = ("adam", "amsgrad", "adamw", "nadam", "radam")
ROWS, WIDTH, CLASSES = 12, 4, 3


class Bag(nn.Module):
    """An embedding with sparse or dense gradients, a norm layer and two linear layers: every kind of parameter."""

    def __init__(self, sparse: bool, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.table = nn.EmbeddingBag(ROWS, WIDTH, mode="mean", sparse=sparse, dtype=torch.float64)
        self.norm = nn.LayerNorm(WIDTH, dtype=torch.float64)
        self.hidden = nn.Linear(WIDTH, WIDTH, dtype=torch.float64)
        self.output = nn.Linear(WIDTH, CLASSES, dtype=torch.float64)

    def forward(self, ids_BT: torch.Tensor) -> torch.Tensor:
        return self.output(torch.tanh(self.hidden(self.norm(self.table(ids_BT)))))


def batch(step: int, rows: int = ROWS) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(step)
    return torch.randint(rows, (8, 5), generator=rng), torch.randint(CLASSES, (8,), generator=rng)


def train(model: Bag, optimizer: Any, steps: range, rows: int = ROWS) -> list[float]:
    losses = []
    for step in steps:
        ids, targets = batch(step, rows)
        loss = nn.functional.cross_entropy(model(ids), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def torch_own(settings: dict[str, Any], groups: list[Any]) -> torch.optim.Optimizer:
    """The optimizer as torch's documentation builds it, one kernel per tensor, which is its reference implementation."""
    keywords = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items() if k not in OWN_SETTINGS and k != "_target_"}
    cls = torch.optim.Adam if settings["_target_"].endswith("SparseAdam") else getattr(torch.optim, settings["_target_"].split(".")[-1])
    return cls(groups, foreach=False, **keywords)


@pytest.fixture(params=OPTIONS)
def option(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def settings(option: str) -> dict[str, Any]:
    return dict(OPTIONS[option])


def close(left: nn.Module, right: nn.Module, tolerance: float = 1e-12) -> None:
    for (name, p), q in zip(left.named_parameters(), right.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=tolerance, msg=lambda text, name=name: f"{name}: {text}")


def same(left: nn.Module, right: nn.Module) -> None:
    for (name, p), q in zip(left.named_parameters(), right.parameters(), strict=True):
        assert torch.equal(p, q), name


def test_settings_are_torchs_and_ours(settings: dict[str, Any]) -> None:
    assert optimizer_problems(settings) == []
    assert settings.keys() >= OWN_SETTINGS.keys() | {"lr"}
    assert settings["l1"] == 0.0
    assert settings["decay"] == "weights"
    assert settings["sam_rho"] is None
    assert settings["sam_adaptive"] is False


def test_reduces_a_quadratic(settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 3, dtype=torch.float64)
    goal = model.weight.detach() + 0.05 * torch.randn(3, 4, dtype=torch.float64)
    optimizer = make_optimizer(settings, model)
    losses = []
    for _ in range(150):
        loss = (model.weight - goal).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("decay", ["weights", "all"])
def test_equals_torch_step_by_step(settings: dict[str, Any], decay: str) -> None:
    settings["decay"] = decay
    if "weight_decay" in settings:
        settings["weight_decay"] = 0.1
    ours, theirs = Bag(sparse=False), Bag(sparse=False)
    weights = [theirs.hidden.weight, theirs.output.weight]
    spared = [theirs.table.weight, *theirs.norm.parameters(), theirs.hidden.bias, theirs.output.bias]
    if decay == "all" or "weight_decay" not in settings:
        groups: list[Any] = [{"params": weights + spared}]
    else:
        groups = [{"params": weights}, {"params": spared, "weight_decay": 0.0}]
    optimizer, reference = make_optimizer(settings, ours), torch_own(settings, groups)
    for step in range(20):
        train(ours, optimizer, range(step, step + 1))
        train(theirs, reference, range(step, step + 1))
        close(ours, theirs)


@pytest.mark.parametrize("sparse", [False, True])
def test_resumes_bit_for_bit(settings: dict[str, Any], sparse: bool) -> None:
    settings["l1"] = 0.01
    whole, first, second = Bag(sparse).float(), Bag(sparse).float(), Bag(sparse, seed=1).float()
    optimizer = make_optimizer(settings, whole)
    set_lr(optimizer, 0.5)
    train(whole, optimizer, range(10))
    optimizer = make_optimizer(settings, first)
    set_lr(optimizer, 0.5)
    train(first, optimizer, range(6))
    file = io.BytesIO()
    torch.save({"model": first.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    second.load_state_dict(saved["model"])
    optimizer = make_optimizer(settings, second)
    optimizer.load_state_dict(saved["optimizer"])
    train(second, optimizer, range(6, 10))
    same(second, whole)


@pytest.mark.parametrize("name", DECAYING)
def test_decay_moves_the_weights_and_nothing_else(name: str) -> None:
    settings = {**OPTIONS[name], "weight_decay": 0.3}
    model, before = Bag(sparse=False), Bag(sparse=False)
    optimizer = make_optimizer(settings, model)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    moved = {name for (name, p), q in zip(model.named_parameters(), before.parameters(), strict=True) if not torch.equal(p, q)}
    assert moved == {"hidden.weight", "output.weight"}


def test_l1_is_the_proximal_step_and_makes_zeros(settings: dict[str, Any]) -> None:
    ours, theirs = Bag(sparse=False), Bag(sparse=False)
    optimizer, reference = make_optimizer({**settings, "l1": 0.05}, ours), make_optimizer(settings, theirs)
    set_lr(optimizer, 0.7)
    set_lr(reference, 0.7)
    threshold = 0.05 * settings["lr"] * 0.7
    for step in range(5):
        train(ours, optimizer, range(step, step + 1))
        train(theirs, reference, range(step, step + 1))
        with torch.no_grad():
            for w in (theirs.hidden.weight, theirs.output.weight):
                w.copy_(w.sign() * (w.abs() - threshold).clamp(min=0))
        close(ours, theirs)
    train(ours, make_optimizer({**settings, "l1": 1e3 / settings["lr"]}, ours), range(1))
    assert not ours.hidden.weight.any()
    assert not ours.output.weight.any()
    assert ours.table.weight.all()
    assert ours.hidden.bias.all()


def test_trains_a_model_with_sparse_gradients(option: str, settings: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    model, before = Bag(sparse=True), Bag(sparse=True)
    if "weight_decay" in settings:
        settings["weight_decay"] = 0.1
    optimizer = make_optimizer({**settings, "decay": "all"}, model)
    train(model, optimizer, range(3), rows=ROWS // 2)
    assert (model.table.weight != before.table.weight)[: ROWS // 2].all()
    assert ("SparseAdam updates table.weight" in caplog.text) == (option in LIKE_ADAM)
    assert ("'all' leaves out table.weight" in caplog.text) == (option in NATIVE + LIKE_ADAM)
    assert ("all 12 rows" in caplog.text) == (option not in NATIVE + LIKE_ADAM)
    if option in NATIVE + LIKE_ADAM:
        assert model.table.weight.grad.is_sparse
        assert torch.equal(model.table.weight[ROWS // 2 :], before.table.weight[ROWS // 2 :])


def test_sparse_gradients_train_as_dense_ones_do(option: str, settings: dict[str, Any]) -> None:
    if option in ("amsgrad", "nadam", "radam"):
        pytest.skip("SparseAdam is another rule than this option's")
    if "weight_decay" in settings:
        settings["weight_decay"] = 0.0
    if option in (*LIKE_ADAM, "sparse_adam"):
        settings["eps"] = 1e-30  # SparseAdam adds it before the bias correction, Adam after
    ours, theirs = Bag(sparse=True), Bag(sparse=False)
    optimizer, reference = make_optimizer(settings, ours), make_optimizer(settings, theirs)
    for step in range(10):
        for model, updater in ((ours, optimizer), (theirs, reference)):
            ids, targets = batch(step)
            if option in (*LIKE_ADAM, "sparse_adam"):  # lazy moments are those of Adam where each batch has every row
                ids = torch.cat([ids, torch.arange(ROWS).view(-1, 4).repeat(1, 2)[:, :5]])
                targets = torch.cat([targets, targets[: len(ids) - len(targets)]])
            updater.zero_grad()
            nn.functional.cross_entropy(model(ids), targets).backward()
            updater.step()
    close(ours, theirs)


@pytest.mark.parametrize("sparse", [False, True])
def test_a_gradient_scaler_can_drive_it(settings: dict[str, Any], sparse: bool) -> None:
    settings["l1"] = 0.01
    model, plain = Bag(sparse), Bag(sparse)
    optimizer, reference = make_optimizer(settings, model), make_optimizer(settings, plain)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for step in range(3):
        ids, targets = batch(step)
        optimizer.zero_grad()
        scaler.scale(nn.functional.cross_entropy(model(ids), targets)).backward()
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
    train(plain, reference, range(3))
    close(model, plain)
    before = [p.detach().clone() for p in model.parameters()]
    optimizer.zero_grad()
    (model(batch(0)[0]).sum() * torch.inf).backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))
