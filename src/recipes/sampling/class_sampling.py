"""A class first, then one of its rows: epochs in which the shares of the classes are not the data's.

P pools: the classes that have rows, n_j their rows.
"""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np

from recipes.config.types import Range
from recipes.data.facts import Task
from recipes.sampling.quotas import SEVERAL_LABELS, EpochSize, Quotas, require_single_label


class ClassShares(Quotas):
    """Deals the classes in given shares of an epoch; subclasses say which.

    Multi-label: the labels are dealt in these shares, n_j being the rows that have label j, and for each draw a row that has it; rows
    without any label count as one more label.

    epoch_size: samples of an epoch. `natural`: as many as the plan has. `majority`: until the largest class was seen once as a whole.
    `minority`: until the smallest was. Or a number.
    """

    def __init__(self, *, epoch_size: EpochSize = "natural") -> None:
        super().__init__()
        self.epoch_size = epoch_size

    def shares(self, sizes_P: np.ndarray, progress: float) -> np.ndarray:
        """(P,) float64 shares of each class, which sum to one, from their numbers of rows."""
        raise NotImplementedError

    def quotas(self, labels: np.ndarray, classes: list[np.ndarray], progress: float) -> np.ndarray:
        sizes_P = np.array([len(pool) for pool in classes], dtype=np.float64)
        return self._total(sizes_P, len(labels)) * self.shares(sizes_P, progress)

    def _total(self, sizes_P: np.ndarray, natural: int) -> int:
        if isinstance(self.epoch_size, int):
            return self.epoch_size
        if self.epoch_size == "natural":
            return natural
        # Shares that move are taken where they end, so that all epochs are equally long.
        whole_P = sizes_P / self.shares(sizes_P, 1.0)
        return round(float(whole_P[sizes_P.argmax() if self.epoch_size == "majority" else sizes_P.argmin()]))


class ClassSampling(ClassShares):
    """Classes in shares p_j ~ n_j^power (Kang et al. 2020, eq. 1): 1 is natural, 1/2 square-root, 0 class-balanced sampling.

    Unlike `balanced_batch` it promises shares over an epoch, not in each batch.
    """

    def __init__(
        self, task: Task = "multiclass", *, power: Annotated[float, Range(ge=0, le=1)] = 0.0, epoch_size: EpochSize = "natural"
    ) -> None:
        super().__init__(epoch_size=epoch_size)
        self.power = power
        if task == "multilabel":
            self.approximate = SEVERAL_LABELS

    def shares(self, sizes_P: np.ndarray, progress: float) -> np.ndarray:
        weights_P = sizes_P**self.power
        return weights_P / weights_P.sum()


class EffectiveNumber(ClassShares):
    """Each row with weight (1 - beta) / (1 - beta^n_j), the inverse of its class's effective number (Cui et al. 2019): p_j ~ n_j / E_j.

    beta 0 is natural sampling, and beta close to 1 class-balanced; in between, classes of more than some 1 / (1 - beta) rows are balanced,
    and smaller ones keep their proportions.
    """

    def __init__(
        self, task: Task = "multiclass", *, beta: Annotated[float, Range(ge=0, lt=1)] = 0.9999, epoch_size: EpochSize = "natural"
    ) -> None:
        super().__init__(epoch_size=epoch_size)
        self.beta = beta
        if task == "multilabel":
            self.approximate = SEVERAL_LABELS

    def shares(self, sizes_P: np.ndarray, progress: float) -> np.ndarray:
        # 1 - beta^n through expm1: the power has no digits left where beta is close to 1. The factor 1 - beta cancels.
        logarithm = math.log(self.beta) if self.beta else -math.inf
        weights_P = sizes_P / -np.expm1(sizes_P * logarithm)
        return weights_P / weights_P.sum()


class Progressive(ClassShares):
    """From natural to class-balanced: p_j(t) = (1 - t) n_j / N + t / C, with t the share of the training that is done (Kang et al. 2020).

    t is taken where an epoch begins. With `majority` and `minority` the length of an epoch is that of class-balanced sampling.
    """

    approximate = "the shares of the classes move while the network trains"

    def __init__(self, task: Task = "multiclass", *, epoch_size: EpochSize = "natural") -> None:
        require_single_label(task, "progressive", "natural and balanced shares of labels that share rows do not mix")
        super().__init__(epoch_size=epoch_size)

    def shares(self, sizes_P: np.ndarray, progress: float) -> np.ndarray:
        return (1 - progress) * sizes_P / sizes_P.sum() + progress / len(sizes_P)
