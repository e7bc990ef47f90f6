"""Draws and constants on the device of a batch: numbers are drawn on the host, so that every device sees the same."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class Constant:
    """An array that follows the batches to their device, and is sent there once."""

    def __init__(self, array: np.ndarray) -> None:
        self._tensor = torch.from_numpy(np.ascontiguousarray(array))

    def on(self, device: torch.device) -> Tensor:
        if self._tensor.device != device:
            self._tensor = self._tensor.to(device)
        return self._tensor


def send(array: np.ndarray, device: torch.device) -> Tensor:
    """To the device without waiting for it: only a copy from pinned memory is asynchronous."""
    tensor = torch.from_numpy(array)
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


def uniform(rng: np.random.Generator, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Float32 draws from U[0, 1)."""
    return send(rng.random(shape, dtype=np.float32), device)


def pick(u: Tensor, size: Tensor) -> Tensor:
    """int64 draws from 0..size-1 out of draws from U[0, 1); 0 where there is nothing to pick."""
    return (u * size).long().minimum(size - 1).clamp_min(0)
