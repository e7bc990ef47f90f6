"""Mixtures of two samples and of their labels, in the place of the samples.

B batch, C classes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from torch import Tensor

from recipes.augmentation.base import Augment, refuse_mixtures
from recipes.augmentation.tensors import Constant, send
from recipes.config.types import Length, PositiveFloat, Probability, Range
from recipes.data.batch import Batch
from recipes.data.facts import Task
from recipes.errors import ConfigError

Layer = Literal["embedding", "hidden"]
_LAYERS: list[Layer] = ["embedding", "hidden"]


class Mixup(Augment):
    """x = lam x_i + (1 - lam) x_j with the labels in the same proportion, lam ~ Beta(alpha, alpha) (Zhang et al. 2018).

    Each sample has a lam of its own and a partner from a random permutation of the window. Dense models mix features, token models the
    embedded texts, the shorter continued by zeros (Guo et al. 2019, "wordMixup"). The loss is lam loss(y_i) + (1 - lam) loss(y_j), which
    for cross-entropy is that of the mixed label. A mixture weighs as much as its own row does.
    """

    option = "mixup"
    mixes = True
    approximate = "samples and their labels are mixed"

    def __init__(self, *, alpha: PositiveFloat = 0.2) -> None:
        self.alpha = alpha
        self.layers: list[Layer] = ["embedding"]

    def __call__(self, batch: Batch, rng: np.random.Generator) -> Batch:
        refuse_mixtures(batch, self.option)
        device = batch.rows.device
        partner = batch.take(send(rng.permutation(len(batch)), device))
        lam = rng.beta(self.alpha, self.alpha, size=len(batch))
        mix_B2 = send(np.stack([lam, 1 - lam], axis=1).astype(np.float32), device)
        layer = self.layers[rng.integers(len(self.layers))]
        share_B = self.share(mix_B2, batch.targets, partner.targets)
        return replace(batch, partner=partner, mix_B2=mix_B2, mix_at=layer, share_B=share_B)

    def share(self, mix_B2: Tensor, own: Tensor, other: Tensor) -> Tensor:
        """(B,) share of the row's own label, from the coefficients and the targets of both rows."""
        return mix_B2[:, 0]


class ManifoldMixup(Mixup):
    """Mixup in a layer that is drawn for each update (Verma et al. 2019).

    layers: `embedding`, where `mixup` mixes, and `hidden`, what the last layer reads; [hidden] alone is Guo et al.'s (2019) "senMixup".
    """

    option = "manifold_mixup"

    def __init__(self, *, alpha: PositiveFloat = 0.2, layers: Annotated[list[Layer], Length(1)] = _LAYERS) -> None:
        super().__init__(alpha=alpha)
        self.layers = list(layers)


class Remix(Mixup):
    """Mixup whose label goes to the rarer class where the two differ much in size (Chou et al. 2020).

    With n_i and n_j train rows of the classes of x_i and x_j, the share of y_i is 0 if n_i >= kappa n_j and lam < tau, 1 if
    n_j >= kappa n_i and 1 - lam < tau, and lam otherwise. tau = 0 is mixup.

    Raises ConfigError for multi-label tasks: a set of labels has no size.
    """

    option = "remix"

    def __init__(
        self,
        task: Task,
        class_counts: np.ndarray,
        *,
        alpha: PositiveFloat = 0.2,
        kappa: Annotated[float, Range(ge=1)] = 3.0,
        tau: Probability = 0.5,
    ) -> None:
        if task == "multilabel":
            raise ConfigError(
                "augment=remix: it compares the sizes of two classes, so it is for tasks with one class a row, and this one is "
                "multi-label; use augment=mixup"
            )
        super().__init__(alpha=alpha)
        self.kappa, self.tau = kappa, tau
        self._counts_C = Constant(np.asarray(class_counts, dtype=np.float64))

    def share(self, mix_B2: Tensor, own: Tensor, other: Tensor) -> Tensor:
        counts_C = self._counts_C.on(own.device)
        own_B, other_B = counts_C[own], counts_C[other]
        to_other_B = (own_B >= self.kappa * other_B) & (mix_B2[:, 0] < self.tau)
        to_own_B = (other_B >= self.kappa * own_B) & (mix_B2[:, 1] < self.tau)
        return mix_B2[:, 0].masked_fill(to_own_B, 1.0).masked_fill(to_other_B, 0.0)
