"""Which parameters are decayed, and which have sparse gradients."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

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


def sparse_modules(model: nn.Module) -> list[nn.Embedding | nn.EmbeddingBag]:
    """The embeddings whose gradient is sparse."""
    return [m for m in model.modules() if isinstance(m, _EMBEDDINGS) and m.sparse and m.weight.requires_grad]
