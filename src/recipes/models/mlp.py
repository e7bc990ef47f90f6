"""A multi-layer perceptron over tabular features or TF-IDF.

B batch, F features, K embedded categorical columns, H width of a layer, C classes or labels.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from recipes.config.types import Fraction, PositiveFloat, PositiveInt
from recipes.data.batch import Batch
from recipes.data.facts import Task
from recipes.errors import ConfigError
from recipes.models.base import Model
from recipes.models.heads import CosineHead, HeadKind, check_bias, make_head
from recipes.models.init import BiasInit, Init, init_last_bias, init_weights

_WIDTHS: list[PositiveInt] = [64, 64]
_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
}


class MLP(Model):
    """Linear, norm, activation, dropout for each of `widths`, and the head; without widths it is logistic regression.

    `residual` adds a hidden layer's input to its output where both are equally wide. Each categorical column that is not one-hot gets
    an embedding of `category_dim` numbers, by default min(50, 1.6 * levels ** 0.56).

    TF-IDF comes as weighted bags of ids: the first layer sums the rows of its weight that a text names, which is the product with the
    dense row, at the cost of the words that are there. Without widths that layer is the head, which then cannot be `cosine`.
    """

    representation = "dense"

    def __init__(
        self,
        num_classes: int,
        num_features: int,
        category_sizes: tuple[int, ...],
        sparse_features: bool,
        task: Task,
        class_counts: np.ndarray,
        train_rows: int,
        *,
        widths: list[PositiveInt] = _WIDTHS,
        activation: Literal["relu", "leaky_relu", "tanh", "sigmoid", "gelu"] = "relu",
        dropout: Fraction = 0.1,
        norm: Literal["none", "batch", "layer"] = "none",
        residual: bool = False,
        category_dim: PositiveInt | None = None,
        head: HeadKind = "linear",
        scale: PositiveFloat = 30.0,
        init: Init = "default",
        bias_init: BiasInit = "zero",
    ) -> None:
        super().__init__()
        check_bias(head, bias_init, without="zero")
        dims = [category_dim or min(50, round(1.6 * size**0.56)) for size in category_sizes]
        sizes = [num_features + sum(dims), *widths]
        self.skips = [residual and i > 0 and widths[i - 1] == width for i, width in enumerate(widths)]
        if residual and not any(self.skips):
            raise ConfigError(
                f"model.residual: no two neighbours in model.widths={list(widths)} are equal, so nothing could be added; "
                "give equal widths such as [64, 64], or model.residual=false"
            )
        self.categories = nn.ModuleList(nn.Embedding(size, dim) for size, dim in zip(category_sizes, dims, strict=True))
        linear = [nn.Linear(i, o) for i, o in pairwise(sizes)]
        linear.append(make_head(head, sizes[-1], num_classes, scale))
        init_weights(linear, init)
        if head == "linear":
            init_last_bias(linear[-1].bias, bias_init, task, class_counts, train_rows)
        layers: list[nn.Module] = [_bags(linear[0]) if sparse_features else linear[0], *linear[1:]]
        self.layers, self.head = nn.ModuleList(layers[:-1]), layers[-1]
        self.norms = nn.ModuleList(_NORMS[norm](width) for width in widths)
        self.activation = _ACTIVATIONS[activation]()
        self.dropout = nn.Dropout(dropout)

    def embed(self, batch: Batch) -> Tensor:
        """(B, F + embedded categories), or for TF-IDF the first layer's products without its bias, (B, H)."""
        first = self.layers[0] if self.skips else self.head
        if isinstance(first, BagLinear):
            return first.products(batch)
        assert batch.features_BF is not None
        parts = [batch.features_BF.to(first.weight.dtype)]  # type: ignore[arg-type]
        if batch.categories_BK is not None:
            parts += [table(column) for table, column in zip(self.categories, batch.categories_BK.unbind(1), strict=True)]
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]

    def encode(self, hidden: Tensor, batch: Batch) -> Tensor:
        """(B, H) of the last hidden layer, from what `embed` returned; without widths, just that."""
        for layer, norm, skip in zip(self.layers, self.norms, self.skips, strict=True):
            out = self.dropout(self.activation(norm(layer(hidden))))
            hidden = hidden + out if skip else out
        return hidden


class BagLinear(nn.Module):
    """A linear layer over rows that are given as bags of weighted ids; its weight lies as (F, H), so that a bag reads whole rows."""

    def __init__(self, dense: nn.Linear) -> None:
        super().__init__()
        self.weight = nn.Parameter(dense.weight.detach().t().contiguous())
        self.bias = dense.bias

    def products(self, batch: Batch) -> Tensor:
        """(B, H): each row's features times the weight."""
        assert batch.ids is not None
        assert batch.values is not None
        values = batch.values.to(self.weight.dtype)
        return functional.embedding_bag(
            batch.ids, self.weight, batch.offsets, mode="sum", per_sample_weights=values, include_last_offset=True
        )

    def forward(self, products_BH: Tensor) -> Tensor:
        """The layer's output from its products. Between the two, rows may be mixed."""
        return products_BH + self.bias


def _bags(first: nn.Linear) -> BagLinear:
    if isinstance(first, CosineHead):
        raise ConfigError(
            "model.head: with model.widths=[] the head sums rows of its weight over the words of a text, and has no features to bring to "
            "length one; give a hidden layer, as in model.widths=[64], or model.head=linear"
        )
    return BagLinear(first)


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation (Ioffe & Szegedy 2015) that survives a training batch of one row.

    One row has no variance: it is normalised with the running statistics, as in evaluation, and leaves these as they are. Statistics
    are those of a micro-batch, so with this norm accumulated batches do not equal a large one.
    """

    def forward(self, input: Tensor) -> Tensor:
        if self.training and len(input) == 1:
            return functional.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(input)


_NORMS: dict[str, Callable[[int], nn.Module]] = {"none": nn.Identity, "batch": BatchNorm, "layer": nn.LayerNorm}
