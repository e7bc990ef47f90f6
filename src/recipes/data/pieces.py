"""Texts as the pieces that a pretrained model knows: ids of its own tokenizer, shifted so that 0 is padding and 1 an unknown word.

L pieces of all rows together, N rows, V pieces of the tokenizer.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from recipes.data import tokenizers
from recipes.data.encoder import Encoder, Limit
from recipes.data.facts import Needs
from recipes.data.features import Features
from recipes.data.stores import Arrays, SequenceStore, Store
from recipes.errors import DataError

if TYPE_CHECKING:
    import polars as pl
    from typing_extensions import Self

SHIFT = 2  # piece p of the tokenizer is id p + SHIFT
_UNREAD = ("tokenizer", "lowercase", "min_count", "max_vocab")


class PieceEncoder(Encoder):
    """Nothing is fitted but the mean length: which pieces there are was decided when the model was pretrained.

    The tokens that such a model expects around a text ([CLS], [SEP]) are not among the ids, so that what edits words leaves them alone;
    the model adds them.
    """

    kind = "pieces"

    def __init__(self, features: Features, needs: Needs, mean_length: float) -> None:
        assert needs.tokenizer is not None
        self.features, self.needs, self.mean_length, self.content = features, needs, mean_length, needs.tokenizer

    @classmethod
    def fit(cls, data: pl.Series, features: Features, needs: Needs, rows: np.ndarray | None = None) -> tuple[Self, Store, list[str]]:
        encoder = cls(features, needs, 0.0)
        store, notes = encoder.store(data, "train")
        encoder.mean_length = float(store.lengths.mean())
        if not encoder.mean_length:
            raise DataError(f"train: the {len(data)} texts are empty, so nothing can be learnt\n  check that the text column holds text")
        default = Features()
        unread = [f"features.{name}" for name in _UNREAD if getattr(features, name) != getattr(default, name)]
        if unread:
            notes.append(f"{', '.join(unread)}: not read, since the model comes with its own tokenizer and vocabulary")
        return encoder, store, notes

    def store(self, data: pl.Series, name: str = "predict", rows: np.ndarray | None = None) -> tuple[SequenceStore, list[str]]:
        limit = Limit.of(self.features, self.needs)
        ids, lengths, cut = tokenizers.piece_ids(data, self.content, limit.most)
        padded = np.append(ids + np.int32(SHIFT), np.int32(0))
        return SequenceStore(padded, lengths, len(self.vocabulary)), limit.notes(name, cut)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        return ("", "<unk>", *tokenizers.pieces(self.content))

    def tokens(self, data: pl.Series) -> list[list[str]]:
        """The pieces of each text, in its order, as far as the model reads them."""
        names = tokenizers.pieces(self.content)
        ids, lengths, _ = tokenizers.piece_ids(data, self.content, Limit.of(self.features, self.needs).most)
        flat, ends = [names[i] for i in ids], np.cumsum(lengths)
        return [flat[end - length : end] for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)]

    def facts(self) -> dict[str, Any]:
        return {"vocab_size": len(self.vocabulary), "vocabulary": self.vocabulary}

    def describe(self) -> str:
        return f"{tokenizers.describe(self.content)}, {len(self.vocabulary):,} ids, {self.mean_length:.1f} pieces a row"

    def state(self) -> tuple[dict[str, Any], Arrays]:
        settings = {"features": asdict(self.features), "needs": asdict(self.needs), "mean_length": self.mean_length}
        return {"kind": self.kind, **settings}, {}

    @classmethod
    def from_state(cls, settings: dict[str, Any], arrays: Arrays) -> Self:
        return cls(Features(**settings["features"]), Needs(**settings["needs"]), settings["mean_length"])


def surroundings(content: str) -> tuple[list[int], list[int]]:
    """The tokenizer's own ids of what it puts before and after a text, such as [CLS] and [SEP]."""
    tokenizer = tokenizers.load(content)
    for probe in ("a", "the", "1", "."):  # one that has pieces of its own
        encoding = tokenizer.encode(probe)
        own = [i for i, special in enumerate(encoding.special_tokens_mask) if not special]
        if own:
            return encoding.ids[: own[0]], encoding.ids[own[-1] + 1 :]
    return [], []


def unknown_piece(content: str) -> int:
    """The tokenizer's own id of what it does not know; 0 where it knows everything."""
    model = json.loads(content)["model"]
    if isinstance(model.get("unk_id"), int):
        return int(model["unk_id"])
    found = tokenizers.load(content).token_to_id(model.get("unk_token") or "")
    return 0 if found is None else int(found)
