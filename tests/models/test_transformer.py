"""The Transformer against torch's own encoder on texts without padding."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from texts import TEXTS, batch, check_attention, learns_order, make
from torch import nn

from recipes.errors import ConfigError
from recipes.models import Transformer
from recipes.models.transformer import Block, sinusoids


def torchs(model: Transformer, heads: int) -> nn.TransformerEncoder:
    """torch's pre-norm encoder with the model's weights."""
    width, inner = model.blocks[0].out.in_features, model.blocks[0].up.out_features
    layer = nn.TransformerEncoderLayer(width, heads, inner, 0.0, "gelu", batch_first=True, norm_first=True)
    encoder = nn.TransformerEncoder(layer, len(model.blocks), norm=nn.LayerNorm(width), enable_nested_tensor=False).double().eval()
    for own, block in zip(encoder.layers, model.blocks, strict=True):
        pairs = [(own.norm1, block.norm1), (own.norm2, block.norm2), (own.linear1, block.up), (own.linear2, block.down)]
        for mine, theirs in [*pairs, (own.self_attn.out_proj, block.out)]:
            mine.load_state_dict(theirs.state_dict())
        own.self_attn.in_proj_weight.copy_(block.qkv.weight)
        own.self_attn.in_proj_bias.copy_(block.qkv.bias)
    encoder.norm.load_state_dict(model.norm.state_dict())
    return encoder


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
@torch.no_grad()
def test_it_is_torchs_encoder_on_each_text_alone(positions: Any, pooling: Any, training: bool) -> None:
    model = make(Transformer, width=8, heads=2, inner=6, positions=positions, pooling=pooling, dropout=0.0).double().train(training)
    for p in model.parameters():
        p.add_(0.1 * torch.randn_like(p))  # biases and norms that matter
    model.after_step()
    encoder = torchs(model, heads=2)
    expected = []
    for text in TEXTS:
        words = model.embedding.weight[text or [0]]
        if model.positions is not None:
            words = words + model.positions[: len(words)]
        else:
            words = words * math.sqrt(8) + sinusoids(len(words), 8, words)
        if model.cls is not None:
            words = torch.cat((model.cls[None], words))
        states = encoder(words[None])[0]
        expected.append(model.head(states[0] if pooling == "cls" else states.mean(0)))
    torch.testing.assert_close(model(batch(TEXTS, width=13)), torch.stack(expected), rtol=0, atol=1e-12)


def test_sinusoids_are_those_of_the_paper() -> None:
    found = sinusoids(50, 6, torch.zeros(1, dtype=torch.float64))
    for position, i in ((0, 0), (3, 1), (49, 2)):
        angle = position / 10_000 ** (2 * i / 6)
        assert found[position, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-12)
        assert found[position, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-12)
    assert sinusoids(4, 5, found).shape == (4, 5)


@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
@torch.no_grad()
def test_words_beyond_the_last_position_are_not_read(positions: Any, pooling: Any) -> None:
    model = make(Transformer, max_positions=4, positions=positions, pooling=pooling).eval()
    short = [text[:4] for text in TEXTS]
    torch.testing.assert_close(model(batch(TEXTS)), model(batch(short)))
    weights = model.attention(batch(TEXTS))
    assert weights.shape == (len(TEXTS), 10)
    assert not weights[:, 4:].any()
    torch.testing.assert_close(weights[:, :4], model.attention(batch(short))[:, :4])


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_attention_is_a_share_of_words(pooling: Any) -> None:
    check_attention(make(Transformer, pooling=pooling).eval())


@torch.no_grad()
def test_attention_is_torchs_of_the_last_layer() -> None:
    model = make(Transformer, width=8, heads=2, layers=1).double().eval()
    encoder = torchs(model, heads=2)
    text = [2, 3, 4, 5]
    words = model.embedding.weight[text] + model.positions[:4]
    normed = encoder.layers[0].norm1(words)[None]
    _, weights_1TT = encoder.layers[0].self_attn(normed, normed, normed, need_weights=True)
    torch.testing.assert_close(model.attention(batch([text]))[0], weights_1TT[0].mean(0))


def test_word_vectors_of_another_width_are_projected() -> None:
    model = make(Transformer, dim=5, width=8)
    assert model.project is not None
    assert model.project.weight.shape == (8, 5)
    assert make(Transformer, width=8).project is None
    assert make(Transformer, width=8).embedding.embedding_dim == 8


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ConfigError, match=r"model.heads: 5 heads do not divide model.width=12; use model.heads=1, 2, 3, 4, 6, 12, or"):
        make(Transformer, heads=5, width=12)


def test_dropout_acts_in_training_alone() -> None:
    torch.manual_seed(0)
    block, states, open_BT = Block(8, 2, 16, 0.5), torch.randn(2, 3, 8), torch.ones(2, 3, dtype=torch.bool)
    assert not torch.equal(block(states, open_BT), block(states, open_BT))
    block.eval()
    assert torch.equal(block(states, open_BT), block(states, open_BT))


@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
def test_it_learns_order(positions: Any) -> None:
    assert learns_order(make(Transformer, width=32, inner=64, positions=positions, dropout=0.0), steps=150) > 0.9


def test_bf16() -> None:
    model = make(Transformer, pooling="cls").eval()
    with torch.autocast("cpu", torch.bfloat16):
        half = model(batch(TEXTS))
    torch.testing.assert_close(half.float(), model(batch(TEXTS)), rtol=0.05, atol=0.02)
