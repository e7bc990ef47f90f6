"""Losses that were made for many classes: the tree of hierarchical softmax, and negative sampling.

B batch, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recipes.config.types import PositiveFloat, PositiveInt
from recipes.data.facts import Task
from recipes.errors import ConfigError
from recipes.losses.base import Loss
from recipes.losses.weights import check_shapes, raised
from recipes.models.fused import Objective
from recipes.priors import Declaration


class HierarchicalSoftmax(Loss):
    """-log P(y) under a Huffman tree over the classes (Joulin et al. 2016, section 2.1).

    The model's head is the tree, and its logits are log P: this loss takes them as they come. A step that follows only the way to y costs
    log2(C) products in the place of C. The tree suits hundreds of classes and more: a rare class has the longest way, and errors add up.
    """

    tasks: ClassVar[tuple[Task, ...]] = ("binary", "multiclass")

    def forward(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        check_shapes(logits_BC, targets)
        return F.cross_entropy(raised(logits_BC), targets, reduction="none")

    def objective(self) -> Objective:
        return Objective("hierarchical")

    @classmethod
    def asks_of_model(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {"head": "hierarchical"}


class NegativeSampling(Loss):
    """-log s(z_y) - sum of log s(-z_j) over `negatives` classes j other than y (Mikolov et al. 2013, equation 4).

    They are drawn in proportion to `count ** power`; fastText's classifier has 5 and the root. Here the expectation over the draws is
    taken, which has the same gradient on average and none of their noise: where all logits are there anyway it costs nothing. A step
    without autograd draws. Logits are scores: the sigmoid of one means how it compares with noise, and they are no distribution.
    """

    tasks: ClassVar[tuple[Task, ...]] = ("binary", "multiclass")
    scores: ClassVar[bool] = True

    def __init__(self, task: Task, class_counts: np.ndarray, *, negatives: PositiveInt = 5, power: PositiveFloat = 0.5) -> None:
        super().__init__(task)
        self.negatives = negatives
        noise_C = np.asarray(class_counts, dtype=np.float64) ** power
        if np.count_nonzero(noise_C) < 2:
            raise ConfigError("loss=negative_sampling: negatives are drawn from the other classes, and train has rows of one class only")
        self.noise_C: Tensor
        self.register_buffer("noise_C", torch.from_numpy(noise_C / noise_C.sum()))

    def forward(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        check_shapes(logits_BC, targets)
        z_BC = raised(logits_BC)
        noise_C = self.noise_C.to(z_BC.dtype)
        no_BC = F.softplus(z_BC) * noise_C
        others_B = no_BC.sum(1) - no_BC.gather(1, targets[:, None]).squeeze(1)
        yes_B = F.softplus(-z_BC.gather(1, targets[:, None])).squeeze(1)
        return yes_B + self.negatives * others_B / (1 - noise_C[targets])

    def objective(self) -> Objective:
        return Objective("negative_sampling", negatives=self.negatives, noise_C=self.noise_C.cpu().numpy())

    def declares(self) -> Declaration:
        return Declaration(link="sigmoid", approximate="loss=negative_sampling compares a class with noise, and fits no distribution")
