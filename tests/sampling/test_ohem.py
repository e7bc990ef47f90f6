"""Online hard example mining against top-k means and a golden value."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from recipes.errors import ConfigError
from recipes.sampling import OHEM

NONE = torch.empty(0)  # targets that must not be read


def mean_kept(sampler: OHEM, losses: torch.Tensor) -> float:
    keep = sampler.select(losses, NONE, 0)
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
    keep = OHEM(keep_ratio=keep_ratio).select(torch.arange(size).float(), NONE, 0)
    assert keep is not None
    assert keep.tolist() == [False] * (size - kept) + [True] * kept


def test_drop_top_leaves_out_the_hardest() -> None:
    keep = OHEM(keep_ratio=0.5, drop_top=0.2).select(torch.arange(10).float(), NONE, 0)
    assert keep is not None
    assert keep.nonzero().flatten().tolist() == [3, 4, 5, 6, 7]
    # A batch too small for its share of drops still learns from its hardest sample.
    assert mean_kept(OHEM(keep_ratio=0.5, drop_top=0.2), torch.tensor([1.0, 5.0])) == 5.0
    keep = OHEM(keep_ratio=0.7, drop_top=0.3).select(torch.arange(10).float(), NONE, 0)
    assert keep is not None
    assert keep.tolist() == [True] * 7 + [False] * 3


def test_equal_losses_keep_the_exact_number() -> None:
    keep = OHEM(keep_ratio=0.3).select(torch.ones(10), NONE, 0)
    assert keep is not None
    assert int(keep.sum()) == 3


def test_warmup_keeps_everything() -> None:
    sampler = OHEM(warmup_epochs=2)
    assert sampler.mines
    assert [sampler.select(torch.rand(4), NONE, epoch) is None for epoch in range(4)] == [True, True, False, False]


def test_more_than_the_batch_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"keep_ratio is at most 0\.6"):
        OHEM(keep_ratio=0.7, drop_top=0.4)


def beside(losses: torch.Tensor, positive: torch.Tensor, each: int, drop_top: float) -> list[bool]:
    """All positives and the hardest negatives, by sorting."""
    negatives = sorted((i for i in range(len(losses)) if not positive[i]), key=lambda i: -float(losses[i]))
    dropped = int(len(negatives) * drop_top + 1e-9)
    kept = set(negatives[dropped : dropped + each * max(int(positive.sum()), 1)])
    return [bool(positive[i]) or i in kept for i in range(len(losses))]


@pytest.mark.parametrize("drop_top", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("each", [1, 3])
@pytest.mark.parametrize("size", [1, 7, 64])
def test_all_positives_and_the_hardest_negatives(size: int, each: int, share: float, drop_top: float) -> None:
    draw = torch.Generator().manual_seed(size)
    losses, targets = torch.rand(size, generator=draw), (torch.rand(size, generator=draw) < share).long()
    # keep_ratio and drop_top exceed one together: allowed, since keep_ratio has no say.
    keep = OHEM("binary", np.array([5, 9]), negatives_per_positive=each, drop_top=drop_top).select(losses, targets, 0)
    assert keep is not None
    assert keep.tolist() == beside(losses, targets == 1, each, drop_top)
    assert keep.any()


def test_positive_by_task() -> None:
    losses = torch.arange(6).flip(0).float()  # the first is the hardest
    targets = torch.tensor([1, 0, 1, 1, 2, 1])
    keep = OHEM("multiclass", np.array([3, 40, 7]), negatives_per_positive=1).select(losses, targets, 0)
    assert keep is not None
    assert keep.tolist() == [True, True, True, False, True, False]  # all but class 1, the largest, are positive
    several = torch.tensor([[0, 0], [1, 0], [0, 0], [1, 1], [0, 0], [0, 0]]).float()
    keep = OHEM("multilabel", np.array([2, 1]), negatives_per_positive=1).select(losses, several, 0)
    assert keep is not None
    assert keep.tolist() == [True, True, True, True, False, False]


def test_warmup_holds_for_negatives_too() -> None:
    sampler = OHEM(negatives_per_positive=2, warmup_epochs=1)
    assert sampler.select(torch.rand(4), torch.tensor([1, 0, 0, 0]), 0) is None
    keep = sampler.select(torch.rand(4), torch.tensor([1, 0, 0, 0]), 1)
    assert keep is not None
    assert int(keep.sum()) == 3


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_selection_does_not_wait_for_the_device() -> None:
    losses, targets = torch.rand(64, device="cuda"), torch.arange(64, device="cuda") % 8 // 7
    torch.cuda.set_sync_debug_mode("error")
    try:
        keep = OHEM(drop_top=0.1).select(losses, NONE, 0)
        beside_positives = OHEM(negatives_per_positive=2, drop_top=0.1).select(losses, targets, 0)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert keep is not None
    assert beside_positives is not None
    assert (int(keep.sum()), int(beside_positives.sum())) == (45, 24)
