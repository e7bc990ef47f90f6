"""Pooling by attention (Yang et al. 2016, "Hierarchical Attention Networks for Document Classification", equations 5 to 7).

B batch, T positions, H hidden.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class AttentionPool(nn.Module):
    """u = tanh(W h + b), a = softmax(u . c) over the open positions of a row, sum of a h. c is a learned context vector of width H."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, width)
        self.context = nn.Parameter(torch.empty(width).uniform_(-1, 1) / math.sqrt(width))

    def forward(self, states_BTH: Tensor, open_BT: Tensor) -> tuple[Tensor, Tensor]:
        """(B, H) and the weights (B, T), which sum to one over each row's open positions and are zero elsewhere.

        Each row must have an open position.
        """
        scores_BT = torch.tanh(self.project(states_BTH)) @ self.context
        weights_BT = scores_BT.masked_fill(~open_BT, -math.inf).softmax(1)
        return (weights_BT[:, None].to(states_BTH.dtype) @ states_BTH).squeeze(1), weights_BT
