"""Losses on the area under the ROC curve: positives are to score above negatives of the same window.

B batch, C classes or labels, P positives and N negatives of one label, K and L rows of either side.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from recipes.config.types import PositiveFloat
from recipes.data.facts import Task
from recipes.losses.base import Loss
from recipes.losses.binary import margins
from recipes.priors import Declaration


class _Ranking(Loss):
    """The mean over the labels of which the window has both sides (binary: one; multiclass: each class against the rest).

    A window in which no label has both gives 0 and no gradient. Labels of mixed rows count as positive above one half.
    """

    batchwise = True
    scores = True
    option: str

    def __init__(self, task: Task, margin: float) -> None:
        super().__init__(task)
        self.margin = margin

    def forward(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        z_BC, y_BC = margins(logits_BC, targets, self.task)
        sides = [(z_B, y_B > 0.5) for z_B, y_B in zip(z_BC.unbind(1), y_BC.unbind(1), strict=True)]
        losses = [self.one_label(z_B, side_B) for z_B, side_B in sides if 0 < int(side_B.sum()) < len(side_B)]
        # Times 0: a window without pairs still needs a graph to go backward through.
        return torch.stack(losses).mean(dim=0) if losses else (z_BC * 0).sum(dim=1)

    def one_label(self, z_B: Tensor, side_B: Tensor) -> Tensor:
        """loss_B of one label, of which both sides are there."""
        raise NotImplementedError

    def declares(self) -> Declaration:
        return Declaration(approximate=f"loss={self.option} ranks and fits no probabilities")


class PairwiseAUC(_Ranking):
    """max(0, margin - (z_i - z_j))^2, the mean over all pairs of a positive i and a negative j (Gao and Zhou 2015; squared hinge).

    It bounds 1 - AUC of the window from above (margin 1). Each of a pair's two rows carries half of it, so that the mean over rows is that
    over pairs. Costs a sort for each label and no P x N matrix of pairs, since the loss of a whole split is computed as well.
    """

    option = "pairwise_auc"

    def __init__(self, task: Task, *, margin: PositiveFloat = 1.0) -> None:
        super().__init__(task, margin)

    def one_label(self, z_B: Tensor, side_B: Tensor) -> Tensor:
        lack_P, z_N = self.margin - z_B[side_B], z_B[~side_B]  # a pair costs the square of their sum, where that is above 0
        cost_P, cost_N = _mean_square(lack_P, z_N).to(z_B.dtype), _mean_square(z_N, lack_P).to(z_B.dtype)
        half = len(z_B) / 2
        loss_B = torch.zeros_like(z_B).masked_scatter(side_B, cost_P * (half / len(cost_P)))
        return loss_B.masked_scatter(~side_B, cost_N * (half / len(cost_N)))


def _mean_square(a_K: Tensor, b_L: Tensor) -> Tensor:
    """(K,) float64: the mean over l of max(0, a_k + b_l)^2.

    The b that make a sum positive are the largest ones, so running sums of these and of their squares give it: a sort, not K x L terms.
    """
    middle = b_L.detach().double().mean()  # squares of numbers far from 0 would cancel
    a_K, falling_L = a_K.double() + middle, (b_L.double() - middle).sort(descending=True).values
    count_K = torch.searchsorted(-falling_L.detach(), a_K.detach())
    sums_K, squares_K = (F.pad(terms_L.cumsum(0), (1, 0))[count_K] for terms_L in (falling_L, torch.square(falling_L)))
    return (count_K * torch.square(a_K) + 2 * a_K * sums_K + squares_K) / len(falling_L)


class AUCMargin(_Ranking):
    """Var+ + Var- + max(0, margin + E-[h] - E+[h])^2 on h = s(z) (AUC margin loss; Yuan et al. 2021).

    The min-max form has three more variables, E+[(h - a)^2] + E-[(h - b)^2] + 2 alpha (margin + E-[h] - E+[h]) - alpha^2, and an optimizer
    of its own. For a window they have a closed form, a = E+[h], b = E-[h], alpha = max(0, margin + b - a), which this is: any optimizer
    will do, and the price is that means are those of the window, not of the whole train split. Best with windows that hold enough of both
    sides, and begun from weights that cross-entropy has trained.
    """

    option = "auc_margin"

    def __init__(self, task: Task, *, margin: PositiveFloat = 1.0) -> None:
        super().__init__(task, margin)

    def one_label(self, z_B: Tensor, side_B: Tensor) -> Tensor:
        h_B = torch.sigmoid(z_B)
        above, below = h_B[side_B].mean(), h_B[~side_B].mean()
        positives = side_B.sum()
        share_B = torch.where(side_B, len(h_B) / positives, len(h_B) / (len(h_B) - positives))
        return share_B * torch.square(h_B - torch.where(side_B, above, below)) + torch.square(F.relu(self.margin + below - above))
