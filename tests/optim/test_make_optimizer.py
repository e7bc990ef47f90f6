"""Building optimizers: any torch class, groups, kernels, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from recipes.errors import ConfigError
from recipes.optim import Combined, check_sam, make_optimizer, optimizer_problems, parameter_groups, set_lr

ADAMW = {"_target_": "torch.optim.AdamW", "lr": 0.001, "betas": [0.9, 0.999], "weight_decay": 0.01, "l1": 0.0, "decay": "weights"}


class Tied(nn.Module):
    """The output layer shares the embedding's matrix; one layer is frozen; a norm has a matrix of scales, and a bias is one too."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(6, 4)
        self.convolution = nn.Conv1d(4, 4, 3)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.norm = nn.LayerNorm((3, 4))
        self.attention = nn.MultiheadAttention(4, 2)
        self.temperature = nn.Parameter(torch.ones(()))
        self.bias = nn.Parameter(torch.zeros(3, 4))
        self.output = nn.Linear(4, 6, bias=False)
        self.output.weight = self.table.weight


def names(model: nn.Module, parameters: list[nn.Parameter]) -> set[str]:
    by_id = {id(p): name for name, p in model.named_parameters()}
    return {by_id[id(p)] for p in parameters}


def test_decayed_are_matrices_and_convolutions_only() -> None:
    model = Tied()
    groups = parameter_groups(model)
    assert names(model, groups.decayed) == {"convolution.weight", "attention.in_proj_weight", "attention.out_proj.weight"}
    assert names(model, groups.plain) == {
        "table.weight", "convolution.bias", "norm.weight", "norm.bias", "attention.in_proj_bias", "attention.out_proj.bias", "temperature",
        "bias",
    }  # fmt: skip
    assert not groups.sparse


def test_all_means_every_trainable_parameter_with_a_dense_gradient() -> None:
    model = Tied()
    groups = parameter_groups(model, "all")
    assert len(groups.decayed) == len([p for p in model.parameters() if p.requires_grad])
    model.table.sparse = True
    groups = parameter_groups(model, "all")
    assert list(groups.sparse) == ["table.weight"]
    assert model.table.weight not in set(groups.decayed)


def test_a_plain_torch_optimizer_comes_back_where_one_suffices() -> None:
    optimizer = make_optimizer(ADAMW, nn.Linear(3, 2))
    assert type(optimizer) is torch.optim.AdamW
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.0]
    assert all(group["fused"] for group in optimizer.param_groups)
    assert type(make_optimizer({**ADAMW, "weight_decay": 0.0}, nn.Linear(3, 2)).param_groups[0]["params"]) is list


@pytest.mark.parametrize("settings", [{"weight_decay": 0.0}, {"decay": "all"}])
def test_groups_that_would_be_equal_are_one(settings: dict[str, Any]) -> None:
    assert len(make_optimizer({**ADAMW, **settings}, nn.Linear(3, 2)).param_groups) == 1


def test_torchs_own_default_of_decay_counts() -> None:
    # AdamW decays by 0.01 when the key is absent, so biases need a group without it all the same.
    settings = {"_target_": "torch.optim.AdamW"}
    assert [group["weight_decay"] for group in make_optimizer(settings, nn.Linear(3, 2)).param_groups] == [0.01, 0.0]


@pytest.mark.parametrize(("name", "kernel"), [("Adam", "fused"), ("SGD", "fused"), ("Adagrad", "fused"), ("RMSprop", "foreach")])
def test_the_fastest_kernels_are_chosen(name: str, kernel: str) -> None:
    group = make_optimizer({"_target_": f"torch.optim.{name}"}, nn.Linear(3, 2)).param_groups[0]
    assert group[kernel] is True


def test_a_kernel_that_the_user_names_stays() -> None:
    group = make_optimizer({**ADAMW, "foreach": True}, nn.Linear(3, 2)).param_groups[0]
    assert group["foreach"] is True
    assert not group["fused"]


def test_sparse_and_dense_parts_are_driven_as_one() -> None:
    model = nn.ModuleDict({"table": nn.EmbeddingBag(5, 2, sparse=True), "output": nn.Linear(2, 2)})
    optimizer = make_optimizer(ADAMW, model)
    assert isinstance(optimizer, Combined)
    assert [type(part) for part in optimizer.parts] == [torch.optim.AdamW, torch.optim.SparseAdam]
    set_lr(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.00025] * 3
    set_lr(optimizer, 1.0)
    assert [group["lr"] for group in optimizer.param_groups] == [0.001] * 3


def test_an_embedding_alone_needs_one_optimizer() -> None:
    assert type(make_optimizer(ADAMW, nn.Embedding(5, 2, sparse=True))) is torch.optim.SparseAdam


def test_gradients_become_dense_where_the_rule_has_no_sparse_form() -> None:
    table = nn.Embedding(5, 2, sparse=True)
    make_optimizer({"_target_": "torch.optim.SGD", "momentum": 0.9}, table)
    table(torch.tensor([1])).sum().backward()
    assert not table.weight.grad.is_sparse


@pytest.mark.parametrize("name", ["Adamax", "NAdam", "ASGD", "Rprop", "Adafactor"])
def test_any_other_torch_optimizer_by_target(name: str) -> None:
    settings = {"_target_": f"torch.optim.{name}", "lr": 0.01, "l1": 0.0, "decay": "weights"}
    assert optimizer_problems(settings) == []
    assert type(make_optimizer(settings, nn.Linear(3, 2))) is getattr(torch.optim, name)


def test_a_parameter_without_gradient_is_left_alone() -> None:
    model = nn.ModuleDict({"used": nn.Linear(2, 2), "unused": nn.Linear(2, 2)})
    before = model["unused"].weight.detach().clone()
    optimizer = make_optimizer({**ADAMW, "l1": 10.0}, model)
    model["used"](torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert torch.equal(model["unused"].weight, before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"beta": [0.9, 0.999]}, "optimizer.beta: unknown setting of AdamW; did you mean 'betas'?"),
        ({"l2": 0.1}, "optimizer.l2: unknown setting"),
        ({"lr": "fast"}, "optimizer.lr"),
        ({"l1": -1.0}, "optimizer.l1: -1.0 is out of range; it must be at least 0"),
        ({"decay": "weight"}, "did you mean 'weights'?"),
        ({"maximize": True}, "optimizer.maximize: unknown setting"),
        ({"lr": -0.1}, "AdamW refuses these settings or parameters: Invalid learning rate: -0.1"),
        ({"betas": [0.9, 1.5]}, "Invalid beta parameter at index 1"),
        ({"_target_": "torch.optim.AdamV"}, "did you mean 'Adam"),
        ({"_target_": "torch.nn.Linear"}, "is not a torch.optim"),
        ({"_target_": "lion_pytorch.Lion"}, "trust=[lion_pytorch]"),
        ({"_target_": "torch.optim.RMSprop"}, "optimizer.betas: unknown setting of RMSprop"),
    ],
)
def test_mistakes_are_found_before_there_is_a_model(change: dict[str, Any], message: str) -> None:
    (problem,) = optimizer_problems({**ADAMW, **change})
    assert message in problem


def test_lbfgs_is_refused_with_a_way_out() -> None:
    (problem,) = optimizer_problems({"_target_": "torch.optim.LBFGS"})
    assert "optimizer=adamw" in problem


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sam_rho": 0.0}, "optimizer.sam_rho: 0.0 is out of range; it must be above 0"),
        ({"sam_rho": None, "sam_adaptive": True}, "optimizer.sam_adaptive: it changes the step up of optimizer.sam_rho, which is null"),
    ],
)
def test_mistakes_about_sharpness(change: dict[str, Any], message: str) -> None:
    problems = optimizer_problems({**ADAMW, **change})
    assert message in problems[0]
    assert optimizer_problems({**ADAMW, "sam_rho": 0.1, "sam_adaptive": True}) == []


def test_sharpness_is_refused_where_gradients_are_scaled_or_sparse() -> None:
    settings = {**ADAMW, "sam_rho": 0.05}
    with pytest.raises(ConfigError, match=r"use trainer.precision=bf16 or fp32"):
        check_sam(settings, {}, "fp16")
    sparse = r"optimizer.sam_rho: .* use model.sparse=false, or optimizer.sam_rho=null"
    with pytest.raises(ConfigError, match=sparse):
        check_sam(settings, {"sparse": True}, "fp32")
    with pytest.raises(ConfigError, match=sparse):  # also of a model that has no such setting
        make_optimizer(settings, nn.EmbeddingBag(5, 2, sparse=True))
    check_sam(settings, {"sparse": False}, "bf16")
    check_sam({**settings, "sam_rho": None}, {"sparse": True}, "fp16")
    make_optimizer({**settings, "sam_rho": None}, nn.EmbeddingBag(5, 2, sparse=True))
    momentum = {"_target_": "torch.optim.SGD", "momentum": 0.9, "sam_rho": 0.05}  # which makes gradients dense, and says so
    make_optimizer(momentum, nn.EmbeddingBag(5, 2, sparse=True))


def test_what_torch_refuses_about_the_model_is_a_config_error() -> None:
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this torch has no Muon")
    with pytest.raises(ConfigError, match="Muon refuses"):
        make_optimizer({"_target_": "torch.optim.Muon"}, nn.Linear(3, 2))


def test_a_model_without_trainable_parameters() -> None:
    with pytest.raises(ConfigError, match="no parameter"):
        make_optimizer(ADAMW, nn.Linear(3, 2).requires_grad_(False))


def test_whole_numbers_serve_as_betas() -> None:
    make_optimizer({**ADAMW, "betas": [0, 0.999]}, nn.Linear(3, 2))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD", "Adagrad", "RMSprop", "NAdam"])
@pytest.mark.parametrize("sparse", [False, True])
def test_on_cuda(name: str, sparse: bool) -> None:
    results = []
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        model = nn.Sequential(nn.EmbeddingBag(20, 4, sparse=sparse), nn.Linear(4, 2)).double().to(device)
        optimizer = make_optimizer({"_target_": f"torch.optim.{name}", "l1": 0.01}, model)
        for step in range(5):
            optimizer.zero_grad()
            model((torch.arange(40, device=device) * (step + 1) % 20).view(10, 4)).square().sum().backward()
            optimizer.step()
        results.append([p.detach().cpu() for p in model.parameters()])
    for left, right in zip(*results, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-9)
