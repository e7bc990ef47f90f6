"""Devices and number formats that the machine lacks are errors that say what to use."""

from __future__ import annotations

import pytest
import torch

from recipes.errors import CheckpointError, ConfigError
from recipes.training import precision as module
from recipes.training.precision import Precision, check_precision, choose_precision, multiplied_weights, resolve_device

CPU = torch.device("cpu")


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


def mlp(width: int) -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(32, width), torch.nn.ReLU(), torch.nn.Linear(width, width))


@pytest.mark.parametrize(("native", "width", "name"), [(True, 512, "bf16"), (True, 64, "fp32"), (False, 512, "fp32")])
def test_auto_is_bf16_where_the_cpu_has_it_and_the_model_gains(
    native: bool, width: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_cpu_multiplies_bf16", lambda: native)
    chosen = choose_precision("auto", CPU, mlp(width), rows=128)
    assert chosen.name == name
    assert chosen.describe().startswith(f"{name} (auto: ")
    assert choose_precision("fp32", CPU, mlp(width), rows=128).describe() == "fp32"


def test_auto_follows_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for native, name in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True, native=native: native)
        assert choose_precision("auto", torch.device("cuda"), mlp(512), rows=128).name == name


def test_weights_that_are_looked_up_multiply_nothing() -> None:
    nets = {
        "lookup": (torch.nn.Embedding(1000, 50), 0),
        "bags": (torch.nn.EmbeddingBag(1000, 50), 0),
        "convolution": (torch.nn.Conv2d(30, 10, (1, 3)), 30 * 10 * 3),
        "lstm": (torch.nn.LSTM(30, 20, bidirectional=True), 2 * 4 * 20 * (30 + 20)),
        "attention": (torch.nn.MultiheadAttention(16, 2), 4 * 16 * 16),
        "norm": (torch.nn.LayerNorm(100), 0),
    }
    assert {name: multiplied_weights(net) for name, (net, _) in nets.items()} == {name: weights for name, (_, weights) in nets.items()}


def test_a_resumed_run_keeps_its_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that began where there is no bf16 goes on in fp32 where there is, and the other way round."""
    monkeypatch.setattr(module, "_cpu_multiplies_bf16", lambda: True)
    for began in ("fp32", "bf16"):
        resumed = choose_precision("auto", CPU, mlp(64 if began == "bf16" else 512), rows=128)
        assert resumed.name != began
        resumed.load_state_dict(Precision(began, CPU).state_dict())
        assert resumed.describe() == f"{began} (as the run began)"
        with resumed.autocast():
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == (torch.bfloat16 if began == "bf16" else torch.float32)


def test_a_run_in_a_format_that_the_device_lacks_is_not_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: False)
    with pytest.raises(CheckpointError, match="the run began in bf16"):
        Precision("fp32", torch.device("cuda")).load_state_dict(Precision("bf16", CPU).state_dict())
