"""Device and number format: what was asked for, held against what the machine can do."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from recipes.errors import ConfigError

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


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


class Precision:
    """Autocast for the forward pass, and the gradient scaler that fp16 needs. fp32 costs nothing."""

    def __init__(self, name: str, device: torch.device) -> None:
        self.dtype = _DTYPES.get(name)
        self.device = device
        self.scaler = torch.amp.GradScaler(device.type) if name == "fp16" else None

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
        return {} if self.scaler is None else self.scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.scaler is not None and state:
            self.scaler.load_state_dict(state)
