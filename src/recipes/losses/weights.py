"""Class weights from the counts of the train split. C classes."""

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
    weights: str | Sequence[float] | Mapping[str, float], class_counts: np.ndarray, class_names: Sequence[str], beta: float, where: str
) -> Tensor:
    """(C,) float64, scaled to a mean of 1 over the train rows, so that a learning rate means what it means without weights.

    none              1
    balanced          1 / n_y
    sqrt              1 / sqrt(n_y)
    effective_number  (1 - beta) / (1 - beta^n_y) (Cui et al. 2019, equation 3)
    a list, a dict    as given: one for each class in their order, or by class name, 1 for those not named; only ratios matter

    A class without train rows is weighted as if it had one. Raises ConfigError, naming `where`, when given weights do not fit the classes.
    """
    counts_C = class_counts.astype(np.float64)
    seen_C = np.maximum(counts_C, 1)
    if not isinstance(weights, str):
        weights_C = per_class(weights, class_names, where)
    elif weights == "balanced":
        weights_C = 1 / seen_C
    elif weights == "sqrt":
        weights_C = 1 / np.sqrt(seen_C)
    elif weights == "effective_number":
        # 1 - beta^n without the cancellation for beta near 1; the factor 1 - beta goes with the scaling.
        weights_C = 1 / -np.expm1(seen_C * np.log(beta)) if beta > 0 else np.ones_like(seen_C)
    else:
        weights_C = np.ones_like(seen_C)
    mean = (counts_C * weights_C).sum() / counts_C.sum()
    if mean == 0:
        raise ConfigError(f"{where}: every class with train rows has the weight 0; give at least one of them a weight above 0")
    return torch.from_numpy(weights_C / mean)


def per_class(given: Sequence[float] | Mapping[str, float], names: Sequence[str], where: str, what: str = "class") -> np.ndarray:
    """(C,) float64: numbers in the order of `names`, or by name with 1 for the rest."""
    order = f"{', '.join(names[:10])}{', ...' if len(names) > 10 else ''}"
    if not isinstance(given, Mapping):
        if len(given) != len(names):
            raise ConfigError(
                f"{where}: {len(given)} number{'s' * (len(given) != 1)} for {len(names)} {what}{'es' if what == 'class' else 's'}; "
                f"give one for each, in this order: {order}; or by name, as in {{{names[-1]}: 2.0}}"
            )
        return np.asarray(given, dtype=np.float64)
    position = {name: i for i, name in enumerate(names)}
    values = np.ones(len(names))
    for key, value in given.items():
        if str(key) not in position:
            raise ConfigError(f"{where}: '{key}' is no {what} of the train data; {did_you_mean(str(key), names)}")
        values[position[str(key)]] = value
    return values
