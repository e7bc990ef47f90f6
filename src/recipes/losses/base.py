"""(logits_BC, targets) -> loss_B: one number a sample; the step reduces once."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from recipes.data.facts import Task
from recipes.errors import ConfigError


class Loss(nn.Module):
    """A loss without reduction.

    logits_BC: (B, C) float; half precision is raised to float32, float64 stays. targets: (B,) int64 class index, or (B, C) float in
    [0, 1] for multi-label. Returns (B,): for multi-label the mean over labels. Class weights are part of the number.
    """

    tasks: ClassVar[tuple[Task, ...]] = ("binary", "multiclass", "multilabel")

    def __init__(self, task: Task) -> None:
        super().__init__()
        if task not in self.tasks:
            raise ConfigError(
                f"loss: {type(self).__name__} is for one class a row, and this task is {task}; "
                "use loss=bce, loss=weighted_bce or loss=focal"
            )
        self.task = task

    def forward(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        """loss_B, class weights included."""
        raise NotImplementedError

    def difficulty(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        """loss_B without class weights: what mining ranks by. The same as `forward` for a loss that has none."""
        return self(logits_BC, targets)
