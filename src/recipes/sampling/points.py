"""What samplers share that pick or make rows by their features: what they refuse, their draws, and rows as points and back.

N train rows, M made rows, W columns of a split's `space`, C classes.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from recipes.data.facts import Modality, Task
from recipes.data.stores import Layout
from recipes.errors import ConfigError
from recipes.sampling.base import Made

if TYPE_CHECKING:
    from typing import TypeAlias

    import scipy.sparse

    from recipes.data.split import TrainSplit

    Matrix: TypeAlias = np.ndarray | scipy.sparse.csr_matrix

logger = logging.getLogger(__name__)
PICKED = "rows are picked by their features, which changes what a class looks like"  # ends "sampler=<option>: ..."


def refuse_multilabel(option: str, task: Task) -> None:
    """Raises ConfigError for multi-label tasks."""
    if task == "multilabel":
        raise ConfigError(
            f"sampler={option}: it compares rows of one class with rows of others, so it needs a single-label task, and this one is "
            f"multi-label; use sampler=balanced_batch, which deals each label equally often"
        )


def refuse_tokens(option: str, modality: Modality, sparse_features: bool) -> None:
    """Raises ConfigError where the model reads token ids."""
    if modality == "text" and not sparse_features:
        raise ConfigError(
            f"sampler={option}: it makes rows of features, and the model reads token ids, which are names and not magnitudes; "
            f"use sampler=smote, which mixes embedded texts, or a model that reads TF-IDF: model=mlp"
        )


def refuse_weights(option: str, train: TrainSplit) -> None:
    """Raises ConfigError where rows have weights, since no data says what a made row weighs."""
    if train.weighted:
        raise ConfigError(
            f"sampler={option}: the data has a weight for each row (data.weight), and a row that is made has none; leave data.weight out, "
            f"or use a sampler that repeats rows, which keep their weights: sampler=random_over"
        )


def run_seed(rng: np.random.Generator) -> int:
    """The seed of the run, which is the first number that its generators are made from."""
    entropy = rng.bit_generator.seed_seq.entropy  # type: ignore[attr-defined]
    return int(entropy[0] if isinstance(entropy, list | tuple) else entropy)


def random_state(rng: np.random.Generator) -> np.random.RandomState:
    """The old kind of generator that imbalanced-learn draws from, `RandomState(seed)` of the run's seed.

    An object and not the number: with a number imbalanced-learn starts the same stream again for each class, and for each step of one.
    """
    seed = run_seed(rng)
    return np.random.RandomState(seed if seed < 2**32 else np.random.SeedSequence(seed).generate_state(4))


@contextmanager
def told(option: str) -> Iterator[None]:
    """Warnings of a library, each once, in the log of the run."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for text in dict.fromkeys(str(warning.message).splitlines()[0] for warning in caught if issubclass(warning.category, UserWarning)):
        logger.warning("%s: %s", option, text)


def legal(option: str, setting: str, wanted: int, rows: int, which: str) -> int:
    """A number of neighbours that so many other rows can give: at most all of them, with a warning."""
    if wanted <= rows:
        return wanted
    logger.warning("%s: %s, too few for %s=%d; %d is used", option, which, setting, wanted, rows)
    return rows


def named_counts(classes: Sequence[int] | np.ndarray, counts: np.ndarray, class_names: tuple[str, ...], most: int = 5) -> str:
    """Classes with their rows, for a message."""
    shown = ", ".join(f"'{class_names[c]}' ({counts[c]} rows)" for c in classes[:most])
    return shown + (f" and {len(classes) - most} more" if len(classes) > most else "")


def one_hot_codes(matrix: np.ndarray, layout: Layout) -> np.ndarray:
    """(N, categories) int64: for each category of the layout, which of its columns is the largest."""
    codes = [matrix[:, start:stop].argmax(axis=1) for start, stop in layout.categories]
    return np.stack(codes, axis=1) if codes else np.empty((len(matrix), 0), np.int64)


def made_of(matrix: Matrix, labels: np.ndarray, layout: Layout) -> Made:
    """Rows of `space`, (M, W), as rows of the split.

    A mixture has shares of several categories where a row has one: it gets the one with the largest share, so the category of the nearer
    of two rows. TF-IDF rows are scaled to unit length, as those of the data are.
    """
    none = np.empty((matrix.shape[0], 0), np.int64)
    if not isinstance(matrix, np.ndarray):
        return Made(unit_rows(matrix), none, labels)
    return from_codes(matrix, one_hot_codes(matrix, layout), labels, layout)


def from_codes(matrix: np.ndarray, codes: np.ndarray, labels: np.ndarray, layout: Layout) -> Made:
    """The numbers of (M, W) rows of `space` and the categories (M, categories), in the order of the layout, as rows of the split."""
    features = np.array(matrix[:, : layout.features], np.float32)
    inside = [k for k, (start, _) in enumerate(layout.categories) if start < layout.features]
    for k in inside:
        start, stop = layout.categories[k]
        features[:, start:stop] = codes[:, [k]] == np.arange(stop - start)
    return Made(features, np.ascontiguousarray(codes[:, len(inside) :], np.int64), labels)


def unit_rows(matrix: scipy.sparse.csr_matrix) -> scipy.sparse.csr_matrix:
    """Rows of length 1; empty ones stay empty."""
    import scipy.sparse

    rows = scipy.sparse.csr_matrix(matrix, dtype=np.float64)
    lengths = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    rows.data /= np.repeat(lengths, np.diff(rows.indptr))
    rows.eliminate_zeros()
    rows.sort_indices()
    return rows.astype(np.float32)


def spared(option: str, kept: np.ndarray, labels: np.ndarray, class_names: tuple[str, ...]) -> np.ndarray:
    """(N,) bool, what is kept; a class that would lose its last row keeps all of them, with a warning."""
    size = len(class_names)
    counts = np.bincount(labels, minlength=size)
    lost = np.flatnonzero((counts > 0) & (np.bincount(labels[kept], minlength=size) == 0))
    if not len(lost):
        return kept
    logger.warning("%s: each row of %s stands among other classes; they are kept", option, named_counts(lost, counts, class_names))
    return kept | np.isin(labels, lost)
