"""The tree of hierarchical softmax against fastText's codes, a heap, and products of sigmoids along each way.

C classes, H features, B rows.
"""

from __future__ import annotations

import heapq

import numpy as np
import pytest
import torch
from torch.nn import functional

from recipes.models.huffman import HierarchicalHead, Tree, huffman_tree

R8 = np.array([2840, 1596, 253, 251, 206, 190, 108, 41])  # train rows of Reuters-8
# Of fastText: inner nodes from the leaf to the root, and whether the way to the child leads right.
GOLDEN = [
    ([6], [1]),
    ([5, 6], [1, 0]),
    ([3, 4, 5, 6], [0, 1, 0, 0]),
    ([2, 4, 5, 6], [1, 0, 0, 0]),
    ([2, 4, 5, 6], [0, 0, 0, 0]),
    ([1, 3, 4, 5, 6], [1, 1, 1, 0, 0]),
    ([0, 1, 3, 4, 5, 6], [1, 0, 1, 1, 0, 0]),
    ([0, 1, 3, 4, 5, 6], [0, 0, 1, 1, 0, 0]),
]


def codes(tree: Tree) -> list[tuple[list[int], list[int]]]:
    return [(path.tolist(), bits.astype(int).tolist()) for path, bits in zip(tree.paths, tree.bits, strict=True)]


def test_codes_equal_those_of_fasttext() -> None:
    assert codes(huffman_tree(R8)) == GOLDEN


def test_counts_may_come_in_any_order() -> None:
    order = np.random.default_rng(0).permutation(8)
    assert codes(huffman_tree(R8[order])) == [GOLDEN[i] for i in order]


def least_cost(counts: np.ndarray) -> int:
    """Sum of count * code length of an optimal tree: the weights of all inner nodes (Huffman 1952, with a heap)."""
    heap, cost = [int(c) for c in counts], 0
    heapq.heapify(heap)
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        cost += merged
        heapq.heappush(heap, merged)
    return cost


COUNTS = {
    "random": lambda rng: rng.integers(1, 1000, 40),
    "ties": lambda rng: rng.integers(1, 4, 33),
    "zeros": lambda rng: rng.integers(0, 3, 25) * rng.integers(0, 50, 25),
    "all equal": lambda rng: np.full(16, 7),
    "all zero": lambda rng: np.zeros(5, np.int64),
    "long tail": lambda rng: (10_000 / np.arange(1, 61)).astype(np.int64),
    "powers": lambda rng: 2 ** np.arange(20),
    "two": lambda rng: np.array([3, 9]),
    "a thousand": lambda rng: rng.zipf(1.5, 1000).clip(max=10**6),
}


@pytest.mark.parametrize("name", COUNTS)
def test_no_tree_is_shorter(name: str) -> None:
    for seed in range(5):
        counts = COUNTS[name](np.random.default_rng(seed))
        tree = huffman_tree(counts)
        lengths = np.array([len(path) for path in tree.paths])
        assert (counts * lengths).sum() == least_cost(counts)
        assert tree.inner == len(counts) - 1
        assert all(path[-1] == tree.inner - 1 for path in tree.paths), "every way ends at the root"
        assert sum(2.0 ** -lengths.astype(float)) == 1, "a full tree (Kraft)"
        ways = {tuple(zip(path[::-1].tolist(), bits[::-1].tolist(), strict=True)) for path, bits in zip(tree.paths, tree.bits, strict=True)}
        assert len(ways) == len(counts)


def head_of(counts: np.ndarray, features: int = 6, seed: int = 0) -> HierarchicalHead:
    head = HierarchicalHead(features, counts).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        head.weight.copy_(2 * torch.randn(head.weight.shape, generator=generator, dtype=torch.float64))
    return head


def rows(number: int, features: int = 6) -> torch.Tensor:
    return torch.randn(number, features, generator=torch.Generator().manual_seed(number), dtype=torch.float64)


SIZES = {"r8": R8, "two": np.array([9, 1]), "the second more often": np.array([1, 9]), "thousand": np.random.default_rng(0).zipf(1.5, 1000)}


@pytest.mark.parametrize("name", SIZES)
def test_log_probabilities_are_products_along_the_way_and_sum_to_one(name: str) -> None:
    head, x_BH = head_of(SIZES[name]), rows(4)
    z_BN = (x_BH @ head.weight.T).detach().numpy()
    found = head(x_BH).detach().numpy()
    expected = np.zeros_like(found)
    for c, (path, bits) in enumerate(zip(head.tree.paths, head.tree.bits, strict=True)):
        for node, bit in zip(path, bits, strict=True):
            expected[:, c] -= np.logaddexp(0, -z_BN[:, node] if bit else z_BN[:, node])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(np.exp(found).sum(1), 1, rtol=0, atol=1e-12)


def test_softmax_leaves_the_logits_as_they_are() -> None:
    logits = head_of(R8)(rows(5))
    torch.testing.assert_close(logits.log_softmax(1), logits)


def test_gradients() -> None:
    head, x = head_of(R8), rows(3).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, w: torch.func.functional_call(head, {"weight": w}, (a,)), (x, head.weight))


def test_far_decisions_stay_finite() -> None:
    head = head_of(R8).float()
    logits = head(1e4 * rows(3).float())
    functional.nll_loss(logits, torch.tensor([7, 0, 3])).backward()
    assert torch.isfinite(logits).all()
    assert torch.isfinite(head.weight.grad).all()


def test_half_precision_is_that_of_the_products_alone() -> None:
    head, x = head_of(SIZES["thousand"], 16).float(), rows(8, 16).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = head(x)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits.exp().sum(1), torch.ones(8), rtol=0, atol=1e-4)
    torch.testing.assert_close(logits, head(x), rtol=0.05, atol=0.5)


def test_nothing_of_the_tree_is_saved() -> None:
    """It follows from the counts, and a checkpoint holds the weights alone."""
    head, other = head_of(R8), head_of(R8, seed=1)
    assert list(head.state_dict()) == ["weight"]
    other.load_state_dict(head.state_dict())
    assert torch.equal(head(rows(2)), other(rows(2)))
