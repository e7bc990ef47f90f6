"""Which parameters are decayed, which have sparse gradients, and which learn at a rate of their own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

Decay = Literal["weights", "all"]

_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
_NORMS = (nn.LayerNorm, nn.RMSNorm)  # the others' parameters are vectors, which are spared anyhow


@dataclass
class Groups:
    """The trainable parameters of a model, each in one list, in the model's order."""

    decayed: list[nn.Parameter] = field(default_factory=list)
    plain: list[nn.Parameter] = field(default_factory=list)
    sparse: dict[str, nn.Parameter] = field(default_factory=dict)  # by name, for messages


def parameter_groups(model: nn.Module, decay: Decay = "weights") -> Groups:
    """Sort a model's parameters.

    `weights`: decayed are matrices and convolutions; biases, other vectors and scalars, norm layers and embeddings are not. A parameter
    that two modules share is not, if one of them says so. `all`: decayed is everything but what has sparse gradients: decay would make
    these dense.
    """
    sparse = {id(m.weight) for m in sparse_modules(model)}
    spared = {
        id(p)
        for module in model.modules()
        for name, p in module.named_parameters(recurse=False)
        if p.ndim < 2 or "bias" in name or isinstance(module, _EMBEDDINGS + _NORMS)
    }
    groups = Groups()
    for name, p in model.named_parameters():
        if not p.requires_grad:
            continue
        if id(p) in sparse:
            groups.sparse[name] = p
        elif decay == "weights" and id(p) in spared:
            groups.plain.append(p)
        else:
            groups.decayed.append(p)
    return groups


def split_by_rate(groups: list[dict[str, Any]], model: nn.Module) -> list[dict[str, Any]]:
    """Groups for a torch optimizer, cut so that each has one factor of the learning rate, `lr_scale`, as `model.lr_scales` says; the
    highest first. Without scales the groups as they are."""
    scales: dict[str, float] = getattr(model, "lr_scales", dict)()
    if not scales:
        return groups
    named = dict(model.named_parameters())
    factors = {id(named[name]): factor for name, factor in scales.items()}
    cut = []
    for group in groups:
        by_factor: dict[float, list[nn.Parameter]] = {}
        for p in group["params"]:
            by_factor.setdefault(factors.get(id(p), 1.0), []).append(p)
        cut += [{**group, "params": members, "lr_scale": factor} for factor, members in by_factor.items()]
    return sorted(cut, key=lambda group: -group["lr_scale"])


def sparse_modules(model: nn.Module) -> list[nn.Embedding | nn.EmbeddingBag]:
    """The embeddings whose gradient is sparse."""
    return [m for m in model.modules() if isinstance(m, _EMBEDDINGS) and m.sparse and m.weight.requires_grad]


def auto_sparse_modules(model: nn.Module) -> list[nn.Embedding | nn.EmbeddingBag]:
    """The embeddings that leave it to the optimizer whether their gradient is sparse."""
    return [m for m in model.modules() if isinstance(m, _EMBEDDINGS) and getattr(m, "sparse_where_exact", False)]
