"""Bounds on gradients. Every function returns the total norm before clipping, on the gradients' device and without waiting for it.

Sparse gradients are summed up per row first (several entries of one row are one gradient), in place of `p.grad`, so that the optimizer
does not do it again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

Clip = Literal["norm", "value", "agc", "none"]


def make_clip(clip: Clip, bound: float, model: nn.Module) -> Callable[[], Tensor | None]:
    """The clipping of one model, to be called between backward and step. `bound` is the largest norm, value, or ratio of `agc`.

    With `none` the norm is told where it costs little; of sparse gradients it is None, since summing them up per row takes longer than the
    backward pass.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    if clip == "norm":
        return lambda: clip_norm(parameters, bound)
    if clip == "value":
        return lambda: clip_value(parameters, bound)
    if clip == "agc":
        exempt = last_layer(model)
        return lambda: clip_agc(parameters, bound, exempt)
    return lambda: None if any(p.grad is not None and p.grad.is_sparse for p in parameters) else grad_norm(parameters)


def grad_norm(parameters: Sequence[Tensor]) -> Tensor:
    """L2 norm of all gradients as one vector, a scalar; 0 where there is none."""
    return _norm(_gradients(parameters), parameters)


def clip_norm(parameters: Sequence[Tensor], largest: float) -> Tensor:
    """Scale all gradients by min(1, largest / (norm + 1e-6)): the numbers of `torch.nn.utils.clip_grad_norm_`."""
    gradients = _gradients(parameters)
    total = _norm(gradients, parameters)
    scale = (largest / (total + 1e-6)).clamp_(max=1.0)
    if scale.device.type != "cpu":
        torch._foreach_mul_(gradients, scale)
    elif (known := scale.item()) != 1.0:  # on the CPU a look costs less than multiplying by 1; NaN goes on, as it does elsewhere
        torch._foreach_mul_(gradients, known)
    return total


def clip_value(parameters: Sequence[Tensor], largest: float) -> Tensor:
    """Bound each entry of each gradient to [-largest, largest]."""
    gradients = _gradients(parameters)
    total = _norm(gradients, parameters)
    if gradients:
        torch._foreach_clamp_min_(gradients, -largest)
        torch._foreach_clamp_max_(gradients, largest)
    return total


@torch.no_grad()
def clip_agc(parameters: Sequence[Tensor], ratio: float, exempt: Collection[Tensor] = (), eps: float = 1e-3) -> Tensor:
    """Adaptive gradient clipping (Brock et al. 2021, equation 3): each unit's gradient norm is at most `ratio` times its weight norm.

    A unit is one output of a matrix or a convolution (a row of dimension 0), a row of an embedding, or a whole vector. `eps` is the
    least weight norm, so that weights that begin at zero can leave it. Parameters of `exempt` stay as they are: the paper leaves out
    the last layer.
    """
    untouched = {id(p) for p in exempt}
    norms = []
    for p in parameters:
        if p.grad is None:
            continue
        gradient, weight = _dense(p), p
        if p.grad.is_sparse:
            weight = p.index_select(0, p.grad._indices()[0])
        unit = _unit_norm(gradient)
        norms.append(torch.linalg.vector_norm(unit))
        if id(p) not in untouched:
            bound = _unit_norm(weight).clamp_(min=eps).mul_(ratio)
            gradient.mul_(bound.div_(unit.clamp(min=1e-6)).clamp_(max=1.0))
    return torch.linalg.vector_norm(torch.stack(norms)) if norms else _nothing(parameters)


def last_layer(model: nn.Module) -> list[nn.Parameter]:
    """Parameters of the linear layer that was registered last: the one that makes the logits."""
    layers = [m for m in model.modules() if isinstance(m, nn.Linear)]
    return list(layers[-1].parameters()) if layers else []


def _gradients(parameters: Iterable[Tensor]) -> list[Tensor]:
    return [_dense(p) if p.grad.is_sparse else p.grad for p in parameters if p.grad is not None]


def _dense(p: Tensor) -> Tensor:
    """The gradient's entries, sharing its memory: of a sparse one the rows that are there."""
    gradient = p.grad
    assert gradient is not None
    if not gradient.is_sparse:
        return gradient
    if not gradient.is_coalesced():
        p.grad = gradient = gradient.coalesce()
    return gradient._values()


def _norm(gradients: list[Tensor], parameters: Sequence[Tensor]) -> Tensor:
    if not gradients:
        return _nothing(parameters)
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))


def _nothing(parameters: Sequence[Tensor]) -> Tensor:
    return torch.zeros((), device=parameters[0].device if parameters else None)


def _unit_norm(x: Tensor) -> Tensor:
    """Norm over all dimensions but the first, kept for broadcasting; over everything for vectors and scalars."""
    return torch.linalg.vector_norm(x, dim=tuple(range(1, x.ndim)) if x.ndim > 1 else None, keepdim=x.ndim > 1)
