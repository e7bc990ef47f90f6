"""What turns rows into numbers: fitted on train, applied to every split and at prediction, saved without pickle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from recipes.data.facts import Modality, Needs
from recipes.data.features import Features
from recipes.data.split import Split
from recipes.data.stores import Arrays, Store
from recipes.errors import ConfigError

if TYPE_CHECKING:
    from typing_extensions import Self


class Limit(NamedTuple):
    """How many tokens of a text are read, None for all, and what says so."""

    most: int | None
    reason: str = ""

    @classmethod
    def of(cls, features: Features, needs: Needs | None = None) -> Limit:
        """What the settings allow, and what the model can read."""
        limits = {"features.max_length": features.max_length, "all that the model reads": needs.max_length if needs else None}
        return min((cls(most, reason) for reason, most in limits.items() if most is not None), default=cls(None))

    def notes(self, name: str, cut: int) -> list[str]:
        """What the user should hear where `cut` texts of a split were longer."""
        return [f"{name}: {cut:,} texts are longer than {self.most} tokens ({self.reason}) and were cut there"] if cut else []


class Encoder:
    """Rows to a `Split`. Subclasses are made by `fit`, on train rows only, or by `from_state`."""

    kind: ClassVar[str]

    @classmethod
    def fit(cls, data: Any, features: Features, needs: Needs, rows: np.ndarray | None = None) -> tuple[Self, Store, list[str]]:
        """Fit on the train rows. Returns the encoder, the rows encoded, and messages for the user.

        data: a polars String series, or a frame of feature columns. rows: (N,) row of each in its file, for messages.
        """
        raise NotImplementedError

    def store(self, data: Any, name: str = "predict", rows: np.ndarray | None = None) -> tuple[Store, list[str]]:
        """Encode rows that may never have been seen. Returns them and messages for the user."""
        raise NotImplementedError

    def encode(
        self,
        data: Any,
        name: str = "predict",
        targets: np.ndarray | None = None,
        weights: np.ndarray | None = None,
        rows: np.ndarray | None = None,
    ) -> Split:
        """Rows as a split that deals batches; `targets` and `weights` are for rows that have them."""
        store, notes = self.store(data, name, rows)
        return Split(name, store, targets, weights, notes=notes)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The words behind ids 0..len-1 of token models; empty for others."""
        return ()

    def facts(self) -> dict[str, Any]:
        """The fields of `Facts` that the encoder decides."""
        raise NotImplementedError

    def describe(self) -> str:
        """One line for the start of a run."""
        raise NotImplementedError

    def state(self) -> tuple[dict[str, Any], Arrays]:
        """Settings for JSON, and arrays, from which `load_encoder` makes the encoder again."""
        raise NotImplementedError

    @classmethod
    def from_state(cls, settings: dict[str, Any], arrays: Arrays) -> Self:
        """The encoder that `state` was asked of."""
        raise NotImplementedError


def encoder_class(modality: Modality, needs: Needs, features: Features) -> type[Encoder]:
    """The encoder that makes what a model needs from this kind of data."""
    from recipes.data.pieces import PieceEncoder
    from recipes.data.tabular import TabularEncoder
    from recipes.data.tfidf import TfidfEncoder
    from recipes.data.tfidf_joint import JointTfidfEncoder
    from recipes.data.tokens import TokenEncoder

    if modality == "text":
        if needs.tokenizer is not None:
            return PieceEncoder
        dense = TfidfEncoder if features.tfidf_chars is None else JointTfidfEncoder
        return TokenEncoder if needs.representation == "tokens" else dense
    if needs.representation == "tokens":
        raise ConfigError(
            "model: it reads sequences of words, but the data is a table of columns\n"
            "  use a model for tables: model=mlp\n"
            "  or, if one column holds the text to classify, name it: data.text=<column>"
        )
    return TabularEncoder


def load_encoder(settings: dict[str, Any], arrays: Arrays) -> Encoder:
    """The encoder behind a saved state."""
    from recipes.data.pieces import PieceEncoder
    from recipes.data.tabular import TabularEncoder
    from recipes.data.tfidf import TfidfEncoder
    from recipes.data.tfidf_joint import JointTfidfEncoder
    from recipes.data.tokens import TokenEncoder

    kinds: dict[str, type[Encoder]] = {
        kind.kind: kind for kind in (TokenEncoder, PieceEncoder, TfidfEncoder, JointTfidfEncoder, TabularEncoder)
    }
    return kinds[settings["kind"]].from_state(settings, arrays)
