"""Four edits of texts (Wei & Zou 2019, "EDA"), each for many texts at once and without a Python loop over words.

B batch, T tokens, V vocabulary, K edits that the longest text gets.

An edit of the strength alpha changes n = max(1, int(alpha * words)) places of a text. All return new tensors, and leave a text alone that
is not chosen. How many numbers are drawn depends on the shape of what is given alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from recipes.augmentation.tensors import Constant, pick, uniform
from recipes.augmentation.thesaurus import Thesaurus
from recipes.augmentation.words import Words, inside

# (words, chosen_B, rng) -> words
Edit = Callable[[Words, Tensor, np.random.Generator], Words]


@dataclass
class Delete:
    """Leaves out each word with the probability p, and never one of `spared`, (V,) bool.

    A text that would lose all its words keeps one of them at random; a text of one word keeps it.
    """

    p: float
    spared: Constant

    def __call__(self, words: Words, chosen_B: Tensor, rng: np.random.Generator) -> Words:
        tokens_BT, held_BT = words.tokens_BT, inside(words)
        u_BT = uniform(rng, tuple(tokens_BT.shape), tokens_BT.device)
        keep_BT = (u_BT >= self.p) | self.spared.on(tokens_BT.device)[tokens_BT] | ~chosen_B[:, None]
        keep_BT &= held_BT
        steps_T = torch.arange(tokens_BT.shape[1], device=tokens_BT.device)
        last_BT = u_BT.masked_fill(~held_BT, -1).argmax(dim=1, keepdim=True) == steps_T
        keep_BT |= last_BT & held_BT & ~keep_BT.any(dim=1, keepdim=True)
        # Each kept word moves to the number of kept ones before it, the rest to one more column, which is cut off.
        place_BT = torch.where(keep_BT, keep_BT.cumsum(1) - 1, tokens_BT.shape[1])
        packed = functional.pad(torch.zeros_like(tokens_BT), (0, 1)).scatter_(1, place_BT, tokens_BT)[:, :-1]
        return Words(packed, keep_BT.sum(dim=1))


@dataclass
class Swap:
    """Exchanges the words of two different places, n times."""

    alpha: float

    def __call__(self, words: Words, chosen_B: Tensor, rng: np.random.Generator) -> Words:
        tokens_BT, lengths_B = words.tokens_BT.clone(), words.lengths_B
        counts_B, most = _counts(words, self.alpha, chosen_B)
        u_2KB = uniform(rng, (2, most, len(lengths_B)), tokens_BT.device)
        first_KB = pick(u_2KB[0], lengths_B)
        second_KB = (first_KB + 1 + pick(u_2KB[1], lengths_B - 1)) % lengths_B.clamp_min(1)
        # A place that is exchanged with itself stands for no exchange.
        due_KB = torch.arange(most, device=tokens_BT.device)[:, None] < counts_B
        second_KB = torch.where(due_KB, second_KB, first_KB)
        for first_B1, second_B1 in zip(first_KB[..., None], second_KB[..., None], strict=True):
            one, other = tokens_BT.gather(1, first_B1), tokens_BT.gather(1, second_B1)
            tokens_BT.scatter_(1, first_B1, other).scatter_(1, second_B1, one)
        return Words(tokens_BT, lengths_B)


@dataclass
class Replace:
    """Chooses n different words that have synonyms, or as many as there are, and puts a synonym of each wherever it stands."""

    alpha: float
    thesaurus: Thesaurus

    def __call__(self, words: Words, chosen_B: Tensor, rng: np.random.Generator) -> Words:
        counts_B, _ = _counts(words, self.alpha, chosen_B)
        # Sorted, equal words stand together, and the first of them decides for all.
        sorted_BT, order_BT = words.tokens_BT.sort(dim=1)
        leads_BT = torch.ones_like(sorted_BT, dtype=torch.bool)
        leads_BT[:, 1:] = sorted_BT[:, 1:] != sorted_BT[:, :-1]
        u_2BT = uniform(rng, (2, *sorted_BT.shape), sorted_BT.device)
        open_BT = leads_BT & self.thesaurus.knows(sorted_BT)
        rank_BT = u_2BT[0].masked_fill(~open_BT, 2).argsort(dim=1).argsort(dim=1)
        due_BT = open_BT & (rank_BT < counts_B[:, None])
        changed_BT = torch.where(due_BT, self.thesaurus.draw(sorted_BT, u_2BT[1]), sorted_BT)
        lead_BT = torch.where(leads_BT, torch.arange(sorted_BT.shape[1], device=sorted_BT.device), 0).cummax(dim=1).values
        tokens_BT = torch.empty_like(sorted_BT).scatter_(1, order_BT, changed_BT.gather(1, lead_BT))
        return Words(tokens_BT, words.lengths_B)


@dataclass
class Insert:
    """Puts a synonym of a random word of the text, of those that have any, at a random place, n times."""

    alpha: float
    thesaurus: Thesaurus

    def __call__(self, words: Words, chosen_B: Tensor, rng: np.random.Generator) -> Words:
        tokens_BT, lengths_B = words
        counts_B, most = _counts(words, self.alpha, chosen_B)
        device, width = tokens_BT.device, tokens_BT.shape[1]
        u_3BK = uniform(rng, (3, len(lengths_B), most), device)
        open_BT = self.thesaurus.knows(tokens_BT).cumsum(dim=1)
        which_BK = torch.searchsorted(open_BT, pick(u_3BK[0], open_BT[:, -1:]) + 1).clamp_max(width - 1)
        synonym_BK = self.thesaurus.draw(tokens_BT.gather(1, which_BK), u_3BK[1])
        due_BK = (torch.arange(most, device=device) < counts_B[:, None]) & (open_BT[:, -1:] > 0)
        # Words stand at odd places, new ones at the even ones between them, and what is not there behind all.
        behind = 2 * width + 2
        place_BK = (2 * pick(u_3BK[2], lengths_B[:, None] + 1)).masked_fill(~due_BK, behind)
        place_BT = (2 * torch.arange(width, device=device) + 1).expand_as(tokens_BT).masked_fill(~inside(words), behind)
        order = torch.cat([place_BT, place_BK], dim=1).argsort(dim=1, stable=True)
        longer = torch.cat([tokens_BT, synonym_BK.masked_fill(~due_BK, 0)], dim=1).gather(1, order)
        return Words(longer, lengths_B + due_BK.sum(dim=1))


def _counts(words: Words, alpha: float, chosen_B: Tensor) -> tuple[Tensor, int]:
    """(B,) int64 n of each text, 0 where it is not chosen, and the most that a text of this width gets."""
    counts_B = (words.lengths_B.double() * alpha).long().clamp_min(1)
    return counts_B * chosen_B, max(1, int(alpha * words.tokens_BT.shape[1]))
