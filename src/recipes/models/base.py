"""Batch -> logits_BC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from recipes.data.batch import Batch
from recipes.data.facts import Needs, Representation


class Model(nn.Module):
    """A classifier over batches. Subclasses say what they read and split their forward pass where mixtures make sense.

    Single-label tasks have one logit a class, binary included (two); multi-label has one a label.
    """

    representation: ClassVar[Representation]

    @classmethod
    def needs(cls, settings: Mapping[str, Any]) -> Needs:
        """What the data room must make for a model with these (checked) settings."""
        return Needs(cls.representation)

    @classmethod
    def inference_settings(cls, settings: Mapping[str, Any], weights: Mapping[str, Tensor]) -> dict[str, Any]:
        """The settings to rebuild a trained model with: those that name files of the training machine are replaced here."""
        return dict(settings)

    def embed(self, batch: Batch) -> Tensor:
        """(B, ...) float: the representation in which two rows may be interpolated, zero at padding."""
        raise NotImplementedError

    def classify(self, hidden: Tensor, batch: Batch) -> Tensor:
        """logits_BC from what `embed` returned; token models read `batch.span_B` for the words that count."""
        raise NotImplementedError

    def forward(self, batch: Batch) -> Tensor:
        """logits_BC. Mixed samples are interpolated between `embed` and `classify`."""
        hidden = self.embed(batch)
        if batch.partner is not None:
            assert batch.mix_B2 is not None
            shape = (-1,) + (1,) * (hidden.dim() - 1)
            first, second = batch.mix_B2.to(hidden.dtype).unbind(1)
            hidden = first.view(shape) * hidden + second.view(shape) * self.embed(batch.partner)
        return self.classify(hidden, batch)

    def after_step(self) -> None:
        """Called after each optimizer update: constraints on weights (max-norm, a padding row) go here."""
