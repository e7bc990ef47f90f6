"""Batch -> Batch: other rows in the place of the train rows, made anew whenever they are seen."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from recipes.data.batch import Batch
from recipes.errors import ConfigError

# How rows come to the model: words in order, bags of words, bags of words and hashed n-grams, weighted terms, columns of a table.
Form = Literal["sequence", "bag", "ngrams", "tfidf", "dense"]
Tokenizer = Literal["word", "whitespace", "char"]


class Augment:
    """Changes the samples of a training batch. The base leaves them as they are.

    It is given all samples of one update at once, whatever the memory makes of them later, so that accumulated micro-batches equal a large
    batch. It returns new tensors: those that it is given may be views of the split. Every draw comes from the generator that is passed in,
    which depends on (seed, update) alone. Validation and test never come here.

    mixes: whether samples are mixtures of two rows with two labels. approximate: why the ledger's correction is not exact with it; None
    where it is.
    """

    mixes: ClassVar[bool] = False
    approximate: str | None = None

    def __call__(self, batch: Batch, rng: np.random.Generator) -> Batch:
        return batch

    @property
    def changes(self) -> bool:
        """Whether anything is done at all: the step then gathers whole windows."""
        return type(self).__call__ is not Augment.__call__


class NoAugment(Augment):
    """The rows as they are."""


def refuse_mixtures(batch: Batch, option: str) -> None:
    """Raise ConfigError where the sampler dealt mixtures: their second rows would stay as they are, or be lost."""
    if batch.partner is not None:
        raise ConfigError(
            f"augment={option}: sampler=smote deals mixtures of two rows already, and these cannot be changed once more; "
            f"choose sampler=balanced_batch with augment={option}, or sampler=smote with augment=none"
        )
