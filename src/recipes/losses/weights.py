"""Class weights and adjustments from counts, and the shapes that losses accept.

B batch, C classes or labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from recipes.config.types import NonNegativeFloat
from recipes.errors import ConfigError, did_you_mean

Scheme = Literal["none", "balanced", "sqrt", "effective_number"]
Weights = Scheme | list[NonNegativeFloat] | dict[str, NonNegativeFloat]


def class_weights(
    scheme: Scheme | Sequence[float] | Mapping[str, float],
    class_counts: np.ndarray,
    class_names: Sequence[str],
    beta: float = 0.999,
    where: str = "loss.weights",
) -> Tensor:
    """(C,) float64 weights w with sum_y n_y w_y / N = 1 over the counted rows, so that the learning rate means what it means without them.

    balanced: N / (C n_y), as scikit-learn does. sqrt: its square root. effective_number: (1 - beta) / (1 - beta^n_y) (Cui et al. 2019,
    equation 3). A list gives one weight a class, in the order of the classes; a mapping names classes, the others weigh 1. A class
    without rows weighs 1: no weight of it can matter, and an infinite one would. Raises ConfigError, naming `where`, when given
    weights do not fit the classes.
    """
    counts = np.asarray(class_counts, dtype=np.float64)
    seen = counts > 0
    safe = np.where(seen, counts, 1.0)
    if isinstance(scheme, str):
        if scheme == "balanced":
            raw = safe.sum() / (len(counts) * safe)
        elif scheme == "sqrt":
            raw = np.sqrt(safe.sum() / (len(counts) * safe))
        elif scheme == "effective_number":
            # expm1 and log1p keep the digits that 1 - beta^n loses for beta near one
            raw = (1 - beta) / -np.expm1(safe * np.log(beta)) if beta > 0 else np.ones_like(safe)
        else:
            raw = np.ones_like(safe)
    else:
        raw = _given(scheme, class_names, where)
    raw = np.where(seen, raw, 1.0)
    mean = (raw * counts).sum() / max(counts.sum(), 1.0)
    if mean <= 0:
        raise ConfigError(f"{where}: every class of the train split would weigh 0")
    return torch.from_numpy(np.where(seen, raw / mean, 1.0))


def label_weights(scheme: Scheme, label_counts: np.ndarray, rows: float, beta: float) -> Tensor:
    """(2, C) float64 weights of the rows without (0) and with (1) each label, of mean 1 over the rows; schemes as in `class_weights`."""
    sides = np.stack([rows - np.asarray(label_counts, dtype=np.float64), np.asarray(label_counts, dtype=np.float64)], axis=1)
    return torch.stack([class_weights(scheme, pair, ("without", "with"), beta) for pair in sides], dim=1)


def at_least_the_rarest(counts: np.ndarray) -> np.ndarray:
    """(C,) float64 counts in which a class without rows counts as the rarest that has some: margins and priors stay finite."""
    counts = np.asarray(counts, dtype=np.float64)
    return np.maximum(counts, counts[counts > 0].min(initial=max(counts.max(initial=0.0), 1.0)))


def log_prior(counts: np.ndarray) -> np.ndarray:
    """(C,) logarithms of the class shares, all finite."""
    counts = at_least_the_rarest(counts)
    return np.asarray(np.log(counts / counts.sum()))


def uneven(values: Tensor, neutral: float = 1.0) -> bool:
    """Whether any weight (or adjustment) differs from the neutral one by more than rounding."""
    return bool(((values - neutral).abs() > 1e-12).any())


def plain(values: Tensor) -> np.ndarray:
    """A buffer as float64 numpy, for what a loss declares."""
    return values.detach().cpu().double().numpy()


def _given(weights: Sequence[float] | Mapping[str, float], class_names: Sequence[str], where: str) -> np.ndarray:
    if isinstance(weights, Mapping):
        unknown = [str(n) for n in weights if str(n) not in class_names]
        if unknown:
            raise ConfigError(f"{where}: '{unknown[0]}' is not a class; {did_you_mean(unknown[0], class_names)}")
        by_name = {str(n): w for n, w in weights.items()}
        values = np.array([by_name.get(n, 1.0) for n in class_names], dtype=np.float64)
    else:
        if len(weights) != len(class_names):
            raise ConfigError(
                f"{where}: {len(weights)} weights for {len(class_names)} classes ({_some(class_names)}); "
                "give one for each class, or a scheme such as balanced"
            )
        values = np.array(weights, dtype=np.float64)
    if (values < 0).any():
        raise ConfigError(f"{where}: {values.min():g} is negative; weights are at least 0")
    return values


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")


def check_shapes(logits_BC: Tensor, targets: Tensor) -> None:
    """A (B,) beside a (B, 1) would silently broadcast to B x B losses: refuse anything but the two legal pairs."""
    if targets.dim() == 1 and not targets.is_floating_point() and logits_BC.dim() == 2 and len(logits_BC) == len(targets):
        return
    if targets.dim() == 2 and logits_BC.shape == targets.shape:
        return
    raise ValueError(
        f"logits {tuple(logits_BC.shape)} and targets {tuple(targets.shape)} ({targets.dtype}) do not fit: expected (B, C) with class "
        "indices (B,), or with labels (B, C)"
    )


def raised(logits_BC: Tensor) -> Tensor:
    """Half precision as float32; float32 and float64 as they are."""
    return logits_BC if logits_BC.dtype == torch.float64 else logits_BC.float()
