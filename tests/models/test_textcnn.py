"""TextCNN against a naive float64 reference, its constraints on weights, and its four embeddings."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from recipes.data.batch import Batch
from recipes.errors import ConfigError
from recipes.models import TextCNN

VOCABULARY = ("", "<unk>", "a", "b", "c", "d", "e", "f")
TEXTS = [[2, 3, 4, 5, 6], [7], [], [1, 2, 2], [6, 5, 4, 3, 2, 1, 7]]


def textcnn(**settings: Any) -> TextCNN:
    torch.manual_seed(0)
    return TextCNN(3, len(VOCABULARY), VOCABULARY, "multiclass", np.array([5, 3, 2]), 10, **settings)


def batch(texts: list[list[int]]) -> Batch:
    lengths = torch.tensor([len(t) for t in texts])
    tokens = torch.zeros(len(texts), max(1, int(lengths.max())), dtype=torch.int64)
    for row, text in zip(tokens, texts, strict=True):
        row[: len(text)] = torch.tensor(text, dtype=torch.int64)
    return Batch(torch.arange(len(texts)), torch.arange(len(texts)) % 3, torch.ones(len(texts)), tokens_BT=tokens, lengths_B=lengths)


def naive(model: TextCNN, text: list[int]) -> torch.Tensor:
    """One text without padding, window by window: zeros on both sides, and only windows that touch a word."""
    pooled = []
    for conv in model.convolutions:
        width = conv.weight.shape[3]
        zeros = [torch.zeros(model.embedding.weight.shape[1], dtype=torch.float64)] * (width - 1)
        words = [*zeros, *(model.embedding.weight[i] for i in text or [0]), *zeros]
        windows = [words[i : i + width] for i in range(len(words) - width + 1)]
        scores = [conv.bias + sum(conv.weight[:, :, 0, j] @ word for j, word in enumerate(window)) for window in windows]
        pooled.append(model.activation(torch.stack(scores)).amax(0))
    return model.head.weight @ torch.cat(pooled) + model.head.bias


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("widths", [[3, 4, 5], [1], [2, 9]])
def test_it_is_the_convolution_of_each_text_alone(activation: Any, widths: list[int]) -> None:
    model = textcnn(dim=6, maps=4, widths=widths, activation=activation).double().eval()
    with torch.no_grad():
        for conv in model.convolutions:
            conv.bias.uniform_(0.5, 1)  # a window of zeros would win many a maximum, were it not left out
        expected = torch.stack([naive(model, text) for text in TEXTS])
        torch.testing.assert_close(model(batch(TEXTS)), expected, rtol=0, atol=1e-12)


def test_a_large_training_batch_is_the_same_texts_in_small_ones() -> None:
    """Short and long texts of a large batch go through the convolutions apart."""
    rng = np.random.default_rng(0)
    texts = [rng.integers(1, len(VOCABULARY), n).tolist() for n in rng.integers(0, 30, 70)]
    gradients = []
    for size in (70, 10):
        model = textcnn(dim=6, maps=4, dropout=0.0).double().train()
        logits = torch.cat([model(batch(texts[i : i + size])) for i in range(0, len(texts), size)])
        weights = torch.from_numpy(np.random.default_rng(1).normal(size=(len(texts), 3)))
        (logits * weights).sum().backward()
        gradients.append([logits.detach(), *(p.grad for p in model.parameters())])
    for whole, parts in zip(*gradients, strict=True):
        torch.testing.assert_close(whole, parts, rtol=0, atol=1e-12)


def test_gradients_of_the_whole_model() -> None:
    model = textcnn(dim=3, maps=2, widths=[2, 3]).double().eval()
    weights = {name: p for name, p in model.named_parameters() if name != "embedding.weight"}

    def logits(*values: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(model, dict(zip(weights, values, strict=True)), (batch(TEXTS),))

    assert torch.autograd.gradcheck(logits, tuple(weights.values()))


def test_columns_of_the_last_layer_stay_within_max_norm() -> None:
    model = textcnn(dim=4, maps=3, max_norm=3.0)
    with torch.no_grad():
        model.head.weight.copy_(torch.tensor([[5.0], [1.0], [0.0]]).expand(3, 9))
    before = model.head.weight.detach().clone()
    model.after_step()
    assert model.head.weight[0].norm().item() == pytest.approx(3, rel=1e-5)
    torch.testing.assert_close(model.head.weight[0] / model.head.weight[0].norm(), before[0] / before[0].norm())
    assert torch.equal(model.head.weight[1], before[1] * (3 / before[1].norm() if before[1].norm() > 3 else 1))
    assert torch.equal(model.head.weight[2], before[2])


def test_max_norm_leaves_a_cosine_head_alone_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        model = textcnn(dim=4, maps=3, max_norm=0.1, head="cosine")
    assert "model.max_norm: a cosine head" in caplog.text
    before, logits = model.head.weight.detach().clone(), model.eval()(batch(TEXTS))
    model.after_step()
    assert torch.equal(model.head.weight, before)
    assert logits.abs().max() <= 30
    with pytest.raises(ConfigError, match=r"use model.bias_init=zero, or model.head=linear"):
        textcnn(head="cosine", bias_init="prior")


def test_the_padding_row_stays_zero() -> None:
    model = textcnn(dim=4, maps=3)
    assert not model.embedding.weight[0].any()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        functional.cross_entropy(model(batch(TEXTS)), torch.tensor([0, 1, 2, 0, 1])).backward()
        optimizer.step()
        model.after_step()
    assert not model.embedding.weight[0].any()
    with torch.no_grad():
        model.embedding.weight[0] = 1
    model.after_step()
    assert not model.embedding.weight[0].any()


@pytest.fixture
def vectors(tmp_path: Path) -> str:
    path = tmp_path / "words.vec"
    path.write_text("3 2\na 1 2\nc -3 4\nz 0 0\n", encoding="utf-8")
    return str(path)


def train(model: TextCNN) -> None:
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    for _ in range(3):
        optimizer.zero_grad()
        functional.cross_entropy(model(batch(TEXTS)), torch.tensor([0, 1, 2, 0, 1])).backward()
        optimizer.step()
        model.after_step()


def test_modes(vectors: str, caplog: pytest.LogCaptureFixture) -> None:
    known = {2: [1.0, 2.0], 4: [-3.0, 4.0]}
    with caplog.at_level(logging.INFO):
        models = {mode: textcnn(mode=mode, vectors=vectors, maps=4) for mode in ("static", "nonstatic", "multichannel")}
    assert "2 of 6 words (33.3%)" in caplog.text
    for mode, model in models.items():
        start = model.embedding.weight.detach().clone()
        for row, numbers in known.items():
            assert start[row].tolist() == numbers
        missing = start[[3, 5, 6, 7]]
        assert missing.abs().max() <= 0.25
        assert missing.abs().min() > 0
        train(model)
        changed = (model.embedding.weight != start).any(1)
        assert not changed[0]
        assert bool(changed[2]) == (mode != "static")
        if mode == "multichannel":
            assert model.fixed is not None
            assert torch.equal(model.fixed.weight, start)
            assert model.convolutions[0].weight.shape[1] == 4


def test_the_range_can_match_the_variance_of_the_vectors(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(0, 2, (6, 400))
    path = tmp_path / "words.txt"
    path.write_text("\n".join(f"{w} {' '.join(f'{x:.5f}' for x in row)}" for w, row in zip("abcghi", rows, strict=True)), encoding="utf-8")
    model = textcnn(mode="static", vectors=str(path), unknown_range=None)
    unknown = model.embedding.weight[[5, 6]]
    assert unknown.var().item() == pytest.approx(4, rel=0.1)
    assert unknown.abs().max() <= math.sqrt(3 * 4) * 1.05


def test_random_rows_are_kims() -> None:
    rows = textcnn(dim=5000).embedding.weight[2:]
    assert rows.abs().max() <= 0.25
    assert rows.var().item() == pytest.approx(0.25**2 / 3, rel=0.02)


def test_padding_and_the_unknown_word_begin_at_zero() -> None:
    """The unknown word may be met in new texts only: a random vector that nothing has trained would be noise in each of them."""
    assert not textcnn().embedding.weight[:2].any()
    random = textcnn(unknown_word="random").embedding.weight
    assert not random[0].any()
    assert random[1].all()


def test_init_draws_filters_and_the_last_layer_but_no_embedding() -> None:
    model, plain = textcnn(dim=40, maps=200, init="he_normal"), textcnn(dim=40, maps=200)
    for conv in model.convolutions:
        assert conv.weight.var().item() == pytest.approx(2 / (40 * conv.weight.shape[3]), rel=0.05)
    assert model.head.weight.var().item() == pytest.approx(2 / 600, rel=0.15)
    assert torch.equal(model.embedding.weight, plain.embedding.weight)


def test_a_trained_model_is_built_again_without_the_file(vectors: str) -> None:
    for mode in ("static", "nonstatic", "multichannel"):
        settings = {"mode": mode, "vectors": vectors, "maps": 4}
        model = textcnn(**settings)
        again = textcnn(**TextCNN.inference_settings({**settings, "vectors": "/gone.vec"}, model.state_dict()))
        again.load_state_dict(model.state_dict())
        assert torch.equal(again.eval()(batch(TEXTS)), model.eval()(batch(TEXTS)))


def test_mistakes_are_named_with_their_fix(vectors: str, tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"mode": "static"}, r"model.vectors: mode 'static' .* no file is given; add model.vectors="),
        ({"vectors": vectors}, r"model.mode: 'rand' would not read .*nonstatic"),
        ({"unknown_range": None}, "model.unknown_range: null"),
        ({"mode": "static", "vectors": vectors, "dim": 300}, r"model.dim: 300 was asked for, .* have 2 numbers; set model.dim=null or 2"),
    ]
    (tmp_path / "other.vec").write_text("x 1 2\n", encoding="utf-8")
    cases.append(({"mode": "static", "vectors": str(tmp_path / "other.vec")}, "none of the 6 words"))
    for settings, message in cases:
        with pytest.raises(ConfigError, match=message):
            textcnn(**settings)
    assert textcnn(mode="static", vectors=vectors, dim=2).embedding.weight.shape[1] == 2
    assert textcnn().embedding.weight.shape[1] == 128
