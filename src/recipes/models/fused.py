"""What a model offers that can train without autograd: forward, loss and update of row after row in one compiled kernel.

N rows, C classes or labels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from recipes.data.split import TrainSplit

Form = Literal["softmax", "sigmoid", "hierarchical", "negative_sampling"]


@dataclass(frozen=True)
class Objective:
    """A loss in the terms of a kernel: the loss of a row is `weights_C[y]` times its form.

    softmax            -log softmax(z)_y
    sigmoid            the mean over labels of binary cross-entropies, positive terms times `positive_C`
    hierarchical       -log P(y), the product of a Huffman tree's decisions on the way to y
    negative_sampling  -log s(z_y) - the sum of log s(-z_j) over `negatives` labels j other than y, drawn in proportion to `noise_C`
    """

    form: Form
    weights_C: np.ndarray | None = None  # 1 where None
    positive_C: np.ndarray | None = None  # 1 where None
    negatives: int = 0
    noise_C: np.ndarray | None = None


# (split, rows (N,), rates (N,) float32, objective, seed, first) -> loss_N float32, each before the row's own update.
#
# A row's update is a step of plain gradient descent on its loss, its class weight included, of the length `rate`. What is drawn depends on
# the seed and on the row's number, which is `first` for the first: how rows are cut into calls changes nothing. The same arguments give
# the same result on one thread.
FusedUpdate = Callable[[TrainSplit, np.ndarray, np.ndarray, Objective, int, int], np.ndarray]
