"""TextRCNN against its equations, word by word."""

from __future__ import annotations

import pytest
import torch
from texts import TEXTS, batch, learns_order, make

from recipes.models import TextRCNN


def naive(model: TextRCNN, text: list[int]) -> torch.Tensor:
    """Equations 1 to 5 with the network that has no gates: each context is made of the words on its side alone."""
    words = model.embedding.weight[text or [0]]

    def context(read: torch.Tensor, way: torch.nn.RNNBase, start: torch.Tensor) -> torch.Tensor:
        state = start
        for word in read:
            state = torch.tanh(way.weight_ih_l0 @ word + way.bias_ih_l0 + way.weight_hh_l0 @ state + way.bias_hh_l0)
        return state

    latent = []
    for i, word in enumerate(words):
        left = context(words[:i], model.rnn.ways[0], model.outer[0])
        right = context(words[i + 1 :].flip(0), model.rnn.ways[1], model.outer[1])
        latent.append(torch.tanh(model.project.weight @ torch.cat((left, word, right)) + model.project.bias))
    return model.head.weight @ torch.stack(latent).amax(0) + model.head.bias


@torch.no_grad()
def test_each_word_between_its_contexts() -> None:
    model = make(TextRCNN, dim=5, hidden=4, latent=6, cell="rnn").double().eval()
    expected = torch.stack([naive(model, text) for text in TEXTS])
    torch.testing.assert_close(model(batch(TEXTS, width=13)), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@torch.no_grad()
def test_a_context_holds_the_words_of_its_side_and_no_others(cell: str) -> None:
    """With one unit of y for each context alone: the word itself and those behind it do not move the left one."""
    model = make(TextRCNN, dim=5, hidden=2, latent=4, cell=cell, head="linear").double().eval()
    model.project.weight.zero_()
    model.project.weight[:2, :2] = torch.eye(2)  # two units see the left context, two the right one
    model.project.weight[2:, 7:] = torch.eye(2)
    model.project.bias.zero_()
    model.outer.fill_(-5)  # the maximum over the text is then that of the other word's context
    embedded = model.embed(batch([[2, 3]]))
    plain = model.encode(embedded, batch([[2, 3]]))
    # A text of two words: the left contexts are the shared one and the state behind word 1, so word 2 is in none.
    last, first = embedded.clone(), embedded.clone()
    last[0, 1] += 1
    first[0, 0] += 1
    changed_last, changed_first = model.encode(last, batch([[2, 3]])), model.encode(first, batch([[2, 3]]))
    assert torch.equal(plain[:, :2], changed_last[:, :2])
    assert not torch.equal(plain[:, 2:], changed_last[:, 2:])
    assert torch.equal(plain[:, 2:], changed_first[:, 2:])
    assert not torch.equal(plain[:, :2], changed_first[:, :2])


def test_it_learns_order() -> None:
    assert learns_order(make(TextRCNN, dim=16, hidden=16, dropout=0.0)) > 0.9


def test_bf16() -> None:
    model = make(TextRCNN).eval()
    with torch.autocast("cpu", torch.bfloat16):
        half = model(batch(TEXTS))
    torch.testing.assert_close(half.float(), model(batch(TEXTS)), rtol=0.05, atol=0.02)
