"""The last layer: features_BH -> logits_BC.

B batch, H width of what the head reads, C classes or labels.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from recipes.errors import ConfigError

HeadKind = Literal["linear", "cosine"]

_EPS = 1e-6


def make_head(kind: HeadKind, in_features: int, num_classes: int, scale: float, bias: bool = True) -> nn.Linear:
    """A linear layer, with or without `bias`, or a `CosineHead`, which has none and alone reads `scale`.

    Both draw the same first weights from torch's global generator: U(-1, 1) / sqrt(in_features).
    """
    if kind == "cosine":
        return CosineHead(in_features, num_classes, scale)
    return nn.Linear(in_features, num_classes, bias=bias)


def check_bias(kind: HeadKind, bias_init: str, without: str) -> None:
    """ConfigError where `bias_init` asks for a bias that a cosine head does not have; `without` is the value that asks for none."""
    if kind == "cosine" and bias_init != without:
        raise ConfigError(
            f"model.bias_init: '{bias_init}' is for a bias, and a cosine head has none; use model.bias_init={without}, or model.head=linear"
        )


class CosineHead(nn.Linear):
    """scale * cos(w_y, x): linear, of features and class weights of length one (Gidaris & Komodakis 2018; Wang et al. 2018).

    No class has a larger norm than another, however many rows it has. Losses with margins between classes are defined on it. Logits lie in
    [-scale, scale]. Features of zero have no direction: their logits are zero, and so is their gradient.
    """

    def __init__(self, in_features: int, num_classes: int, scale: float) -> None:
        super().__init__(in_features, num_classes, bias=False)
        self.scale = scale

    def forward(self, features_BH: Tensor) -> Tensor:
        return self.scale * functional.linear(_unit(features_BH), _unit(self.weight))

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, scale={self.scale:g}"


class ScaledHead(nn.Module):
    """A trained linear layer that is fixed but for one factor a class: (s_y w_y) x + b_y (Kang et al. 2020, LWS, equation 6).

    scale_C: (C,) the factors, which begin at one.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear.requires_grad_(False)
        self.scale_C = nn.Parameter(torch.ones_like(linear.weight[:, 0]))

    @property
    def weight(self) -> Tensor:
        """(C, H) s_y w_y"""
        return self.linear.weight * self.scale_C[:, None]

    def forward(self, features_BH: Tensor) -> Tensor:
        return functional.linear(features_BH, self.weight, self.linear.bias)

    @torch.no_grad()
    def folded(self) -> nn.Linear:
        """The plain linear layer with the same logits."""
        bias = self.linear.bias is not None
        plain = nn.Linear(self.linear.in_features, self.linear.out_features, bias, self.linear.weight.device, self.linear.weight.dtype)
        plain.weight.copy_(self.weight)
        if bias:
            plain.bias.copy_(self.linear.bias)
        return plain


def _unit(rows: Tensor) -> Tensor:
    """Rows of length one; a row of zeros stays, and has the gradient zero where a division by a small number would make it huge."""
    norm = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return rows * norm.clamp_min(_EPS).reciprocal().masked_fill(norm <= _EPS, 0)
