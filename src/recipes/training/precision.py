"""Device and number format: what was asked for, held against what the machine can do and what the model gains by it."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from recipes.errors import CheckpointError, ConfigError

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
# The layers that autocast computes in half precision. Embeddings, and what reads bags of ids, are looked up as they are.
_MULTIPLYING = (nn.Linear, nn.Bilinear, _ConvNd, nn.RNNBase, nn.MultiheadAttention)
# Products of an update (rows x weights) from which bf16 pays on a CPU: below, the casts cost more than the products save. Measured on an
# AMD EPYC of Zen 5, one thread, step in bf16 / step in fp32: MLPs 2.7 to 1.06 below 5 million, 0.86 at 8.6 million, 0.60 at 13 million,
# 0.3 from 70 million on; narrow convolutions 1.06 at 6.5 million, HAN 1.16 at 9 million; LSTM 0.64, TextCNN 0.80, Transformer 0.64 at
# 20 to 35 million.
_WORTH = 10_000_000


def resolve_device(name: str, key: str = "trainer.device") -> torch.device:
    """The torch device behind the setting `key`. ConfigError when it does not exist here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()) or (kind == "cpu" and index):
        raise ConfigError(f"{key}: '{name}' is not a device; use auto, cpu, cuda, or cuda:0, cuda:1, ...")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(index or 0) >= count:
            some = f"this machine has {count} (cuda:0 to cuda:{count - 1})"
            here = some if count else "this machine has no CUDA device that torch can use"
            raise ConfigError(f"{key}: '{name}' was asked for, but {here}; use {key}=auto or cpu")
    return torch.device(name)


def check_precision(precision: str, device: torch.device) -> None:
    """ConfigError when the device cannot train in this precision."""
    if precision == "fp16" and device.type != "cuda":
        raise ConfigError("trainer.precision: fp16 needs a CUDA device, and this run is on the CPU; use trainer.precision=bf16 or fp32")
    if precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise ConfigError("trainer.precision: this CUDA device has no bf16; use trainer.precision=fp16 or fp32")


def choose_precision(setting: str, device: torch.device, model: nn.Module, rows: int) -> Precision:
    """The number format behind `trainer.precision`, for updates of `rows` rows.

    auto: bf16 where the device computes it natively and the model multiplies enough to gain by it, fp32 elsewhere. That depends on the
    machine, the model and the size of an update alone, so that the same command gives the same numbers again; a test run with a clock
    would not. fp16 is never chosen, since its scaler may skip updates.
    """
    if setting != "auto":
        return Precision(setting, device)
    lacking = _without_bf16(device)
    if lacking is not None:
        return Precision("fp32", device, f"auto: {lacking}")
    if rows * multiplied_weights(model) < _WORTH:
        return Precision("fp32", device, "auto: bf16 saves no time on updates of this size")
    return Precision("bf16", device, "auto: it saves time here")


def multiplied_weights(model: nn.Module) -> int:
    """Weights that each row is multiplied with, once or at each of its positions: those of linear, convolution and recurrent layers."""
    layers = (m for m in model.modules() if isinstance(m, _MULTIPLYING))
    return sum(p.numel() for layer in layers for p in layer.parameters(recurse=False) if p.dim() > 1)


def _without_bf16(device: torch.device) -> str | None:
    """Why bf16 is no gain on this device, or None: it must multiply in it by instructions of its own."""
    if device.type == "cuda":
        return None if torch.cuda.is_bf16_supported(including_emulation=False) else "this CUDA device has no bf16"
    # Of ARM's bf16 instructions nothing is measured.
    if not _cpu_multiplies_bf16():
        return "this CPU has no AVX-512 bf16 or AMX"
    return None if torch.backends.mkldnn.is_available() else "this torch was built without oneDNN"


def _cpu_multiplies_bf16() -> bool:
    if hasattr(torch.cpu, "get_capabilities"):
        found = torch.cpu.get_capabilities()
        return bool(found.get("avx512_bf16") or found.get("amx_bf16"))
    return bool(torch.cpu._is_avx512_bf16_supported())  # torch before 2.10 has no public way


class Precision:
    """Autocast for the forward pass, and the gradient scaler that fp16 needs. fp32 costs nothing.

    reason: why this one, where the machine was asked.
    """

    def __init__(self, name: str, device: torch.device, reason: str = "") -> None:
        self.name, self.reason = name, reason
        self.dtype = _DTYPES.get(name)
        self.device = device
        self.scaler = torch.amp.GradScaler(device.type) if name == "fp16" else None

    def describe(self) -> str:
        return f"{self.name} ({self.reason})" if self.reason else self.name

    def autocast(self) -> AbstractContextManager[Any]:
        if self.dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def backward(self, loss: Tensor) -> None:
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()

    def unscale(self, optimizer: Any) -> None:
        if self.scaler is not None:
            self.scaler.unscale_(optimizer)

    def step(self, optimizer: Any) -> bool:
        """Update the weights. False when the scaler skipped it; then neither the schedule nor the average may move."""
        if self.scaler is None:
            optimizer.step()
            return True
        # Reading the scale waits for the device. fp16 alone pays it: otherwise the schedule would run ahead of the optimizer.
        before = self.scaler.get_scale()
        self.scaler.step(optimizer)
        self.scaler.update()
        return self.scaler.get_scale() >= before

    def state_dict(self) -> dict[str, Any]:
        return {"name": self.name, "scaler": {} if self.scaler is None else self.scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on in the format that the run began in, whatever `auto` would choose here. CheckpointError where the device lacks it."""
        name = state["name"]
        if name != self.name:
            try:
                check_precision(name, self.device)
            except ConfigError as error:
                raise CheckpointError(f"resume: the run began in {name}, which this device has not; resume it where it began") from error
            self.name, self.dtype, self.reason = name, _DTYPES.get(name), "as the run began"
        if self.scaler is not None and state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
