"""Devices and number formats that the machine lacks are errors that say what to use."""

from __future__ import annotations

import pytest
import torch

from recipes.errors import ConfigError
from recipes.training.precision import Precision, check_precision, resolve_device


@pytest.mark.parametrize("name", ["gpu", "cpu:1", "cuda:x", "cuda:", "mps"])
def test_names_that_are_no_device(name: str) -> None:
    if name == "cuda:" and torch.cuda.is_available():
        pytest.skip("'cuda:' is cuda here")
    with pytest.raises(ConfigError, match=r"trainer\.device"):
        resolve_device(name)


def test_a_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match=r"this machine has 2 \(cuda:0 to cuda:1\)"):
        resolve_device("cuda:2")
    assert resolve_device("auto") == torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="no CUDA device"):
        resolve_device("cuda")
    assert resolve_device("auto") == torch.device("cpu")


def test_fp16_needs_cuda() -> None:
    with pytest.raises(ConfigError, match=r"trainer\.precision=bf16 or fp32"):
        check_precision("fp16", torch.device("cpu"))
    check_precision("bf16", torch.device("cpu"))


def test_bf16_computes_matrix_products_in_half_precision() -> None:
    a = torch.randn(8, 8)
    with Precision("bf16", torch.device("cpu")).autocast():
        assert (a @ a).dtype == torch.bfloat16
    with Precision("fp32", torch.device("cpu")).autocast():
        assert (a @ a).dtype == torch.float32


def test_a_skipped_update_is_reported() -> None:
    """The scaler skips when a gradient overflows: neither the schedule nor the average may then move."""
    precision = Precision("fp32", torch.device("cpu"))
    precision.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    for factor, moved in ((1.0, True), (float("inf"), False), (1.0, True)):
        before = weight.detach().clone()
        precision.backward((weight * factor).sum())
        precision.unscale(optimizer)
        assert precision.step(optimizer) is moved
        assert torch.equal(before, weight.detach()) is not moved
        optimizer.zero_grad()
