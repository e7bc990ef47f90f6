"""A supervised model that the reference implementation of fastText saved (`.bin`), read for prediction.

Probabilities are those of its formulas. What it prints differs a little: it adds 1e-5 to each probability (to that of each decision in a
hierarchical softmax), and looks sigmoids up in a table of 512 values, which is up to 0.008 off.

V words, K hash buckets, E embedding, C labels, N rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from recipes.config.types import NonNegativeInt, PositiveInt
from recipes.data import Facts, Needs
from recipes.data.facts import Task
from recipes.data.features import Features
from recipes.data.ngrams import END
from recipes.data.text import Tokens
from recipes.data.tokens import WORDS, TokenEncoder
from recipes.evaluation import Readout
from recipes.inference.bundle import Bundle
from recipes.inference.fasttext_format import FastTextFile, damaged, read_bin
from recipes.models import FastText
from recipes.priors import Ledger

if TYPE_CHECKING:
    import polars as pl

_PREFIX = "__label__"
_SCORES = "loss=ns compares a label with noise, and fits no distribution"


def read_fasttext(path: Path) -> Bundle:
    """The bundle of a supervised `.bin`: `softmax` and `hs` are one distribution over the labels, `ova` and `ns` a sigmoid for each.

    All buckets have rows, so that n-grams that train never saw find their random ones, as they do in fastText. The largest matrix is read
    once and not copied. Raises CheckpointError for a file that is damaged, quantized, unsupervised or of another kind.
    """
    content = read_bin(path, rows_before=WORDS)
    shape = content.shape
    tree = shape.loss == "hs" and len(content.labels) > 1
    if tree and (np.diff(content.label_counts_C) > 0).any():
        raise damaged(path, "its labels are not in the order of their counts, and a Huffman tree is built in that order")
    settings = {
        "_target_": f"{__name__}.{StoredFastText.__name__}",
        "dim": shape.dim,
        "word_ngrams": shape.word_ngrams,
        "minn": shape.minn,
        "maxn": shape.maxn,
        "buckets": max(shape.buckets, 1),
        "end": True,
        "head": "hierarchical" if tree else "linear",
    }
    needs = StoredFastText.needs(settings)
    facts = _facts(content, needs.buckets)
    encoder = LineEncoder(needs, content.words, content.labels, content.mean_length)
    out_CE = content.out_CE[: len(content.labels) - 1] if tree else content.out_CE  # a tree of C leaves has C - 1 decisions
    weights = {"embedding.weight": content.rows_VE, "head.weight": out_CE}
    natural_C = facts.class_counts / max(facts.train_rows, 1)
    readout = Readout(Ledger(facts.task, natural_C, natural_C, approximate=(_SCORES,) if shape.loss == "ns" else ()))
    return Bundle(facts, needs, encoder, settings, {"text": "text"}, weights, readout, {})


def _facts(content: FastTextFile, buckets: int) -> Facts:
    counts_C, several = content.label_counts_C, content.shape.loss in ("ova", "ns")
    task: Task = "multilabel" if several else "binary" if len(counts_C) == 2 else "multiclass"
    plain = all(label.startswith(_PREFIX) and len(label) > len(_PREFIX) for label in content.labels)
    return Facts(
        task,
        "text",
        tuple(label.removeprefix(_PREFIX) for label in content.labels) if plain else tuple(content.labels),
        counts_C,
        max(content.lines, int(counts_C.max())) if several else int(counts_C.sum()),
        WORDS + len(content.words) + buckets,
        ("", "<unk>", *content.words),
    )


class StoredFastText(FastText):
    """A `FastText` for weights that are there: none are drawn, and those that are loaded are taken as they are instead of copied.

    A table of two million rows of a hundred numbers is 800 MB, of which there is one, and not two.
    """

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
        word_ngrams: PositiveInt = 1,
        minn: NonNegativeInt = 0,
        maxn: NonNegativeInt = 0,
        buckets: PositiveInt = 2_000_000,
        end: bool = True,
        head: Literal["linear", "hierarchical"] = "linear",
    ) -> None:
        grams: dict[str, Any] = {"word_ngrams": word_ngrams, "minn": minn, "maxn": maxn, "buckets": buckets}
        with torch.device("meta"):  # shapes without memory
            super().__init__(
                num_classes, vocab_size, vocabulary, task, class_counts, train_rows, dim=dim, end=end, sparse=False, head=head, **grams
            )

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = True) -> Any:
        """As in torch, but with tensors that are taken over: memory that does not exist cannot be copied into."""
        return super().load_state_dict(state_dict, strict=strict, assign=True)


class LineEncoder(TokenEncoder):
    """Texts to ids as fastText reads a line: labels are no words, and the token `</s>` ends the text, its own or the one that is added.

    A line break is a blank here: fastText's `predict` of Python refuses it, its command line takes it for the next text. Every bucket
    has an id.
    """

    def __init__(self, needs: Needs, words: list[str], labels: list[str], mean_length: float) -> None:
        features = Features(tokenizer="whitespace", lowercase=False, max_length=None)
        super().__init__(features, needs, words, np.arange(needs.buckets, dtype=np.int64), mean_length)
        self._labels = labels

    def _cut(self, data: pl.Series) -> Tokens:
        """The words of each text before its first `</s>`."""
        import polars as pl

        tokens = super()._cut(data)
        types, codes, lengths = tokens.types, tokens.codes, tokens.lengths
        labels = types.is_in(pl.Series(self._labels, dtype=pl.String).implode())
        unknown = types.str.starts_with(_PREFIX)
        if unknown.any():
            unknown &= ~types.is_in(pl.Series(self.words, dtype=pl.String).implode())
        keep = ~(labels | unknown).to_numpy()[codes]
        ends = np.concatenate([[0], np.cumsum((types == END).to_numpy()[codes])])  # of the tokens before each place
        starts = np.cumsum(lengths) - lengths
        keep &= ends[1:] == np.repeat(ends[starts], lengths)
        kept = np.concatenate([[0], np.cumsum(keep)])
        return Tokens(codes[keep], kept[starts + lengths] - kept[starts], types, 0)
