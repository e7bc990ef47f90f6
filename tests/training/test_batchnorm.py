"""Recalibrated statistics against those of the rows themselves, and torch's own averaging."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from recipes.data.batch import Batch
from recipes.models import MLP
from recipes.models.posthoc import freeze
from recipes.training.batchnorm import recalibrated


def mlp(**settings: Any) -> MLP:
    torch.manual_seed(0)
    model = MLP(2, 4, (), False, "binary", np.array([9, 1]), 10, **{"widths": [5, 3], "norm": "batch", "dropout": 0.5, **settings})
    model.train()
    for b in batches(16, shift=3.0):  # rows unlike those that follow
        model(b)
    return model


def rows(shift: float = 0.0) -> torch.Tensor:
    return torch.randn(101, 4, generator=torch.Generator().manual_seed(0)) * 2 + shift


def batches(size: int, shift: float = 0.0) -> list[Batch]:
    parts = rows(shift).split(size)
    return [Batch(torch.arange(len(x)), torch.zeros(len(x), dtype=torch.int64), torch.ones(len(x)), features_BF=x) for x in parts]


@pytest.mark.parametrize("size", [101, 25, 40])  # 25 leaves a single row, which has no variance
def test_the_first_layers_statistics_are_those_of_the_rows(size: int) -> None:
    model = mlp()
    norm = model.norms[0]
    parts = [model.layers[0](x) for x in rows().split(size) if len(x) > 1]
    with recalibrated(model, batches(size)):
        torch.testing.assert_close(norm.running_mean, torch.cat(parts).mean(0))
        share = torch.tensor([len(p) for p in parts]) / sum(len(p) for p in parts)
        torch.testing.assert_close(norm.running_var, sum(s * p.var(0) for s, p in zip(share, parts, strict=True)))


def test_batches_of_one_size_give_what_torch_gives() -> None:
    model, reference = mlp(dropout=0.0), mlp(dropout=0.0)
    equal = batches(25)[:4]
    update_bn(equal, reference)
    with recalibrated(model, equal):
        for norm, theirs in zip(model.norms, reference.norms, strict=True):
            torch.testing.assert_close(norm.running_mean, theirs.running_mean)
            torch.testing.assert_close(norm.running_var, theirs.running_var)


def test_dropout_is_off_and_everything_comes_back() -> None:
    for training in (True, False):
        model = mlp().train(training)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        modes, momenta = [m.training for m in model.modules()], [n.momentum for n in model.norms]
        seen: list[torch.Tensor] = []
        handle = model.norms[1].register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0]))
        rng = torch.get_rng_state()
        with recalibrated(model, batches(40)):
            assert [m.training for m in model.modules()] == modes
            assert not torch.equal(model.norms[0].running_mean, before["norms.0.running_mean"])
        handle.remove()
        assert torch.equal(torch.get_rng_state(), rng)
        assert [n.momentum for n in model.norms] == momenta
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert len(seen) == 3


def test_they_stay_if_asked() -> None:
    model = mlp()
    before = model.norms[0].running_mean.clone()
    with recalibrated(model, batches(40), keep=True):
        inside = [b.clone() for b in model.buffers()]
    assert all(torch.equal(a, b) for a, b in zip(inside, model.buffers(), strict=True))
    assert not torch.equal(model.norms[0].running_mean, before)


def test_training_statistics_come_back_after_an_error() -> None:
    model = mlp()
    before = model.norms[0].running_mean.clone()
    with pytest.raises(RuntimeError, match="stop"), recalibrated(model, batches(40)):
        raise RuntimeError("stop")
    assert torch.equal(model.norms[0].running_mean, before)


@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
def test_without_batch_norm_or_with_a_frozen_one_nothing_is_read(norm: str) -> None:
    model = mlp(norm=norm)
    if norm == "batch":
        freeze(model, "head")

    def never() -> Any:
        raise AssertionError("a batch was asked for")
        yield

    model.untracked = nn.BatchNorm1d(3, track_running_stats=False)
    with recalibrated(model, never()):
        pass
