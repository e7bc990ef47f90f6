"""First weights: the named schemes, and a last bias that starts from the class prior. C classes or labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from recipes.data.facts import Task

Init = Literal["default", "xavier_uniform", "xavier_normal", "he_uniform", "he_normal", "orthogonal"]
BiasInit = Literal["zero", "prior"]

_SCHEMES: dict[str, Callable[[Tensor], Tensor]] = {
    "xavier_uniform": nn.init.xavier_uniform_,
    "xavier_normal": nn.init.xavier_normal_,
    "he_uniform": partial(nn.init.kaiming_uniform_, nonlinearity="relu"),
    "he_normal": partial(nn.init.kaiming_normal_, nonlinearity="relu"),
    "orthogonal": nn.init.orthogonal_,
}


def init_weights(layers: Iterable[nn.Linear | nn.Conv2d], scheme: Init) -> None:
    """Draw the weights of linear and convolution layers from torch's global generator, and set their biases to zero.

    default          torch's own, biases included: U(-1, 1) / sqrt(fan_in), which is not He's
    xavier_uniform   U(-a, a), a = sqrt(6 / (fan_in + fan_out)); xavier_normal: the same variance (Glorot & Bengio 2010)
    he_uniform       U(-a, a), a = sqrt(6 / fan_in); he_normal: N(0, 2 / fan_in) (He et al. 2015)
    orthogonal       orthonormal rows or columns (Saxe et al. 2014)
    """
    if scheme == "default":
        return
    for layer in layers:
        _SCHEMES[scheme](layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


@torch.no_grad()
def init_last_bias(bias_C: Tensor, kind: BiasInit, task: Task, class_counts: np.ndarray, train_rows: int) -> None:
    """Fill the bias of the last layer, whatever the scheme of the weights: `zero`, or the `prior` of the train rows as they were read.

    With `prior` the first softmax (for multi-label, the first sigmoids) are the class frequencies, so the first steps do not go into
    learning these (Lin et al. 2017, section 3.3). Sampling changes what a network converges to, not where this lets it start.
    """
    bias_C.copy_(prior_logits(task, class_counts, train_rows) if kind == "prior" else torch.zeros_like(bias_C))


def prior_logits(task: Task, class_counts: np.ndarray, train_rows: int) -> Tensor:
    """(C,) float64: log pi_y of a single-label task, logit(pi_y) of a multi-label one. A class without rows counts as half a row."""
    counts_C = np.clip(class_counts.astype(np.float64), 0.5, train_rows - 0.5)
    rest = train_rows - counts_C if task == "multilabel" else train_rows
    return torch.from_numpy(np.log(counts_C / rest))
