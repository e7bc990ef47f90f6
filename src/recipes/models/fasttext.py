"""fastText's classifier (Joulin et al. 2017, "Bag of Tricks for Efficient Text Classification").

B batch, E embedding, C classes or labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from torch import Tensor, nn

from recipes.config.check import settings_of
from recipes.config.types import PositiveFloat, PositiveInt
from recipes.data.batch import Batch
from recipes.data.facts import Needs, Task
from recipes.models.base import Model
from recipes.models.heads import HeadKind, check_bias, make_head
from recipes.models.init import Init, init_last_bias, init_weights


class FastText(Model):
    """The mean of the rows of a text's words and hashed word n-grams, and a linear layer.

    As published: rows from U(-1/dim, 1/dim), output weights zero, no bias. `init` other than `default` draws the output weights
    instead; `bias_init` other than `none` adds a bias. An empty text has the mean zero. `head=cosine` compares directions alone, times
    `scale`; its weights cannot begin at zero, and by default are torch's.

    With `sparse`, the gradient of the rows holds only those of the batch: an update then costs the size of the batch, not that of the
    table. Memory of the table: 4 * dim * (words + buckets) bytes.
    """

    representation = "tokens"

    def __init__(
        self,
        num_classes: int,
        vocab_size: int,
        task: Task,
        class_counts: np.ndarray,
        train_rows: int,
        *,
        dim: PositiveInt = 100,
        word_ngrams: PositiveInt = 2,
        buckets: PositiveInt = 100_000,
        sparse: bool = True,
        head: HeadKind = "linear",
        scale: PositiveFloat = 30.0,
        init: Init = "default",
        bias_init: Literal["none", "zero", "prior"] = "none",
    ) -> None:
        super().__init__()
        check_bias(head, bias_init, without="none")
        self.embedding = nn.EmbeddingBag(vocab_size, dim, mode="mean", sparse=sparse, include_last_offset=True)
        nn.init.uniform_(self.embedding.weight, -1 / dim, 1 / dim)
        last = make_head(head, dim, num_classes, scale, bias=bias_init != "none")
        if init == "default" and head == "linear":
            nn.init.zeros_(last.weight)
        init_weights([last], init)
        if bias_init != "none":
            init_last_bias(last.bias, bias_init, task, class_counts, train_rows)
        self.head = last

    @classmethod
    def needs(cls, settings: Mapping[str, Any]) -> Needs:
        """Bags of word ids, with the n-grams that the settings ask for."""
        chosen = {name: default for name, (_, default) in settings_of(cls).items()} | dict(settings)
        order = chosen["word_ngrams"]
        return Needs(cls.representation, word_ngrams=order, buckets=chosen["buckets"] if order > 1 else 0, form="bag")

    def embed(self, batch: Batch) -> Tensor:
        """hidden_BE"""
        return self.embedding(batch.ids, batch.offsets)

    def encode(self, hidden: Tensor, batch: Batch) -> Tensor:
        """hidden_BE as it is"""
        return hidden
