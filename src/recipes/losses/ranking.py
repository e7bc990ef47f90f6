"""Losses on the area under the ROC curve: positives are to score above negatives of the same window.

B batch, C classes or labels, P positives and N negatives of one label.
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
    over pairs. Time and memory grow with P N of each label.
    """

    option = "pairwise_auc"

    def __init__(self, task: Task, *, margin: PositiveFloat = 1.0) -> None:
        super().__init__(task, margin)

    def one_label(self, z_B: Tensor, side_B: Tensor) -> Tensor:
        cost_PN = torch.square(F.relu(self.margin - z_B[side_B][:, None] + z_B[~side_B][None, :]))
        positives, negatives = cost_PN.shape
        half = (positives + negatives) / 2
        loss_B = torch.zeros_like(z_B).masked_scatter(side_B, cost_PN.mean(dim=1) * (half / positives))
        return loss_B.masked_scatter(~side_B, cost_PN.mean(dim=0) * (half / negatives))


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
