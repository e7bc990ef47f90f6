"""Online hard example mining against top-k means and a golden value."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from recipes.errors import ConfigError
from recipes.sampling import OHEM


def mean_kept(sampler: OHEM, losses: torch.Tensor) -> float:
    keep = sampler.select(losses, 0)
    assert keep is not None
    return float(losses[keep].mean())


def test_golden_value() -> None:
    logits = torch.tensor([0.0, 2.0, -1.0, -3.0], dtype=torch.float64)
    targets = torch.tensor([1.0, 1.0, 0.0, 1.0], dtype=torch.float64)
    losses = binary_cross_entropy_with_logits(logits, targets, reduction="none")
    assert mean_kept(OHEM(keep_ratio=0.5), losses) == pytest.approx(1.8708672661, abs=1e-10)


@pytest.mark.parametrize("size", [1, 2, 5, 63, 64])
@pytest.mark.parametrize("keep_ratio", [0.01, 0.25, 0.7, 1.0])
def test_equals_the_mean_of_top_k(size: int, keep_ratio: float) -> None:
    losses = torch.rand(size, dtype=torch.float64, generator=torch.Generator().manual_seed(size))
    kept = max(1, -int(-size * keep_ratio // 1))
    assert mean_kept(OHEM(keep_ratio=keep_ratio), losses) == pytest.approx(float(losses.topk(kept).values.mean()))


@pytest.mark.parametrize(("size", "keep_ratio", "kept"), [(100, 0.07, 7), (10, 0.25, 3), (3, 0.1, 1), (1, 0.001, 1), (8, 1.0, 8)])
def test_how_many_are_kept(size: int, keep_ratio: float, kept: int) -> None:
    keep = OHEM(keep_ratio=keep_ratio).select(torch.arange(size).float(), 0)
    assert keep is not None
    assert keep.tolist() == [False] * (size - kept) + [True] * kept


def test_drop_top_leaves_out_the_hardest() -> None:
    keep = OHEM(keep_ratio=0.5, drop_top=0.2).select(torch.arange(10).float(), 0)
    assert keep is not None
    assert keep.nonzero().flatten().tolist() == [3, 4, 5, 6, 7]
    # A batch too small for its share of drops still learns from its hardest sample.
    assert mean_kept(OHEM(keep_ratio=0.5, drop_top=0.2), torch.tensor([1.0, 5.0])) == 5.0
    keep = OHEM(keep_ratio=0.7, drop_top=0.3).select(torch.arange(10).float(), 0)
    assert keep is not None
    assert keep.tolist() == [True] * 7 + [False] * 3


def test_equal_losses_keep_the_exact_number() -> None:
    keep = OHEM(keep_ratio=0.3).select(torch.ones(10), 0)
    assert keep is not None
    assert int(keep.sum()) == 3


def test_warmup_keeps_everything() -> None:
    sampler = OHEM(warmup_epochs=2)
    assert sampler.mines
    assert [sampler.select(torch.rand(4), epoch) is None for epoch in range(4)] == [True, True, False, False]


def test_more_than_the_batch_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"keep_ratio is at most 0\.6"):
        OHEM(keep_ratio=0.7, drop_top=0.4)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_selection_does_not_wait_for_the_device() -> None:
    losses = torch.rand(64, device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        keep = OHEM(drop_top=0.1).select(losses, 0)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert keep is not None
    assert int(keep.sum()) == 45
