"""How many rows each class shall have: the setting `ratio`, the same for every sampler that grows or shrinks classes.

C classes.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np

from recipes.config.types import PositiveInt, Range
from recipes.errors import ConfigError, did_you_mean

Ratio = Literal["auto"] | Annotated[float, Range(gt=0, le=1)] | dict[str, PositiveInt]


def named(ratio: Ratio, class_names: tuple[str, ...]) -> Ratio:
    """The same with every class name a string, as YAML may read one as a number. Raises ConfigError for names that no class has."""
    if not isinstance(ratio, dict):
        return ratio
    for name in ratio:
        if str(name) not in class_names:
            raise ConfigError(f"sampler.ratio: there is no class '{name}'; {did_you_mean(str(name), class_names)}")
    return {str(name): count for name, count in ratio.items()}


def growth(ratio: Ratio, counts: np.ndarray, class_names: tuple[str, ...]) -> np.ndarray:
    """(C,) int64 rows to add to each class.

    `auto`: every class grows to the largest; a number: to that share of it, which in binary tasks is imbalanced-learn's
    `sampling_strategy`; a mapping: from a class to the rows that it grows to. A class without a row has nothing to grow from and stays
    empty. Raises ConfigError for a mapping that asks for fewer rows than there are.
    """
    if not isinstance(ratio, dict):
        share = 1.0 if ratio == "auto" else ratio
        return np.where(counts > 0, np.maximum(0, (share * counts.max() - counts).astype(np.int64)), 0)
    missing = np.zeros_like(counts)
    for name, target in ratio.items():
        which = class_names.index(name)
        if not 0 < counts[which] <= target:
            raise ConfigError(
                f"sampler.ratio.{name}: cannot grow to {target} rows, since the class has {counts[which]} in train and rows are only added "
                f"to rows that are there; leave the class out" + (f" or give at least {counts[which]}" if counts[which] else "")
            )
        missing[which] = target - counts[which]
    return missing


def shrink(ratio: Ratio, counts: np.ndarray, class_names: tuple[str, ...]) -> np.ndarray:
    """(C,) int64 rows to keep of each class.

    `auto`: as many as the smallest class has; a number: until the smallest has that share of each, which in binary tasks is
    imbalanced-learn's `sampling_strategy`; a mapping: from a class to the rows that it keeps. Empty classes do not count as the smallest.
    Raises ConfigError for a mapping that asks for more rows than there are.
    """
    if not isinstance(ratio, dict):
        share = 1.0 if ratio == "auto" else ratio
        return np.minimum(counts, int(counts[counts > 0].min() / share))
    kept = counts.copy()
    for name, target in ratio.items():
        which = class_names.index(name)
        if target > counts[which]:
            raise ConfigError(
                f"sampler.ratio.{name}: cannot keep {target} rows, since the class has {counts[which]} in train; "
                f"leave the class out, or give at most {counts[which]}"
            )
        kept[which] = target
    return kept
