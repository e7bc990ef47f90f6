"""What the data fixes, and what a model asks of it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

Task = Literal["binary", "multiclass", "multilabel"]
Modality = Literal["text", "tabular"]
Representation = Literal["tokens", "dense"]


@dataclass(frozen=True)
class Facts:
    """What components may ask for by naming it in their signature. Counts are of the train split as it was read, before any sampling."""

    task: Task
    modality: Modality
    class_names: tuple[str, ...]
    class_counts: np.ndarray  # (C,) int64 train rows of each class (of each label when multi-label)
    train_rows: int
    vocab_size: int = 0  # rows of the embedding table for `tokens`: padding (0), unknown (1), words, then hashed n-grams
    vocabulary: tuple[str, ...] = ()  # the words behind ids 0..len-1; "" for padding and "<unk>" for unknown
    num_features: int = 0  # width of `dense` features, or of the TF-IDF space
    category_sizes: tuple[int, ...] = ()  # levels of each embedded categorical column, the unknown level (0) included
    sparse_features: bool = False  # `dense` features come as weighted id bags (TF-IDF) instead of a matrix

    @property
    def num_classes(self) -> int:
        """C: classes of a single-label task (2 when binary), or labels of a multi-label one."""
        return len(self.class_names)

    def as_dict(self) -> dict[str, Any]:
        """Every fact by name, `num_classes` included: what a builder offers to signatures."""
        return {f.name: getattr(self, f.name) for f in fields(self)} | {"num_classes": self.num_classes}


@dataclass(frozen=True)
class Needs:
    """What a model asks the encoder for. Two models with equal needs share one cache entry."""

    representation: Representation
    word_ngrams: int = 1  # highest order of hashed word n-grams added to each bag
    buckets: int = 0  # hash buckets that all n-grams share; 0 where there are none
    form: Literal["sequence", "bag"] = "sequence"  # of tokens: padded rows in the order of the text, or flat ids without order
    minn: int = 0  # shortest and longest hashed n-grams of the characters of a word that are added to each bag; maxn 0: none
    maxn: int = 0
    end: bool = False  # each bag ends with the token `</s>`
    tokenizer: str | None = None  # content of a tokenizer.json whose pieces the model was pretrained on; None: words of train are counted
    max_length: int | None = None  # tokens of a text that the model can read
