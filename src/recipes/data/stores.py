"""Features of a split as flat tensors, one store for each form that models read.

B batch, T tokens, N rows of the split, M rows that a sampler made, L ids of all rows together, F features, K embedded categorical columns.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    import scipy.sparse
    from typing_extensions import Self

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Layout:
    """What the columns of a `space` are.

    features: F, the columns that are features as a model reads them; after them come the one-hot levels of embedded columns.
    categories: (start, stop) of the columns that are one category together: a row has a one in one of them, zeros in the others.
    """

    features: int
    categories: tuple[tuple[int, int], ...] = ()

    @property
    def numbers(self) -> np.ndarray:
        """int64 columns that belong to no category, ascending: between their values there are others."""
        taken = [np.arange(start, stop) for start, stop in self.categories]
        return np.setdiff1d(np.arange(self.features), np.concatenate(taken)) if taken else np.arange(self.features)


class Store:
    """What a `Split` gathers features from. Subclasses keep their tensors in `self.tensors`, by the names of their arrays."""

    kind: ClassVar[str]

    def __init__(self, rows: int, arrays: Mapping[str, np.ndarray]) -> None:
        self.rows = rows
        self.tensors: dict[str, Tensor] = {name: torch.from_numpy(array) for name, array in arrays.items()}

    def __len__(self) -> int:
        return self.rows

    @property
    def nbytes(self) -> int:
        """Bytes that the tensors take."""
        return sum(tensor.nbytes for tensor in self.tensors.values())

    def to(self, device: torch.device) -> Self:
        """The same features with their tensors on `device`."""
        moved = copy.copy(self)
        moved.tensors = {name: tensor.to(device) for name, tensor in self.tensors.items()}
        return moved

    def width(self, rows: np.ndarray) -> int:
        """T that a batch of these rows is padded to; 0 where nothing is padded."""
        return 0

    def row_sizes(self, rows: np.ndarray) -> np.ndarray:
        """(B,) int64 ids of each of these rows; 1 where rows are all of one size."""
        return np.ones(len(rows), np.int64)

    def by_length(self) -> np.ndarray:
        """(N,) int64 rows in the order in which the least is padded."""
        return np.arange(self.rows)

    def gather(self, index: Tensor, rows: np.ndarray, width: int) -> dict[str, Tensor]:
        """Fields of a Batch. `index` and `rows` are the same (B,) int64 on the device and on the host."""
        raise NotImplementedError

    def space(self) -> np.ndarray | scipy.sparse.csr_matrix:
        """Rows as vectors between which distances mean something."""
        raise NotImplementedError

    def layout(self) -> Layout:
        """What the columns of `space` are."""
        raise NotImplementedError

    def like(self, features: np.ndarray | scipy.sparse.csr_matrix, levels: np.ndarray) -> Store:
        """Other rows in the form of these: (M, F) float32 and (M, K) int64. TypeError for token ids, which are names and not magnitudes."""
        raise TypeError(f"a {self.kind} of token ids has no features that rows could be made of")

    def state(self) -> tuple[dict[str, Any], Arrays]:
        """Settings for JSON, and arrays, from which `load_store` makes the store again."""
        raise NotImplementedError


class DenseStore(Store):
    """features: (N, F) float32; levels: (N, K) int64 of embedded categorical columns; sizes: levels of each, the unknown one included.

    one_hot: (start, stop) of the features that are one category together.
    """

    kind = "dense"

    def __init__(self, features: np.ndarray, levels: np.ndarray, sizes: Sequence[int] = (), one_hot: Sequence[Sequence[int]] = ()) -> None:
        super().__init__(len(features), {"features": features, "levels": levels})
        self.sizes = tuple(sizes)
        self.one_hot = tuple((start, stop) for start, stop in one_hot)

    def gather(self, index: Tensor, rows: np.ndarray, width: int) -> dict[str, Tensor]:
        fields = {"features_BF": self.tensors["features"].index_select(0, index)}
        if self.sizes:
            fields["categories_BK"] = self.tensors["levels"].index_select(0, index)
        return fields

    def space(self) -> np.ndarray:
        """(N, F + sum of sizes) float32: the features, then one column for each level of each embedded column."""
        features, levels = self.tensors["features"].cpu().numpy(), self.tensors["levels"].cpu().numpy()
        one_hot = [levels[:, [k]] == np.arange(size) for k, size in enumerate(self.sizes)]
        return np.concatenate([features, *one_hot], axis=1, dtype=np.float32) if one_hot else features

    def layout(self) -> Layout:
        width = self.tensors["features"].shape[1]
        ends = (width + np.cumsum(self.sizes)).tolist()
        return Layout(width, self.one_hot + tuple((end - size, end) for end, size in zip(ends, self.sizes, strict=True)))

    def like(self, features: np.ndarray | scipy.sparse.csr_matrix, levels: np.ndarray) -> DenseStore:
        return DenseStore(np.ascontiguousarray(features, np.float32), levels, self.sizes, self.one_hot)

    def state(self) -> tuple[dict[str, Any], Arrays]:
        settings = {"kind": self.kind, "sizes": list(self.sizes), "one_hot": [list(block) for block in self.one_hot]}
        return settings, {name: tensor.cpu().numpy() for name, tensor in self.tensors.items()}


class RaggedStore(Store):
    """Rows of different lengths, one after another.

    ids: (L,) int32. lengths: (N,) int64 ids of each row. values: (L,) float32 weight of each id, or None for token ids. columns: ids of
    words, below which `space` counts: above are hashed n-grams.
    """

    def __init__(self, ids: np.ndarray, lengths: np.ndarray, columns: int, values: np.ndarray | None = None) -> None:
        weights = {} if values is None else {"values": values}
        super().__init__(len(lengths), {"ids": ids, "lengths": lengths, **weights})
        self.tensors["starts"] = torch.from_numpy(np.cumsum(lengths) - lengths)
        self.lengths = lengths  # on the host as well: sizes of a batch must not be asked of the device
        self.columns = columns

    def row_sizes(self, rows: np.ndarray) -> np.ndarray:
        return self.lengths[rows]

    def space(self) -> scipy.sparse.csr_matrix:
        """(N, columns) float32 TF-IDF with unit rows; of token ids, padding, the unknown word and hashed n-grams are left out."""
        import scipy.sparse

        rows = np.repeat(np.arange(len(self)), self.lengths)
        ids = self.tensors["ids"][: len(rows)].cpu().numpy()
        shape = (len(self), self.columns)
        if "values" in self.tensors:
            return scipy.sparse.csr_matrix((self.tensors["values"].cpu().numpy(), (rows, ids)), shape=shape)
        known = (ids > 1) & (ids < self.columns)
        counts = scipy.sparse.csr_matrix((np.ones(known.sum()), (rows[known], ids[known])), shape=shape)
        counts.sum_duplicates()
        document_frequency = np.bincount(counts.indices, minlength=self.columns)
        counts.data *= (np.log((1 + len(self)) / (1 + document_frequency)) + 1)[counts.indices]
        norms = np.sqrt(np.asarray(counts.multiply(counts).sum(axis=1)).ravel())
        counts.data /= np.repeat(norms, np.diff(counts.indptr))
        return counts.astype(np.float32)

    def layout(self) -> Layout:
        return Layout(self.columns)

    def state(self) -> tuple[dict[str, Any], Arrays]:
        made = ("starts", "steps")
        return {"kind": self.kind, "columns": self.columns}, {k: v.cpu().numpy() for k, v in self.tensors.items() if k not in made}


class SequenceStore(RaggedStore):
    """Word ids in the order of the text, gathered as a padded matrix.

    ids: (L + 1,) int32, of which the last is padding: the positions past each row's end are read there.
    """

    kind = "sequence"

    def __init__(self, ids: np.ndarray, lengths: np.ndarray, columns: int) -> None:
        super().__init__(ids, lengths, columns)
        self.tensors["steps"] = torch.arange(int(lengths.max(initial=1)))

    def width(self, rows: np.ndarray) -> int:
        return int(self.lengths[rows].max(initial=1))

    def by_length(self) -> np.ndarray:
        return np.argsort(self.lengths, kind="stable")

    def gather(self, index: Tensor, rows: np.ndarray, width: int) -> dict[str, Tensor]:
        lengths_B = self.tensors["lengths"].index_select(0, index)
        steps_T, ids = self.tensors["steps"][:width], self.tensors["ids"]
        place_BT = self.tensors["starts"].index_select(0, index)[:, None] + steps_T
        place_BT.masked_fill_(steps_T >= lengths_B[:, None], len(ids) - 1)
        return {"tokens_BT": ids[place_BT].long(), "lengths_B": lengths_B}


class BagStore(RaggedStore):
    """Ids without order (words and hashed n-grams, or TF-IDF terms with their weights), gathered flat with offsets."""

    kind = "bag"

    def gather(self, index: Tensor, rows: np.ndarray, width: int) -> dict[str, Tensor]:
        starts_B, lengths_B = self.tensors["starts"].index_select(0, index), self.tensors["lengths"].index_select(0, index)
        place, offsets = flat_places(starts_B, lengths_B, int(self.lengths[rows].sum()))
        fields = {"ids": self.tensors["ids"].index_select(0, place).long(), "offsets": offsets}
        if "values" in self.tensors:
            fields["values"] = self.tensors["values"].index_select(0, place)
        return fields

    def like(self, features: np.ndarray | scipy.sparse.csr_matrix, levels: np.ndarray) -> Store:
        if "values" not in self.tensors:
            return super().like(features, levels)
        import scipy.sparse

        rows = scipy.sparse.csr_matrix(features)
        return BagStore(rows.indices.astype(np.int32), np.diff(rows.indptr).astype(np.int64), self.columns, rows.data.astype(np.float32))


def flat_places(starts_B: Tensor, lengths_B: Tensor, total: int) -> tuple[Tensor, Tensor]:
    """Where the entries of rows that begin at `starts_B` stand, (total,), and where each row begins among these, (B + 1,).

    total: sum of the lengths, from the host: asking the device for it would wait.
    """
    offsets = torch.zeros(len(lengths_B) + 1, dtype=torch.int64, device=lengths_B.device)
    torch.cumsum(lengths_B, 0, out=offsets[1:])
    place = torch.repeat_interleave(starts_B - offsets[:-1], lengths_B, output_size=total)
    place += torch.arange(total, device=place.device)
    return place, offsets


def load_store(settings: dict[str, Any], arrays: Arrays) -> Store:
    """The store that `state` was asked of."""
    kinds: dict[str, Any] = {kind.kind: kind for kind in (DenseStore, SequenceStore, BagStore)}
    return kinds[settings["kind"]](**arrays, **{name: value for name, value in settings.items() if name != "kind"})
