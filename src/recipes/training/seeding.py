"""The global generators: seeded once, saved in checkpoints. Only dropout and weight initialisation draw from them."""

from __future__ import annotations

import os
import random
from typing import Any

import numpy as np
import torch


def seed_everything(seed: int, deterministic: bool = False) -> None:
    """Seed Python, NumPy and torch, and set or clear deterministic kernels (a sweep runs its jobs in one process)."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  libraries may draw from it; ours never do
    torch.manual_seed(seed)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = deterministic


def rng_state(device: torch.device) -> dict[str, Any]:
    """State of the generators that dropout uses, as tensors."""
    state: dict[str, Any] = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_rng_state(state: dict[str, Any], device: torch.device) -> None:
    """Restore what `rng_state` returned. A run that moved from CUDA to the CPU, or back, keeps what there is."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
