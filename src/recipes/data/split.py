"""Encoded splits: flat tensors, from which a batch is one vectorised gather.

B batch, T tokens, C classes or labels, F features, K embedded categorical columns, N rows of the split, M rows that a sampler made.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from recipes.data.batch import Batch
from recipes.data.paired import PairedStore
from recipes.data.stores import Layout, Store

if TYPE_CHECKING:
    import scipy.sparse
    from typing_extensions import Self

MEMORY_SHARE = 0.5  # of the memory that is free on the device: what a split may take of it


class Split:
    """Rows of one split: encoded features, targets and sample weights.

    name: "train", "val", "test" or "predict". targets: (N,) int64 class index or (N, C) float32; zeros where there are none.
    weights: (N,) float32, 1 where the data has none. num_classes: C, where it is known. notes: what encoding has to say, with counts.
    """

    def __init__(
        self,
        name: str,
        store: Store,
        targets: np.ndarray | None = None,
        weights: np.ndarray | None = None,
        num_classes: int = 0,
        notes: list[str] | None = None,
    ) -> None:
        self.name = name
        self.store = store
        self.num_classes = num_classes
        self.notes = notes or []
        self.weighted = weights is not None
        self._labels = np.zeros(len(store), np.int64) if targets is None else targets
        self.targets = torch.from_numpy(self._labels)
        self.weights = torch.ones(len(store)) if weights is None else torch.from_numpy(weights)
        self.device = torch.device("cpu")  # where batches are
        self._resident = True  # the tensors are there as well

    def __len__(self) -> int:
        return len(self._labels)

    @property
    def nbytes(self) -> int:
        """Bytes that the tensors take."""
        return self.store.nbytes + self.targets.nbytes + self.weights.nbytes

    def to(self, device: torch.device | str) -> Self:
        """The same rows with their batches on `device`.

        Data that fits moves there whole. Data that would take more than half of the memory that is free there stays on the host, and
        each batch is sent when it is gathered.
        """
        device = torch.device(device)
        moved = copy.copy(self)
        moved.device = device
        moved._resident = device.type != "cuda" or self.nbytes <= MEMORY_SHARE * torch.cuda.mem_get_info(device)[0]
        if moved._resident:
            moved.store = self.store.to(device)
            moved.targets, moved.weights = self.targets.to(device), self.weights.to(device)
        return moved

    def batch(self, rows: np.ndarray, partners: np.ndarray | None = None, mix: np.ndarray | None = None) -> Batch:
        """Gather rows, (B,) int64, each possibly mixed with a partner row, (B,) int64, by coefficients, (B, 2) float32.

        Targets and weights are those of the first rows. A batch in which no row is mixed has no partner. Nothing here waits for the
        device. The tensors may be views of the split: read them, do not write into them.
        """
        if partners is None or mix is None or not mix[:, 1].any():
            return self._gather(rows, self.store.width(rows))
        width = max(self.store.width(rows), self.store.width(partners))
        batch = self._gather(rows, width)
        batch.partner = self._gather(partners, width)
        batch.mix_B2 = self._send(torch.from_numpy(mix))
        return batch

    @property
    def given_weights(self) -> np.ndarray | None:
        """(N,) weights of the rows on the CPU; None where the data has none."""
        return self.weights.cpu().numpy() if self.weighted else None

    def labels(self) -> np.ndarray:
        """Targets on the CPU: (N,) int64, or (N, C) float32 for multi-label."""
        return self._labels

    def class_counts(self) -> np.ndarray:
        """(C,) int64 rows of each class, or of each label for multi-label."""
        if self._labels.ndim == 2:
            return (self._labels > 0).sum(0)
        return np.bincount(self._labels, minlength=self.num_classes)

    def row_sizes(self, rows: np.ndarray) -> np.ndarray:
        """(B,) int64 ids of each row; 1 where rows are all of one size."""
        return self.store.row_sizes(rows)

    def by_length(self) -> np.ndarray:
        """(N,) int64 all rows, those that are padded to a similar length together; in their own order where nothing is padded."""
        return self.store.by_length()

    def space(self) -> np.ndarray | scipy.sparse.csr_matrix:
        """Rows as vectors between which distances mean something: dense features as they are, TF-IDF for texts."""
        return self.store.space()

    def layout(self) -> Layout:
        """What the columns of `space` are: which of them are one category together."""
        return self.store.layout()

    def _gather(self, rows: np.ndarray, width: int) -> Batch:
        index = torch.from_numpy(rows)
        index = self._send(index) if self._resident else index
        # Without sample weights every slice of the ones is right; it costs no gather.
        weights = self.weights[: len(rows)] if not self.weighted and len(rows) <= len(self) else self.weights.index_select(0, index)
        fields = self.store.gather(index, rows, width)
        fields |= {"rows": index, "targets": self.targets.index_select(0, index), "weights": weights}
        if not self._resident:
            fields = {name: self._send(tensor) for name, tensor in fields.items()}
        return Batch(**fields)  # type: ignore[arg-type]

    def _send(self, tensor: Tensor) -> Tensor:
        """To the device without waiting: only a copy from pinned memory is asynchronous."""
        if self.device.type == "cpu":
            return tensor
        return tensor.pin_memory().to(self.device, non_blocking=True)


class TrainSplit(Split):
    """The train rows: the only type that a Sampler accepts, so that no validation or test row can reach one."""

    def with_made(self, features: np.ndarray | scipy.sparse.csr_matrix, levels: np.ndarray, labels: np.ndarray) -> Self:
        """The same rows, and M more that a sampler made: row N + i of it is the i-th of these, with weight 1.

        features: (M, F) float32, TF-IDF rows where the split has such. levels: (M, K) int64. labels: (M,) int64. The features of the train
        rows are not copied. Only train has this, so made rows have no way into another split. Raises TypeError for rows of token ids.
        """
        grown = copy.copy(self)
        made, device = self.store.like(features, levels), self.targets.device
        grown.store = PairedStore(self.store, made.to(device))
        grown._labels = np.concatenate([self._labels, labels])
        grown.targets = torch.cat([self.targets, torch.from_numpy(labels).to(device)])
        grown.weights = torch.cat([self.weights, torch.ones(len(labels), device=device)])
        return grown
