"""One step's rows as tensors.

B batch, T tokens, N ids of the batch in a row, F features, K embedded categorical columns, C classes or labels.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from torch import Tensor


@dataclass(slots=True, eq=False)
class Batch:
    """Rows of one split, gathered on the device.

    Token models read `tokens_BT` and `lengths_B` (sequences), or `ids` and `offsets` (bags); dense models read `features_BF` and
    `categories_BK`, or `ids`, `offsets` and `values` where the features are TF-IDF. What a representation lacks is None.
    """

    rows: Tensor  # (B,) int64: row of the split; of the first of the two rows where the sample is a mixture
    targets: Tensor  # (B,) int64 class index, or (B, C) float32 for multi-label
    weights: Tensor  # (B,) float32 sample weights, 1 where the data has none
    ids: Tensor | None = None  # (N,) int64 flat ids, n-grams included
    offsets: Tensor | None = None  # (B + 1,) int64 where each row's ids begin; the last entry is N
    values: Tensor | None = None  # (N,) float32 weight of each id (TF-IDF)
    tokens_BT: Tensor | None = None  # int64 words only, 0 is padding, T >= 1
    lengths_B: Tensor | None = None  # int64 words of each row, 0 for an empty text
    features_BF: Tensor | None = None  # float32
    categories_BK: Tensor | None = None  # int64 level of each embedded categorical column
    partner: Batch | None = None  # the second rows of a mixture, padded to the same T
    mix_B2: Tensor | None = None  # float32 coefficients: sample = mix[:, 0] * row + mix[:, 1] * partner
    mix_at: Literal["embedding", "hidden"] = "embedding"  # where a model mixes: after `embed`, or after `encode`
    share_B: Tensor | None = None  # float32 share of the row's own label in that of the mixture; None: all, the label is the row's

    def __len__(self) -> int:
        return self.rows.shape[0]

    @property
    def span_B(self) -> Tensor:
        """Words that count in each row: the longer of the two where rows are mixed."""
        assert self.lengths_B is not None
        if self.partner is None:
            return self.lengths_B
        assert self.partner.lengths_B is not None
        # A partner with coefficient 0 adds nothing, so it must not lengthen the row either.
        assert self.mix_B2 is not None
        return self.lengths_B.maximum(self.partner.lengths_B * (self.mix_B2[:, 1] != 0))

    def take(self, index: Tensor) -> Batch:
        """The samples at these places, (B',) int64 on the batch's device; on CUDA, bags of ids wait for the device once."""
        taken: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name in ("ids", "offsets", "values"):
                continue
            taken[f.name] = value.index_select(0, index) if isinstance(value, Tensor) else value
        if self.partner is not None:
            taken["partner"] = self.partner.take(index)
        if self.offsets is not None and self.ids is not None:
            lengths = (self.offsets[1:] - self.offsets[:-1]).index_select(0, index)
            offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
            place = torch.repeat_interleave(self.offsets.index_select(0, index) - offsets[:-1], lengths)
            place += torch.arange(len(place), device=place.device)
            taken |= {"ids": self.ids.index_select(0, place), "offsets": offsets}
            taken["values"] = None if self.values is None else self.values.index_select(0, place)
        return Batch(**taken)
