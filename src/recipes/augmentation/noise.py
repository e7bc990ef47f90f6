"""Noise on the numbers of a table.

B batch, F features.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from recipes.augmentation.base import Augment, Form, refuse_mixtures
from recipes.augmentation.choice import Choice, Only
from recipes.augmentation.tensors import Constant, send
from recipes.config.types import PositiveFloat
from recipes.data.batch import Batch
from recipes.errors import ConfigError


class GaussianNoise(Augment):
    """x + N(0, std^2) on each number of the chosen samples (Bishop 1995: for small std a penalty on the model's slope).

    std counts in units of the features as the model reads them, where features.standardize has made the deviation of each 1. continuous,
    (F,) bool: which columns are numbers; one-hot columns and marks of missing values stay as they are. None: all are.

    Raises ConfigError where the data is text.
    """

    approximate = "noise is added to the features"

    def __init__(
        self,
        class_names: tuple[str, ...],
        class_counts: np.ndarray,
        form: Form,
        continuous: np.ndarray | None = None,
        *,
        std: PositiveFloat = 0.05,
        only: Only = "all",
    ) -> None:
        if form != "dense":
            raise ConfigError("augment=gaussian_noise: it is for the numbers of a table, and this data is text; choose augment=mixup")
        if continuous is not None and not np.any(continuous):
            raise ConfigError("augment=gaussian_noise: no column of this data holds numbers; choose augment=mixup")
        self.std = std
        self.choice = Choice(only, class_names, class_counts)
        self._scale_F = None if continuous is None else Constant(np.asarray(continuous, dtype=np.float32))

    def __call__(self, batch: Batch, rng: np.random.Generator) -> Batch:
        refuse_mixtures(batch, "gaussian_noise")
        assert batch.features_BF is not None
        device = batch.features_BF.device
        noise_BF = send(rng.standard_normal(tuple(batch.features_BF.shape), dtype=np.float32), device)
        noise_BF *= self.std * self.choice(batch.targets)[:, None]
        if self._scale_F is not None:
            noise_BF *= self._scale_F.on(device)
        return replace(batch, features_BF=batch.features_BF + noise_BF)
