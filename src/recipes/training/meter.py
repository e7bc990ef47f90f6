"""Losses and gradient norms of the steps since the last log point, and the refusal of those that are not finite.

On the CPU each value is looked at before the weights change. On CUDA that would make the host wait for the device at every step, so the
values stay there and are looked at together at each log point, evaluation and checkpoint: the message still names the exact step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from recipes.errors import NonFiniteError

_CAUSES = "  usual causes: a learning rate too high (try a tenth of it), infinite class weights"


@dataclass
class _Kept:
    step: int
    lr: float
    rows: np.ndarray
    skippable: bool


class Meter:
    """Mean loss and last gradient norm between two log points."""

    def __init__(self, device: torch.device, capacity: int) -> None:
        self.immediate = device.type == "cpu"
        self.total, self.count, self.rows = 0.0, 0, 0
        self.norm: float | None = None
        self._kept: list[_Kept] = []
        if not self.immediate:
            self._buffer_2N = torch.zeros(2, capacity, device=device)

    def record(
        self, loss: Tensor, norm: Tensor | None, step: int, lr: float, rows: np.ndarray, steps: int = 1, skippable: bool = False
    ) -> None:
        """Take in `steps` steps that have this mean loss, before their update. norm: None where there are no gradients to look at.

        skippable: a gradient overflow is fp16's own affair, only the loss has to be finite.
        """
        self.rows += len(rows)
        if self.immediate:
            value, size = float(loss), math.nan if norm is None else float(norm)
            skippable = skippable or norm is None
            if not (math.isfinite(value) and (skippable or math.isfinite(size))):
                raise _refusal(step, value, lr, None if norm is None else size, rows)
            self.total += value * steps
            self.count += steps
            self.norm = size if math.isfinite(size) else None
            return
        if len(self._kept) == self._buffer_2N.shape[1]:
            self.settle()
        at = len(self._kept)
        self._buffer_2N[0, at] = loss.detach()
        self._buffer_2N[1, at] = math.nan if norm is None else norm
        self._kept.append(_Kept(step, lr, rows, skippable or norm is None))

    def settle(self) -> None:
        """Look at what is still on the device; this waits for it. NonFiniteError names the first bad step."""
        if not self._kept:
            return
        losses, norms = self._buffer_2N[:, : len(self._kept)].tolist()
        kept, self._kept = self._kept, []
        for loss, norm, k in zip(losses, norms, kept, strict=True):
            if not (math.isfinite(loss) and (k.skippable or math.isfinite(norm))):
                raise _refusal(k.step, loss, k.lr, norm, k.rows)
            self.total += loss
            self.count += 1
            self.norm = norm if math.isfinite(norm) else None

    def flush(self) -> tuple[float, float | None, int, int]:
        """(mean loss, last gradient norm, rows, steps) since the last flush, and start again."""
        self.settle()
        told = (self.total / self.count if self.count else math.nan), self.norm, self.rows, self.count
        self.total, self.count, self.rows = 0.0, 0, 0
        return told

    def state_dict(self) -> dict[str, float | int]:
        self.settle()
        return {"total": self.total, "count": self.count}

    def load_state_dict(self, state: dict[str, float | int]) -> None:
        """The rows stay out: the clock of their rate starts anew."""
        self.total, self.count = float(state["total"]), int(state["count"])


def all_finite(model: nn.Module) -> bool:
    """Whether every weight and buffer is a number."""
    tensors = (t for t in (*model.parameters(), *model.buffers()) if t.is_floating_point())
    # A sum of numbers that is finite has no other among them, and takes a tenth of the time; it may also overflow.
    return all(bool(torch.isfinite(t.sum())) or bool(torch.isfinite(t).all()) for t in tensors)


def bad_weights(step: int, lr: float) -> NonFiniteError:
    """What to raise for weights that are no numbers after a step."""
    return NonFiniteError(f"the weights after step {step} are not finite: learning rate {lr:g}\n{_CAUSES}")


def _refusal(step: int, loss: float, lr: float, norm: float | None, rows: np.ndarray) -> NonFiniteError:
    what = "loss" if not math.isfinite(loss) else "gradient"
    size = "" if norm is None else f", gradient norm {norm:g}"
    shown = ", ".join(map(str, rows[:20])) + (f", ... ({len(rows)} rows)" if len(rows) > 20 else "")
    return NonFiniteError(
        f"the {what} of step {step} is not finite: loss {loss:g}, learning rate {lr:g}{size}\n"
        f"  rows of the batch (of the train split): {shown}\n"
        f"{_CAUSES}, fp16 (try trainer.precision=bf16), "
        "features that are not standardised"
    )
