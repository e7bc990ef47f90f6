"""Hierarchical softmax: log-probabilities of classes at the leaves of a Huffman tree (Morin & Bengio 2005; Mikolov et al. 2013).

B batch, H width of what the head reads, C classes, D decisions on the way to a leaf.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Tree:
    """A binary tree with a class at each leaf. The inner nodes are numbered in the order in which they were made; the last is the root.

    paths: for each class the inner nodes from the leaf to the root; bits: for each of these whether the way there leads right.
    """

    paths: list[np.ndarray]
    bits: list[np.ndarray]

    @property
    def inner(self) -> int:
        """Inner nodes: one less than there are classes."""
        return len(self.paths) - 1


def huffman_tree(counts_C: np.ndarray) -> Tree:
    """The tree in which a class that is seen more often has a shorter way, of least mean length under the counts (Huffman 1952).

    Built from two sorted queues, leaves and inner nodes, in linear time; of equal counts the leaf goes first, then the lower number. The
    leaves are sorted here, by descending count and then by number, so the counts may come in any order.
    """
    classes = len(counts_C)
    order = np.argsort(-np.asarray(counts_C), kind="stable")
    weight = np.concatenate([np.asarray(counts_C, dtype=np.int64)[order], np.zeros(classes - 1, np.int64)])
    parent, right = np.zeros(2 * classes - 1, np.int64), np.zeros(2 * classes - 1, bool)
    leaf, node = classes - 1, classes
    for new in range(classes, 2 * classes - 1):
        least = []
        for _ in range(2):
            if leaf >= 0 and (node >= new or weight[leaf] < weight[node]):
                least.append(leaf)
                leaf -= 1
            else:
                least.append(node)
                node += 1
        weight[new] = weight[least[0]] + weight[least[1]]
        parent[least] = new
        right[least[1]] = True
    paths: list[np.ndarray] = [np.empty(0, np.int64)] * classes
    bits: list[np.ndarray] = [np.empty(0, bool)] * classes
    for place, name in enumerate(order):
        way = [place]
        while way[-1] != 2 * classes - 2:
            way.append(int(parent[way[-1]]))
        paths[name] = np.array(way[1:], dtype=np.int64) - classes
        bits[name] = right[way[:-1]]
    return Tree(paths, bits)


class HierarchicalHead(nn.Module):
    """features_BH -> log P(y), (B, C): at each inner node a sigmoid says how likely it is to go right; a leaf's probability is the product.

    The rows of `weight`, (C - 1, H), belong to the inner nodes and begin at zero; there is no bias, as in fastText. The logits are
    log-probabilities, which softmax leaves as they are: they sum to one over the leaves, whatever the weights.
    """

    def __init__(self, in_features: int, counts_C: np.ndarray) -> None:
        super().__init__()
        self.tree = huffman_tree(counts_C)
        self.weight = nn.Parameter(torch.zeros(self.tree.inner, in_features))
        levels, leaves = _levels(self.tree)
        self.depth = len(levels)
        for i, level in enumerate(levels):
            for name, places in zip(("nodes", "inner", "ends"), level, strict=True):
                self.register_buffer(f"_{name}{i}", torch.from_numpy(places), persistent=False)
        self.register_buffer("_order", torch.from_numpy(np.argsort(leaves)), persistent=False)

    def forward(self, features_BH: Tensor) -> Tensor:
        z_BN = functional.linear(features_BH, self.weight)
        z_BN = z_BN if z_BN.dtype == torch.float64 else z_BN.float()
        log_p = z_BN.new_zeros(len(z_BN), 1)  # of the inner nodes of a level
        found = []
        for i in range(self.depth):
            z = z_BN.index_select(1, self.get_buffer(f"_nodes{i}"))
            children = torch.cat([log_p + functional.logsigmoid(-z), log_p + functional.logsigmoid(z)], dim=1)
            found.append(children.index_select(1, self.get_buffer(f"_ends{i}")))
            log_p = children.index_select(1, self.get_buffer(f"_inner{i}"))
        return torch.cat(found, dim=1).index_select(1, self.get_buffer("_order"))


def _levels(tree: Tree) -> tuple[list[tuple[np.ndarray, np.ndarray, np.ndarray]], np.ndarray]:
    """The tree from the root down. For each level its inner nodes, and which of their children, left ones and then right ones, are inner
    nodes and which are leaves; then the classes at the leaves in that order."""
    children: dict[tuple[int, bool], int] = {}  # (node, right?) -> inner node, or -1 - class
    for name, (path, bits) in enumerate(zip(tree.paths, tree.bits, strict=True)):
        below = -1 - name
        for node, bit in zip(path.tolist(), bits.tolist(), strict=True):
            children[node, bit] = below
            below = node
    levels, leaves, nodes = [], [], [tree.inner - 1]
    while nodes:
        below_all = np.array([children[node, side] for side in (False, True) for node in nodes])
        levels.append((np.array(nodes), np.flatnonzero(below_all >= 0), np.flatnonzero(below_all < 0)))
        leaves.append(-1 - below_all[below_all < 0])
        nodes = below_all[below_all >= 0].tolist()
    return levels, np.concatenate(leaves)
