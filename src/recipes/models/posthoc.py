"""What is done to a trained model's head: other norms, class means, a fresh start (Kang et al. 2020).

N rows, H width of what the head reads, C classes or labels.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from recipes.errors import ConfigError
from recipes.models.base import Model
from recipes.models.heads import CosineHead, ScaledHead
from recipes.models.mlp import BagLinear

# Below every logit that a class with rows can have, and finite, so that a mean loss over rows of all classes is.
_NEVER = -1e9


@torch.no_grad()
def tau_normalized(head: nn.Module, tau: float) -> nn.Module:
    """A new head with weights w_y / |w_y|^tau and the same bias (Kang et al. 2020, equation 5). Weights of zero stay zero.

    tau 0 is the head itself, 1 gives every class the same norm; it is to be chosen on validation. Raises ConfigError for a cosine head,
    on whose logits norms have no effect.
    """
    per_class = _class_dim(head, "tau-normalisation")
    changed = copy.deepcopy(head)
    weight = changed.weight
    assert isinstance(weight, nn.Parameter)
    norm = torch.linalg.vector_norm(weight, dim=1 - per_class, keepdim=True)
    weight.div_(torch.where(norm > 0, norm, 1).pow(tau))
    return changed


@torch.no_grad()
def nearest_class_mean(
    features_NH: Tensor, targets_N: Tensor, num_classes: int, weights_N: Tensor | None = None, scale: float | None = None
) -> nn.Linear:
    """The head that chooses the class whose mean feature is nearest, as a linear layer with logits x mu_y - |mu_y|^2 / 2.

    These are -|x - mu_y|^2 / 2 but for what all classes share: the posterior of normal classes of variance one and equal prior, so only
    the order of the logits means something before they are calibrated. A class without rows is never chosen. With `scale` the angle
    decides: a `CosineHead` with the means as weights, in which the logit of a class without rows is 0. weights_N: how much each row counts
    in its mean.
    Raises ConfigError for multi-label targets, (N, C).
    """
    if targets_N.dim() != 1:
        raise ConfigError("the nearest class mean needs one class a row, and this task is multilabel; use tau-normalisation or a new head")
    rows_NH, weights_N = features_NH.double(), torch.ones(len(targets_N)) if weights_N is None else weights_N
    weights_N = weights_N.to(rows_NH)
    total_C = rows_NH.new_zeros(num_classes).index_add_(0, targets_N, weights_N)
    sums_CH = rows_NH.new_zeros(num_classes, rows_NH.shape[1]).index_add_(0, targets_N, rows_NH * weights_N[:, None])
    means_CH = sums_CH / total_C.where(total_C > 0, 1)[:, None]
    width = rows_NH.shape[1]
    head = nn.Linear(width, num_classes) if scale is None else CosineHead(width, num_classes, scale)
    head.to(features_NH).weight.copy_(means_CH)
    if scale is None:
        head.bias.copy_((-means_CH.square().sum(1) / 2).where(total_C > 0, _NEVER))
    return head


def scaled(head: nn.Module) -> ScaledHead:
    """A copy of the head in which one factor a class is left to learn. Raises ConfigError unless the head is linear."""
    _class_dim(head, "a learned scale")
    if not isinstance(head, nn.Linear):
        raise ConfigError(f"a learned scale needs a head that reads features, and {_on_words()}")
    return ScaledHead(copy.deepcopy(head))


@torch.no_grad()
def reinitialised(head: nn.Module) -> nn.Module:
    """A head of the same kind and size that has learnt nothing: torch's first weights from its global generator, the bias zero."""
    fresh = copy.deepcopy(head)
    if isinstance(fresh, BagLinear):
        features, classes = fresh.weight.shape
        fresh.weight.copy_(nn.Linear(features, classes).weight.t())
    elif isinstance(fresh, nn.Linear):
        fresh.reset_parameters()
    else:
        raise ConfigError(f"the head is a {type(head).__name__}, and only linear and cosine heads can start anew; use method=ncm")
    if fresh.bias is not None:
        fresh.bias.zero_()
    return fresh


def settings_with(head: nn.Module, model_settings: Mapping[str, Any]) -> dict[str, Any]:
    """The model's settings changed so that a model built from them has a head of this kind: what to save beside a new head's weights."""
    changed = dict(model_settings)
    if isinstance(head, CosineHead):
        return changed | {"head": "cosine", "scale": head.scale}
    if "head" in changed:
        changed["head"] = "linear"
    if changed.get("bias_init") == "none" and head.bias is not None:
        changed["bias_init"] = "zero"
    return changed


def freeze(model: Model, train: Literal["all", "head"]) -> None:
    """`head`: nothing but the head's parameters is trained from here on, and batch norms stay in evaluation mode. `all`: no change.

    Dropout stays as the settings have it. What does not train in the head itself still does not. To be called before the optimizer is
    made. Raises ConfigError for a model without a `head`.
    """
    if train == "all":
        return
    head = getattr(model, "head", None)
    if not isinstance(head, nn.Module):
        raise ConfigError(f"init.train: {type(model).__name__} has no `head` that could be trained alone; use init.train=all")
    own = {id(p) for p in head.parameters()}
    for p in model.parameters():
        if id(p) not in own:
            p.requires_grad_(False)
    model.frozen = True
    model.train(model.training)


def _class_dim(head: nn.Module, method: str) -> int:
    """The dimension of `weight` that counts classes; ConfigError where the head has no norms to change."""
    if isinstance(head, CosineHead):
        raise ConfigError(f"{method} changes the norms of class weights, and a cosine head divides by them; use a model with head=linear")
    if isinstance(head, nn.Linear | BagLinear):
        return 0 if isinstance(head, nn.Linear) else 1
    raise ConfigError(f"{method} needs a linear head, and this model's is a {type(head).__name__}; use method=ncm, which takes any")


def _on_words() -> str:
    return "with model.widths=[] on TF-IDF it reads the words themselves; train a model with a hidden layer, as in model.widths=[64]"
