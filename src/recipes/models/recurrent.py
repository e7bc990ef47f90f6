"""Recurrent layers over texts of different lengths.

B batch, T tokens, E embedding, H hidden of all directions together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from recipes.models.sequence import open_words

Cell = Literal["lstm", "gru"]

_CELLS: dict[str, Callable[..., nn.RNNBase]] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


class Recurrent(nn.Module):
    """torch's LSTM, GRU or network without gates, in one or both directions, each row read as if it were alone.

    That is what packing gives; but the way back reads each row turned around within its own span, and what either way makes of the
    padding, which it meets last, is cut off. Hence an LSTM can run on padded rows: on the CPU that takes half the time (oneDNN's does not
    read packed ones), and on CUDA nothing waits for the device, which packing does for the lengths. What it costs is the work on padding.

    dropout is between layers. Forget gates of an LSTM begin with the bias 1 (Jozefowicz et al. 2015).
    """

    def __init__(
        self, cell: Cell | Literal["rnn"], width: int, hidden: int, layers: int = 1, bidirectional: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__()
        directions = 2 if bidirectional else 1
        widths = [width] + [directions * hidden] * (layers - 1)
        self.ways = nn.ModuleList(_CELLS[cell](each, hidden, batch_first=True) for each in widths for _ in range(directions))
        self.directions, self.dropout = directions, nn.Dropout(dropout)
        if cell == "lstm":
            for way in self.ways:
                _open_forget_gates(way, hidden)

    def forward(self, words_BTE: Tensor, span_B: Tensor, first: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The states (B, T, H), zero from the end of each row's span on, and the last one of each direction, (B, H).

        span_B: at least 1 each. first: (directions, B, hidden) states to begin with; None: zeros.
        """
        states_BTH, index_BT = words_BTE, _turned(span_B, words_BTE.shape[1])
        for start in range(0, len(self.ways), self.directions):
            read_BTE = self.dropout(states_BTH) if start else states_BTH
            ways = list(self.ways)[start : start + self.directions]
            made = [_run(ways[0], read_BTE, span_B, None if first is None else first[:1])]
            if self.directions == 2:
                turned = _run(ways[1], _Turn.apply(read_BTE, index_BT), span_B, None if first is None else first[1:])
                made.append(_Turn.apply(turned, index_BT))
            states_BTH = torch.cat(made, dim=2)
        ends_BH = made[0][torch.arange(len(span_B), device=span_B.device), span_B - 1]
        last_BH = torch.cat([ends_BH, *(way[:, 0] for way in made[1:])], dim=1)
        return states_BTH * open_words(span_B, words_BTE.shape[1])[:, :, None], last_BH


class _Turn(torch.autograd.Function):
    """Rows turned around within their spans. It is its own inverse, so its gradient is the turned one: gather's own adds up."""

    @staticmethod
    def forward(ctx: Any, rows_BTE: Tensor, index_BT: Tensor) -> Tensor:
        ctx.save_for_backward(index_BT)
        return rows_BTE.gather(1, index_BT[:, :, None].expand_as(rows_BTE))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (index_BT,) = ctx.saved_tensors
        return _Turn.apply(gradients[0], index_BT), None


def _turned(span_B: Tensor, width: int) -> Tensor:
    """(B, T) int64 where each position's word is read on the way back; padding stays where it is."""
    steps_T = torch.arange(width, device=span_B.device)
    return torch.where(steps_T < span_B[:, None], span_B[:, None] - 1 - steps_T, steps_T)


def _run(way: nn.Module, rows_BTE: Tensor, span_B: Tensor, first_1BH: Tensor | None) -> Tensor:
    """(B, T, hidden) the states of one direction, whatever they are behind a row's span."""
    if isinstance(way, nn.LSTM):
        start = None if first_1BH is None else (first_1BH, torch.zeros_like(first_1BH))
        return way.forward(rows_BTE, start)[0]
    assert isinstance(way, nn.GRU | nn.RNN)
    if span_B.device.type != "cpu":
        return way.forward(rows_BTE, first_1BH)[0]
    # No kernel of oneDNN's: here packing is the faster one, the more so the more the lengths differ.
    packed = pack_padded_sequence(rows_BTE, span_B, batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(way.forward(packed, first_1BH)[0], batch_first=True, total_length=rows_BTE.shape[1])[0]


@torch.no_grad()
def _open_forget_gates(way: nn.Module, hidden: int) -> None:
    """Gates lie in the order input, forget, cell, output; the two biases are added."""
    biases = dict(way.named_parameters())
    biases["bias_ih_l0"][hidden : 2 * hidden] = 1.0
    biases["bias_hh_l0"][hidden : 2 * hidden] = 0.0
