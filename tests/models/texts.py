"""Batches of texts given as ids, and models over a small vocabulary. T tokens."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch

from recipes.data.batch import Batch
from recipes.models import Model
from recipes.models.recurrent import Recurrent

VOCABULARY = ("", "<unk>", "a", "b", "c", "d", "e", "f", ".", "!")
TEXTS = [[2, 3, 4, 8, 5, 6, 9, 8, 7, 2], [7], [], [1, 2, 2, 8], [8, 9, 6], [6, 5, 4, 3, 2, 1, 7]]

M = TypeVar("M", bound=Model)


def make(cls: type[M], vocabulary: tuple[str, ...] = VOCABULARY, **settings: Any) -> M:
    """A model for three classes, always with the same first weights."""
    torch.manual_seed(0)
    return cls(3, len(vocabulary), vocabulary, "multiclass", np.array([5, 3, 2]), 10, **settings)


def batch(texts: list[list[int]], width: int = 1) -> Batch:
    """Texts padded to the longest, or to `width`."""
    lengths = torch.tensor([len(t) for t in texts])
    tokens = torch.zeros(len(texts), max(width, int(lengths.max())), dtype=torch.int64)
    for row, text in zip(tokens, texts, strict=True):
        row[: len(text)] = torch.tensor(text, dtype=torch.int64)
    return Batch(torch.arange(len(texts)), torch.arange(len(texts)) % 3, torch.ones(len(texts)), tokens_BT=tokens, lengths_B=lengths)


def torchs(rnn: Recurrent) -> torch.nn.RNNBase:
    """torch's own layer, of all layers and directions, with the same weights."""
    way = rnn.ways[0]
    layers, both = len(rnn.ways) // rnn.directions, rnn.directions == 2
    whole = type(way)(way.input_size, way.hidden_size, layers, bidirectional=both, dtype=way.weight_hh_l0.dtype)
    for i, each in enumerate(rnn.ways):
        suffix = f"{i // rnn.directions}{'_reverse' * (i % rnn.directions)}"
        for name, p in each.named_parameters():
            getattr(whole, f"{name[:-1]}{suffix}").data.copy_(p)
    return whole


def check_attention(model: Model) -> None:
    """Weights of each text sum to one over its words, are zero behind them, and do not depend on the other texts."""
    weights_BT = model.attention(batch(TEXTS, width=14))
    assert weights_BT.shape == (len(TEXTS), 14)
    assert (weights_BT >= 0).all()
    for row, text in zip(weights_BT, TEXTS, strict=True):
        assert not row[len(text) :].any()
        torch.testing.assert_close(row.sum(), torch.tensor(float(bool(text))).to(row))
        alone = model.attention(batch([text]))[0, : len(text)]
        torch.testing.assert_close(row[: len(text)], alone)


def learns_order(model: Model, steps: int = 60, rate: float = 0.01) -> float:
    """Accuracy on new texts in which the class is the order of two words that every text has, after training by Adam."""
    generator = torch.Generator().manual_seed(1)

    def sample(rows: int) -> Batch:
        texts = torch.randint(4, 8, (rows, 8), generator=generator)
        places = torch.rand(rows, 8, generator=generator).argsort(1)[:, :2].sort(1).values
        first = torch.randint(0, 2, (rows,), generator=generator)
        texts.scatter_(1, places[:, :1], 2 + first[:, None]).scatter_(1, places[:, 1:], 3 - first[:, None])
        made = batch(texts.tolist())
        made.targets = first
        return made

    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    model.train()
    for _ in range(steps):
        given = sample(64)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(given), given.targets).backward()
        optimizer.step()
        model.after_step()
    given = sample(500)
    return float((model.eval()(given).argmax(1) == given.targets).double().mean())
