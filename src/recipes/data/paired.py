"""Train rows and rows that a sampler made, dealt in one batch without copying either.

B batch, N train rows.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from recipes.data.stores import BagStore, Store, flat_places

if TYPE_CHECKING:
    from typing_extensions import Self


class PairedStore(Store):
    """Rows below N are those of `first`, the others those of `second`, both of one form: dense features, or weighted bags (TF-IDF).

    It is dealt from, and neither cached nor searched. A batch of rows from both gathers twice as much and takes its own of either.
    """

    kind = "paired"

    def __init__(self, first: Store, second: Store) -> None:
        super().__init__(len(first) + len(second), {})
        self.first, self.second = first, second

    @property
    def nbytes(self) -> int:
        return self.first.nbytes + self.second.nbytes

    def to(self, device: torch.device) -> Self:
        moved = copy.copy(self)
        moved.first, moved.second = self.first.to(device), self.second.to(device)
        return moved

    def gather(self, index: Tensor, rows: np.ndarray, width: int) -> dict[str, Tensor]:
        border = len(self.first)
        made = rows >= border  # on the host, so that the device is not waited for
        if not made.any():
            return self.first.gather(index, rows, width)
        if made.all():
            return self.second.gather(index - border, rows - border, width)
        made_B, own_B, other_B = index >= border, index.clamp(max=border - 1), (index - border).clamp(min=0)
        if isinstance(self.first, BagStore) and isinstance(self.second, BagStore):
            total = int(self.first.lengths[rows[~made]].sum() + self.second.lengths[rows[made] - border].sum())
            return self._bags(self.first, self.second, made_B, own_B, other_B, total)
        first = self.first.gather(own_B, np.minimum(rows, border - 1), width)
        second = self.second.gather(other_B, np.maximum(rows - border, 0), width)
        return {name: torch.where(made_B[:, None], second[name], value) for name, value in first.items()}

    def _bags(self, first: BagStore, second: BagStore, made_B: Tensor, own_B: Tensor, other_B: Tensor, total: int) -> dict[str, Tensor]:
        """Rows differ in length, so the choice is made once more for every entry."""

        def of_rows(name: str) -> Tensor:
            return torch.where(made_B, second.tensors[name].index_select(0, other_B), first.tensors[name].index_select(0, own_B))

        lengths_B = of_rows("lengths")
        place, offsets = flat_places(of_rows("starts"), lengths_B, total)
        made = torch.repeat_interleave(made_B, lengths_B, output_size=total)

        def of_entries(name: str) -> Tensor:
            ours, theirs = first.tensors[name], second.tensors[name]
            # One of the two has no entry at all where all its rows are empty.
            if not len(ours) or not len(theirs):
                return (theirs if len(theirs) else ours).index_select(0, place)
            return torch.where(
                made, theirs.index_select(0, place.clamp(max=len(theirs) - 1)), ours.index_select(0, place.clamp(max=len(ours) - 1))
            )

        return {"ids": of_entries("ids").long(), "offsets": offsets, "values": of_entries("values")}
