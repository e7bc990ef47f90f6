"""The words of a batch as one padded matrix, whatever form they came in, and back.

B batch, T tokens, N ids of the batch in a row, V vocabulary.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from recipes.data.batch import Batch

# Words that turn the meaning of what they stand by; so does every word that ends in "n't".
_NEGATIONS = (
    "no not nor non none never neither nobody nothing nowhere without cannot cant dont doesnt didnt isnt arent wasnt werent wont wouldnt "
    "shouldnt couldnt hasnt havent hadnt hardly barely scarcely rarely seldom lack lacks lacked lacking except unless"
)


class Words(NamedTuple):
    """Texts as ids. 0 is padding, 1 the unknown word."""

    tokens_BT: Tensor  # int64, T >= 1
    lengths_B: Tensor  # int64


def words_of(batch: Batch) -> Words:
    """The words of a batch of sequences or of bags; on CUDA, bags wait for the device to tell the longest text."""
    if batch.tokens_BT is not None and batch.lengths_B is not None:
        return Words(batch.tokens_BT, batch.lengths_B)
    assert batch.ids is not None
    assert batch.offsets is not None
    lengths_B = batch.offsets.diff()
    steps_T = torch.arange(max(int(lengths_B.max()), 1) if len(lengths_B) else 1, device=batch.ids.device)
    place_BT = (batch.offsets[:-1, None] + steps_T).masked_fill(steps_T >= lengths_B[:, None], len(batch.ids))
    return Words(functional.pad(batch.ids, (0, 1))[place_BT], lengths_B)


def with_words(batch: Batch, words: Words) -> Batch:
    """The batch with these words in the place of its own, in the form of its own; on CUDA, bags wait for the device once more."""
    tokens_BT, lengths_B = words
    if batch.tokens_BT is not None:
        # Asking the device for a length would stop it; there, columns of padding are left as they are.
        width = max(int(lengths_B.max()), 1) if tokens_BT.device.type == "cpu" else tokens_BT.shape[1]
        return replace(batch, tokens_BT=tokens_BT[:, :width].contiguous(), lengths_B=lengths_B)
    offsets = functional.pad(lengths_B.cumsum(0), (1, 0))
    return replace(batch, ids=tokens_BT[inside(words)], offsets=offsets)


def inside(words: Words) -> Tensor:
    """(B, T) bool: which places hold a word."""
    return torch.arange(words.tokens_BT.shape[1], device=words.tokens_BT.device) < words.lengths_B[:, None]


def placed(whole: Words, index: Tensor, part: Words) -> Words:
    """`whole` with the texts at `index`, (B',) int64, replaced by those of `part`; nothing is written into `whole`."""
    width = max(whole.tokens_BT.shape[1], part.tokens_BT.shape[1])
    tokens_BT, theirs = (functional.pad(tokens, (0, width - tokens.shape[1])) for tokens in (whole.tokens_BT, part.tokens_BT))
    return Words(tokens_BT.index_copy(0, index, theirs), whole.lengths_B.index_copy(0, index, part.lengths_B))


def protected_words(vocabulary: tuple[str, ...], more: list[str]) -> np.ndarray:
    """(V,) bool: negations and the like, which English text loses its meaning without, and `more`; letter case is ignored."""
    kept = {*_NEGATIONS.split(), *(word.lower() for word in more)}
    return np.array([word.lower() in kept or word.lower().endswith("n't") for word in vocabulary])


def exchangeable_words(vocabulary: tuple[str, ...], protected: list[str]) -> np.ndarray:
    """(V,) bool: words that may be replaced, or stand for another. Not protected ones, numbers or signs: stage 3 is not stage 4."""
    spelled = [any(sign.isalpha() for sign in word) and not any(sign.isdigit() for sign in word) for word in vocabulary]
    spelled[:2] = [False] * len(spelled[:2])  # padding and the unknown word
    return np.array(spelled) & ~protected_words(vocabulary, protected)


def stop_words(vocabulary: tuple[str, ...]) -> np.ndarray:
    """(V,) bool: scikit-learn's list of English function words."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return np.array([word.lower() in ENGLISH_STOP_WORDS for word in vocabulary])
