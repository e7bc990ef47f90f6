"""The three moments at which a sampler may act, each the identity by default."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import scipy.sparse
    from torch import Tensor

    from recipes.data.split import TrainSplit


@dataclass(frozen=True)
class Moment:
    """Where in the training an epoch begins: `step` updates of `total_steps` are done."""

    step: int = 0
    total_steps: int = 1

    @property
    def progress(self) -> float:
        """Share of the training that is done, in [0, 1]."""
        return min(self.step / max(self.total_steps, 1), 1.0)


@dataclass(frozen=True)
class Made:
    """Rows that no data holds: a sampler computed them, in the form of the split's own. They are in a plan only, so never outside train."""

    features: np.ndarray | scipy.sparse.csr_matrix  # (M, F) float32 dense features, or TF-IDF rows
    levels: np.ndarray  # (M, K) int64 levels of the embedded categorical columns; K is 0 where there are none
    labels: np.ndarray  # (M,) int64


@dataclass(frozen=True)
class Plan:
    """The samples that an epoch draws from: rows of the train split, and mixtures of two of them.

    A mixture stands as coefficients, not as new features, so nothing is copied and each model mixes where mixing makes sense: dense
    features as they are, token models after the embedding. Its label is that of its first row.
    """

    rows: np.ndarray  # (M,) int64
    partners: np.ndarray | None = None  # (M,) int64; equals `rows` where the sample is a row as it is
    mix: np.ndarray | None = None  # (M, 2) float32; (1, 0) where the sample is a row as it is
    made: Made | None = None  # `rows` from `train_rows` on mean these, in their order
    train_rows: int | None = None  # rows of the train split; needed where something was made

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def synthetic(self) -> np.ndarray:
        """(M,) bool: which samples no row of the data stands for."""
        mixed = np.zeros(len(self), dtype=bool) if self.mix is None else self.mix[:, 1] != 0
        return mixed if self.train_rows is None else mixed | (self.rows >= self.train_rows)

    def labels(self, train_labels: np.ndarray) -> np.ndarray:
        """Targets of the samples, (M,) int64 or (M, C), from those of the train rows."""
        known = train_labels if self.made is None else np.concatenate([train_labels, self.made.labels])
        return known[self.rows]


START = Moment()


class Sampler:
    """Decides which train rows are seen, in what order, and which of them count.

    The methods get the train split only, by type; validation and test never pass through a sampler. Every draw comes from the generator
    that is passed in, which depends on (seed, purpose, epoch) alone, so a resumed run sees the same stream.

    approximate: why dividing by the shares of what is dealt does not give back the natural probabilities exactly; None where it does:
    where the sampler changes how often a class is seen, and not what its rows look like.
    consumes_weights: whether rows are dealt in proportion to the data's weights, so that the loss must not weigh them once more.
    """

    approximate: str | None = None
    consumes_weights: bool = False

    def resample(self, train: TrainSplit, rng: np.random.Generator) -> Plan:
        """Before training: the samples that epochs draw from. Identity: every train row once."""
        return Plan(np.arange(len(train)))

    def steps_per_epoch(self, plan: Plan, labels: np.ndarray, size: int) -> int:
        """How many batches `batches` yields."""
        return math.ceil(len(plan) / size)

    def batches(self, plan: Plan, labels: np.ndarray, size: int, rng: np.random.Generator, moment: Moment = START) -> Iterator[np.ndarray]:
        """One epoch: positions in the plan, (size,) int64 each, the last one shorter if rows are left. Identity: a permutation in pieces.

        `labels` are the targets of the plan's samples, (M,) int64 or (M, C) for multi-label; `moment` is when the epoch begins.
        """
        order = rng.permutation(len(plan))
        for start in range(0, len(order), size):
            yield order[start : start + size]

    def select(self, difficulty_B: Tensor, targets: Tensor, epoch: int) -> Tensor | None:
        """After the forward pass: a (B,) bool mask of the samples that count, or None for all of them.

        `difficulty_B` is the loss of each sample without class or sample weights, detached; `targets` are theirs, (B,) or (B, C);
        `epoch` counts from 0.
        """
        return None

    def rescore(self, logits_NC: np.ndarray) -> None:
        """Before each epoch, where `rescored`: the raw logits of all train rows under the weights of then, in evaluation mode."""

    def state_dict(self) -> dict[str, Any]:
        """What `rescore` left behind: tensors, numbers, strings, lists and dicts of them. Everything else depends on the generators."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take in what `state_dict` gave."""

    @property
    def rescored(self) -> bool:
        """Whether `rescore` is overridden: one more pass over the train rows an epoch is paid only then."""
        return type(self).rescore is not Sampler.rescore

    @property
    def mines(self) -> bool:
        """Whether `select` is overridden: the loop pays for the difficulties only then."""
        return type(self).select is not Sampler.select
