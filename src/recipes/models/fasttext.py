"""fastText's classifier (Joulin et al. 2017, "Bag of Tricks for Efficient Text Classification").

B batch, E embedding, C classes or labels, V ids of words and n-grams, N rows of a split.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
from torch import Tensor, nn

from recipes.config.check import settings_of
from recipes.config.types import NonNegativeInt, PositiveFloat, PositiveInt
from recipes.data.batch import Batch
from recipes.data.facts import Needs, Task
from recipes.data.split import TrainSplit
from recipes.errors import ConfigError
from recipes.models.base import Model
from recipes.models.embedding import IN_WEIGHTS, fill_from_file
from recipes.models.fused import FusedUpdate, Objective
from recipes.models.heads import HeadKind, check_bias, make_head
from recipes.models.huffman import HierarchicalHead
from recipes.models.init import Init, init_last_bias, init_weights

_LEAST = 256  # rows for which a second thread is worth its start


class FastText(Model):
    """The mean of the rows of a text's words and hashed n-grams, and a linear layer.

    As published: rows from U(-1/dim, 1/dim), output weights zero, no bias, and each text ends with the word `</s>`. `init` other than
    `default` draws the output weights instead; `bias_init` other than `none` adds a bias. Without `end` an empty text has the mean zero.

    word_ngrams: the longest run of words that has a row of its own. minn, maxn: the shortest and longest run of characters of a word, with
    `<` before and `>` after it, that has one; maxn 0: none. Both are hashed into `buckets`, of which only those that train fills have
    rows, so that more buckets cost no memory. vectors: a file of pretrained word vectors, from which those rows start.

    head: `cosine` compares directions alone, times `scale`; its weights cannot begin at zero, and by default are torch's. `hierarchical`
    is a tree of decisions over the classes (`loss=hierarchical_softmax` sets it).

    With `sparse`, the gradient of the rows holds only those of the batch: an update then costs the size of the batch, not that of the
    table. Memory of the table: 4 * dim * rows bytes. With plain SGD the model trains without autograd, see `fused_update`.
    """

    representation = "tokens"

    def __init__(
        self,
        num_classes: int,
        vocab_size: int,
        vocabulary: tuple[str, ...],
        task: Task,
        class_counts: np.ndarray,
        train_rows: int,
        *,
        dim: PositiveInt = 100,
        word_ngrams: PositiveInt = 2,
        minn: NonNegativeInt = 0,
        maxn: NonNegativeInt = 0,
        buckets: PositiveInt = 2_000_000,
        end: bool = True,
        vectors: str | None = None,
        sparse: bool = True,
        head: HeadKind | Literal["hierarchical"] = "linear",
        scale: PositiveFloat = 30.0,
        init: Init = "default",
        bias_init: Literal["none", "zero", "prior"] = "none",
    ) -> None:
        super().__init__()
        _check_characters(minn, maxn)
        if head != "hierarchical":
            check_bias(head, bias_init, without="none")
        self.embedding = nn.EmbeddingBag(vocab_size, dim, mode="mean", sparse=sparse, include_last_offset=True)
        nn.init.uniform_(self.embedding.weight, -1 / dim, 1 / dim)
        if vectors is not None and vectors != IN_WEIGHTS:
            fill_from_file(self.embedding.weight.data, vocabulary, vectors, 1 / dim)
        self.head: nn.Module
        if head == "hierarchical":
            if task == "multilabel":
                raise ConfigError(
                    "model.head: the tree of loss=hierarchical_softmax is one distribution over the classes, and this task is multilabel; "
                    "use loss=ova, and model.head=linear"
                )
            self.head = HierarchicalHead(dim, class_counts)
            return
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
        order, minn, maxn = chosen["word_ngrams"], chosen["minn"], chosen["maxn"]
        _check_characters(minn, maxn)
        buckets = chosen["buckets"] if order > 1 or maxn else 0
        return Needs(cls.representation, word_ngrams=order, buckets=buckets, form="bag", minn=minn, maxn=maxn, end=chosen["end"])

    @classmethod
    def inference_settings(cls, settings: Mapping[str, Any], weights: Mapping[str, Tensor]) -> dict[str, Any]:
        """No file is read again: the rows come with the weights."""
        return dict(settings) if settings.get("vectors") is None else {**settings, "vectors": IN_WEIGHTS}

    def embed(self, batch: Batch) -> Tensor:
        """hidden_BE"""
        return self.embedding(batch.ids, batch.offsets)

    def encode(self, hidden: Tensor, batch: Batch) -> Tensor:
        """hidden_BE as it is"""
        return hidden

    def fused_update(self, objective: Objective, threads: int) -> FusedUpdate | str:
        """Forward, loss and update of row after row in one compiled kernel, on `threads` of them; or why there is none."""
        if any(not p.requires_grad for p in self.parameters()):
            return "a part of the model is not trained (init.train)"
        if isinstance(self.head, HierarchicalHead) != (objective.form == "hierarchical"):
            return "model.head=hierarchical and loss=hierarchical_softmax go together"
        plain = type(self.head) is nn.Linear and self.head.bias is None
        if not (plain or isinstance(self.head, HierarchicalHead)):
            return "it knows heads that are linear, without a bias: model.head=linear model.bias_init=none"
        try:
            from recipes.models import fasttext_kernel
        except Exception as error:  # numba raises what it likes where it cannot work
            return f"its kernel cannot be built here ({type(error).__name__}: {error})"
        update = _Update(self, fasttext_kernel, threads)
        try:
            update.compile(objective)
        except Exception as error:
            return f"its kernel cannot be built here ({type(error).__name__}: {str(error)[:200]})"
        return update


class _Update:
    """A `FusedUpdate`: rows of a bag store through the kernel, in one thread or shared out among several."""

    def __init__(self, model: FastText, kernel: Any, threads: int) -> None:
        self.model, self.kernel, self.threads = model, kernel, threads
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None
        tree = model.head.tree if isinstance(model.head, HierarchicalHead) else None
        paths, bits = (tree.paths, tree.bits) if tree is not None else ([], [])
        self._path_starts = np.concatenate([[0], np.cumsum([len(path) for path in paths])]).astype(np.int64)
        self._path = np.concatenate([np.empty(0, np.int64), *paths])
        self._bits = np.concatenate([np.empty(0, bool), *bits])

    def compile(self, objective: Objective) -> None:
        """Compile the kernel, or find its machine code in the cache."""
        nothing = np.empty(0, np.int64)
        arrays = (np.empty(0, np.int32), nothing, nothing, nothing, np.empty((0, 1), np.float32))
        self._call(arrays, objective, 1, 0, nothing, np.empty(0, np.float32), 0)

    def __call__(self, split: TrainSplit, rows: np.ndarray, rates: np.ndarray, objective: Objective, seed: int, first: int) -> np.ndarray:
        tensors, targets = split.store.tensors, split.labels()
        one_each = targets.ndim == 1
        arrays = (
            tensors["ids"].numpy(),
            tensors["starts"].numpy(),
            tensors["lengths"].numpy(),
            targets if one_each else np.empty(0, np.int64),
            np.empty((0, 1), np.float32) if one_each else targets,
        )
        num_classes = split.num_classes
        if self._pool is None or len(rows) < _LEAST:
            return self._call(arrays, objective, num_classes, seed, rows, rates, first)
        cuts = np.linspace(0, len(rows), self.threads + 1).astype(int)
        jobs = [
            self._pool.submit(self._call, arrays, objective, num_classes, seed, rows[a:b], rates[a:b], first + a)
            for a, b in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True)
        ]
        return np.concatenate([job.result() for job in jobs])

    def _call(
        self,
        arrays: tuple[np.ndarray, ...],
        objective: Objective,
        num_classes: int,
        seed: int,
        rows: np.ndarray,
        rates: np.ndarray,
        first: int,
    ) -> np.ndarray:
        losses = np.empty(len(rows), np.float32)
        ones = np.ones(num_classes, np.float32)
        factors, positive = (ones if w is None else w.astype(np.float32) for w in (objective.weights_C, objective.positive_C))
        noise = np.ones(1) if objective.noise_C is None else np.cumsum(objective.noise_C) / objective.noise_C.sum()
        table, out = (p.detach().numpy() for p in (self.model.embedding.weight, self.model.head.get_parameter("weight")))
        form = getattr(self.kernel, objective.form.upper())
        self.kernel.update(
            form, table, out, *arrays, rows, rates, factors, positive, self._path_starts, self._path, self._bits, objective.negatives,
            noise, seed, first, losses,
        )  # fmt: skip
        return losses


def _check_characters(minn: int, maxn: int) -> None:
    if (minn > maxn) or (maxn > 0 and minn < 1):
        raise ConfigError(
            f"model.minn and model.maxn: {minn} to {maxn} is no range of lengths; use minn=3 maxn=6, or minn=0 maxn=0 for no n-grams of "
            "characters"
        )
