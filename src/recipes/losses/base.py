"""(logits_BC, targets) -> loss_B: one number a sample; the step reduces once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from recipes.data.facts import Task
from recipes.errors import ConfigError
from recipes.models.fused import Objective
from recipes.priors import Declaration


class Loss(nn.Module):
    """A loss without reduction.

    logits_BC: (B, C) float; half precision is raised to float32, float64 stays. targets: (B,) int64 class index, or (B, C) float in
    [0, 1] for multi-label. Returns (B,): for multi-label the mean over labels. Class weights are part of the number.

    Among the facts that a constructor may name are `class_counts` and `train_rows`, of the train rows as they are, and `sampled_counts` and
    `sampled_rows`, of one epoch as the sampler deals it. Weights and adjustments that are to balance the classes come from the latter, so
    that nothing is balanced twice.
    """

    tasks: ClassVar[tuple[Task, ...]] = ("binary", "multiclass", "multilabel")
    # Whether the loss of a sample depends on the others: the step then shows it a whole window at once, however that is cut for memory.
    batchwise: ClassVar[bool] = False
    # Whether the logits are fitted to rank or to separate, so that no cut at 1/2 and no log loss means anything before calibration.
    scores: ClassVar[bool] = False
    # False until `reweight.start`: class weights are then 1 and adjustments 0. What a loss is apart from these stays.
    active: bool = True

    def __init__(self, task: Task) -> None:
        super().__init__()
        if task not in self.tasks:
            others = "loss=cross_entropy or loss=focal"
            if task == "multilabel":
                others = "loss=asl, loss=db, loss=bce (loss=ova), loss=weighted_bce or loss=focal"
            kind = "one class a row" if "multiclass" in self.tasks else " and ".join(self.tasks) + " tasks"
            raise ConfigError(f"loss: {type(self).__name__} is for {kind}, and this task is {task}; use {others}")
        self.task = task

    def forward(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        """loss_B, class weights included."""
        raise NotImplementedError

    def difficulty(self, logits_BC: Tensor, targets: Tensor) -> Tensor:
        """loss_B without class weights: what mining ranks by. The same as `forward` for a loss that has none."""
        return self(logits_BC, targets)

    def objective(self) -> Objective | None:
        """The loss, as `active` has it now, in the terms of a step without autograd; None where no kernel knows it."""
        return None

    def declares(self) -> Declaration:
        """What the loss, as `active` has it now, does to the posterior that a network fits: the loss's part of the prior ledger."""
        return Declaration()

    @property
    def rebalances(self) -> bool:
        """Whether there is anything that `active` turns off."""
        return False

    @property
    def explicit_weights(self) -> bool:
        """Whether the user gave class weights as numbers, which know nothing of what a sampler deals."""
        return False

    @classmethod
    def asks_of_model(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Settings that the model must have for a loss with these (checked) settings, such as a head of cosines."""
        return {}
