"""HAN against a loop over rows, sentences and words, and where its sentences end."""

from __future__ import annotations

import pytest
import torch
from texts import TEXTS, VOCABULARY, batch, check_attention, learns_order, make, torchs

from recipes.models import HAN
from recipes.models.han import cut


def sentences(text: list[int], longest: int) -> list[list[int]]:
    """Split behind the last of adjacent endings, and where a sentence grows too long."""
    found: list[list[int]] = [[]]
    for i, word in enumerate(text):
        found[-1].append(word)
        ends = VOCABULARY[word] in ".!" and not (i + 1 < len(text) and VOCABULARY[text[i + 1]] in ".!")
        if ends or len(found[-1]) == longest:
            found.append([])
    return [s for s in found if s] or [[0]]


def naive(model: HAN, text: list[int]) -> tuple[torch.Tensor, list[float]]:
    """Logits of one text and the weight of each word."""

    def pool(pool: torch.nn.Module, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        weights = torch.stack([torch.tanh(pool.project(h)) @ pool.context for h in states]).softmax(0)
        return weights @ states, weights

    vectors, inside = [], []
    for sentence in sentences(text, model.max_sentence):
        states, _ = torchs(model.words)(model.embedding.weight[sentence])
        vector, weights = pool(model.word_pool, states)
        vectors.append(vector)
        inside.append(weights)
    states, _ = torchs(model.sentences)(torch.stack(vectors))
    vector, outer = pool(model.sentence_pool, states)
    return model.head(vector), [float(a * w) for a, weights in zip(outer, inside, strict=True) for w in weights]


@pytest.mark.parametrize("longest", [100, 3, 1])
@torch.no_grad()
def test_it_is_the_loop_over_sentences(longest: int) -> None:
    model = make(HAN, dim=5, hidden=4, max_sentence=longest).double().eval()
    found, weights_BT = model(batch(TEXTS, width=13)), model.attention(batch(TEXTS, width=13))
    for logits, weights_T, text in zip(found, weights_BT, TEXTS, strict=True):
        expected, weights = naive(model, text)
        torch.testing.assert_close(logits, expected, rtol=0, atol=1e-12)
        if text:
            assert weights_T[: len(text)].tolist() == pytest.approx(weights, abs=1e-12)


def test_attention_is_a_share_of_words() -> None:
    check_attention(make(HAN).eval())


def test_as_published() -> None:
    model = make(HAN)
    assert model.embedding.embedding_dim == 200
    assert (model.words.ways[0].hidden_size, model.words.directions) == (50, 2)
    assert (len(model.word_pool.context), len(model.sentence_pool.context)) == (100, 100)


@pytest.mark.parametrize(
    ("words", "sizes"),
    [
        ("a b . c d", [3, 2]),
        ("a . . . b", [4, 1]),
        ("a ! ? b", [3, 1]),
        (". a", [1, 1]),
        ("a b c d e f g", [5, 2]),
        ("a b c d . e", [5, 1]),
        ("a b c d e . f", [5, 1, 1]),
        ("a。 b … c\n d； e؟", [1, 2, 1, 1, 1]),
        ('one. two." three.) e.g 3.5 four', [1, 1, 1, 3]),
    ],
)
def test_where_sentences_end(words: str, sizes: list[int]) -> None:
    vocabulary = ("", "<unk>", *dict.fromkeys(words.split(" ")))
    model = make(HAN, vocabulary, max_sentence=5)
    ids = torch.tensor([[vocabulary.index(word) for word in words.split(" ")]])
    found = cut(model._ends_V[ids], torch.tensor([ids.shape[1]]), 5)
    assert found.words_N.tolist() == sizes
    assert found.sentences_B.tolist() == [len(sizes)]


@torch.no_grad()
def test_sentences_of_a_mixture_end_where_either_text_has_an_end() -> None:
    model = make(HAN, dim=5, hidden=4).eval()
    given, other = batch([[2, 8, 4, 5, 6]]), batch([[3, 4, 5, 8, 6]])
    given.partner, given.mix_B2 = other, torch.tensor([[0.7, 0.3]])
    assert model._cut(given).words_N.tolist() == [2, 2, 1]
    given.mix_B2 = torch.tensor([[1.0, 0.0]])  # nothing is left of the partner
    assert model._cut(given).words_N.tolist() == [2, 3]


def test_it_learns_order() -> None:
    assert learns_order(make(HAN, dim=16, hidden=16, dropout=0.0)) > 0.9


def test_bf16() -> None:
    model = make(HAN).eval()
    with torch.autocast("cpu", torch.bfloat16):
        half = model(batch(TEXTS))
    torch.testing.assert_close(half.float(), model(batch(TEXTS)), rtol=0.05, atol=0.02)
