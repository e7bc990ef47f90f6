"""The recurrent network against torch's on each text alone, and its poolings."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from texts import TEXTS, batch, check_attention, learns_order, make, torchs

from recipes.errors import ConfigError
from recipes.models import TextRNN


def pooled(model: TextRNN, text: list[int]) -> torch.Tensor:
    """One text without padding."""
    rnn = torchs(model.rnn)
    states_TH, last = rnn(model.embedding.weight[text or [0]])
    if model.pooling == "max":
        return states_TH.amax(0)
    if model.pooling == "mean":
        return states_TH.mean(0)
    if model.pooling == "last":
        last = last[0] if isinstance(last, tuple) else last
        return last[-2:].flatten() if rnn.bidirectional else last[-1]
    pool = model.pool
    assert pool is not None
    scores = [float(torch.tanh(pool.project.weight @ h + pool.project.bias) @ pool.context) for h in states_TH]
    return torch.tensor(scores, dtype=torch.float64).softmax(0) @ states_TH


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("pooling", ["max", "mean", "last", "attention"])
@pytest.mark.parametrize("shape", [{}, {"layers": 2}, {"bidirectional": False}], ids=str)
@torch.no_grad()
def test_it_is_torchs_network_on_each_text_alone(cell: Any, pooling: Any, shape: dict[str, Any]) -> None:
    model = make(TextRNN, dim=5, hidden=4, cell=cell, pooling=pooling, **shape).double().eval()
    expected = torch.stack([model.head.weight @ pooled(model, text) + model.head.bias for text in TEXTS])
    torch.testing.assert_close(model(batch(TEXTS)), expected, rtol=0, atol=1e-12)


def test_the_forget_gate_begins_open() -> None:
    ways = make(TextRNN, hidden=3, layers=2).rnn.ways
    assert len(ways) == 4
    for way in ways:
        total = way.bias_ih_l0 + way.bias_hh_l0
        assert total[3:6].tolist() == [1, 1, 1]
        assert total[:3].abs().max() < 1.2
    assert (make(TextRNN, hidden=3, cell="gru").rnn.ways[0].bias_ih_l0 != 1).all()


def test_dropout_is_between_layers_and_before_the_head() -> None:
    given = batch(TEXTS)
    for layers in (1, 2):
        model = make(TextRNN, layers=layers, dropout=0.5)
        states, _ = model.rnn(model.embed(given), given.span_B.clamp(min=1))
        again, _ = model.rnn(model.embed(given), given.span_B.clamp(min=1))
        assert torch.equal(states, again) == (layers == 1)
        assert not torch.equal(model(given), model(given))


def test_gradients_of_attention() -> None:
    model = make(TextRNN, dim=3, hidden=2, pooling="attention").double().eval()
    weights = {name: p for name, p in model.named_parameters() if name != "embedding.weight"}

    def logits(*values: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(model, dict(zip(weights, values, strict=True)), (batch(TEXTS),))

    assert torch.autograd.gradcheck(logits, tuple(weights.values()))


def test_attention_is_a_share_of_words() -> None:
    check_attention(make(TextRNN, pooling="attention", hidden=8).eval())
    with pytest.raises(ConfigError, match=r"TextRNN weighs no words; .*model=han, .*model=textrnn model.pooling=attention"):
        make(TextRNN).attention(batch(TEXTS))


@pytest.mark.parametrize("pooling", ["max", "last", "attention"])
def test_it_learns_order(pooling: Any) -> None:
    assert learns_order(make(TextRNN, dim=16, hidden=16, pooling=pooling, dropout=0.0)) > 0.9


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_bf16(cell: Any) -> None:
    model = make(TextRNN, cell=cell, pooling="attention").eval()
    with torch.autocast("cpu", torch.bfloat16):
        half = model(batch(TEXTS))
    torch.testing.assert_close(half.float(), model(batch(TEXTS)), rtol=0.05, atol=0.02)
