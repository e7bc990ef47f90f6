"""Sharpness-aware minimisation: the gradient is taken where the loss is worst in the neighbourhood (Foret et al. 2021; Kwon et al. 2021).

Minority classes tend to end in saddle points under re-weighting, which a large radius escapes (Rangwani et al. 2022).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from recipes.training.seeding import rng_state, set_rng_state
from recipes.training.step import Step

_ETA = 0.01  # of ASAM, as published: so that weights near zero can move


class SharpnessAware:
    """Around a step: its gradient at w, one step up to w + e, its gradient there, and w as it was. Called as the step is.

    SAM: e = rho g / |g|, over all trainable parameters as one vector. Adaptive (ASAM): e = rho T^2 g / |T g|, with T = |w| + 0.01 for
    matrices and convolutions and 1 for vectors, so that rescaled weights are perturbed in proportion; its rho is about ten times as large.

    Both passes see the same window and dropout masks, of which mining keeps what is hard at either place, and running statistics move in
    the first only. The gradient is that of the whole window, however it is cut for memory. Clipping and the optimizer see the second
    gradient; the loss that is returned is that at w. Costs two steps and a copy of the weights. Nothing here waits for the device. A
    gradient of zero has no direction, and e is zero; one that is not finite makes the second one so, which is for the loop to refuse, and
    the weights are as they were.
    """

    span = 1  # windows a call

    def __init__(self, step: Callable[..., Tensor], model: nn.Module, rho: float, adaptive: bool = False) -> None:
        self.step, self.rho, self.adaptive = step, rho, adaptive
        self._weights: list[Tensor] = [p for p in model.parameters() if p.requires_grad]
        self._stateful = [model, step.loss] if isinstance(step, Step) else [model]

    def __call__(self, *args: Any) -> Tensor:
        device = self._weights[0].device
        rng = rng_state(device)
        loss = self.step(*args)
        set_rng_state(rng, device)
        buffers = [b for module in self._stateful for b in module.buffers()]
        moved = [b.clone() for b in buffers]
        saved = [p.detach().clone() for p in self._weights]
        self._ascend()
        try:
            self.step(*args)
        finally:
            with torch.no_grad():
                torch._foreach_copy_(self._weights, saved)
                for buffer, value in zip(buffers, moved, strict=True):
                    buffer.copy_(value)
        return loss

    @torch.no_grad()
    def _ascend(self) -> None:
        """From w to w + e, and no gradient."""
        up = [p for p in self._weights if p.grad is not None]
        directions = [p.grad for p in up if p.grad is not None]
        for p in self._weights:
            p.grad = None
        if not up:
            return
        scales = [p.abs() + _ETA if p.ndim > 1 else torch.ones_like(p) for p in up] if self.adaptive else None
        if scales is not None:
            directions = list(torch._foreach_mul(directions, scales))
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(directions)))
        steps = list(torch._foreach_mul(directions, self.rho / norm.clamp_min(1e-30)))
        if scales is not None:
            torch._foreach_mul_(steps, scales)
        torch._foreach_add_(up, steps)
