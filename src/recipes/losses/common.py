"""What the losses share: checked inputs, and binary terms. B batch, C classes or labels, L binary decisions a sample."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from recipes.data.facts import Task
from recipes.errors import ConfigError


def require_single_label(task: Task, option: str) -> None:
    """Refuse a loss whose softmax makes classes exclude each other where rows may have several labels, or none."""
    if task == "multilabel":
        raise ConfigError(f"loss={option}: its classes exclude each other, but this task is multilabel; choose loss=bce, weighted_bce or focal")


def checked(logits_BC: Tensor, targets: Tensor, task: Task) -> Tensor:
    """The logits in at least float32. Raises ValueError for shapes that broadcasting would turn into a wrong number without a word."""
    if logits_BC.dim() != 2:
        raise ValueError(f"logits must have the shape (B, C), got {tuple(logits_BC.shape)}")
    expected = logits_BC.shape if task == "multilabel" else logits_BC.shape[:1]
    if targets.shape != expected:
        raise ValueError(f"targets of a {task} task must have the shape {tuple(expected)}, got {tuple(targets.shape)}")
    if task == "binary" and logits_BC.shape[1] != 2:
        raise ValueError(f"a binary task has two logits a sample, got {logits_BC.shape[1]}")
    if task != "multilabel" and targets.dtype != torch.int64:
        raise ValueError(f"targets of a {task} task are class indices of type int64, got {targets.dtype}")
    return logits_BC.float() if logits_BC.dtype in (torch.float16, torch.bfloat16) else logits_BC


def binary_terms(logits_BC: Tensor, targets: Tensor, task: Task) -> tuple[Tensor, Tensor]:
    """Logits and 0/1 targets of the yes-or-no questions of each sample, both (B, L).

    binary: one question, the margin z1 - z0 for class 1; multiclass: one against the rest for each class; multilabel: each label.
    """
    logits_BC = checked(logits_BC, targets, task)
    if task == "binary":
        return (logits_BC[:, 1] - logits_BC[:, 0])[:, None], targets[:, None].to(logits_BC.dtype)
    if task == "multiclass":
        return logits_BC, functional.one_hot(targets, logits_BC.shape[1]).to(logits_BC.dtype)
    return logits_BC, targets.to(logits_BC.dtype)
