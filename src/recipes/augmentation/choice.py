"""Which samples may be changed.

B batch, C classes or labels.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import torch
from torch import Tensor

from recipes.augmentation.tensors import Constant
from recipes.config.types import Length, Range
from recipes.errors import ConfigError, did_you_mean

Only = Literal["all", "minority"] | Annotated[list[str | int], Length(1)]
Share = Annotated[float, Range(gt=0, le=1)]


class Choice:
    """The samples of the chosen classes; of multi-label rows those that have any of the chosen labels.

    only: `all`; `minority`, every class with fewer train rows than the largest; or a list of class names.

    Raises ConfigError for a name that is no class, and for `minority` where all classes are equally large.
    """

    def __init__(self, only: Only, class_names: tuple[str, ...], class_counts: np.ndarray) -> None:
        self.everything = only == "all"
        self._chosen_C = Constant(_chosen(only, class_names, np.asarray(class_counts)))

    def __call__(self, targets: Tensor) -> Tensor:
        """(B,) bool, from (B,) class indices or (B, C) labels."""
        if self.everything:
            return torch.ones(len(targets), dtype=torch.bool, device=targets.device)
        chosen_C = self._chosen_C.on(targets.device)
        return chosen_C[targets] if targets.dim() == 1 else ((targets > 0) & chosen_C).any(dim=1)


def _chosen(only: Only, class_names: tuple[str, ...], class_counts: np.ndarray) -> np.ndarray:
    """(C,) bool"""
    if only == "all":
        return np.ones(len(class_names), dtype=bool)
    if only == "minority":
        chosen_C = class_counts < class_counts.max()
        if not chosen_C.any():
            raise ConfigError(
                f"augment.only: minority leaves the largest class alone, and all {len(class_names)} classes have {class_counts.max():,} "
                f"train rows; use augment.only=all, or name classes, as in augment.only=[{class_names[0]}]"
            )
        return np.asarray(chosen_C)
    names = [str(name) for name in only]
    for name in names:
        if name not in class_names:
            raise ConfigError(f"augment.only: there is no class '{name}'; {did_you_mean(name, class_names)}")
    return np.isin(np.array(class_names), names)
