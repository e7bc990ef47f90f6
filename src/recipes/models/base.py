"""Batch -> logits_BC."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from recipes.data.batch import Batch
from recipes.data.facts import Needs, Representation
from recipes.errors import ConfigError
from recipes.models.fused import FusedUpdate, Objective

if TYPE_CHECKING:
    from typing_extensions import Self


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

    head: nn.Module  # (B, H) -> logits_BC
    # For models that can train without autograd: (objective, threads) -> the compiled step, or why there is none for these settings.
    fused_update: Callable[[Objective, int], FusedUpdate | str] | None = None
    frozen: bool = False  # whether the head alone is trained

    def embed(self, batch: Batch) -> Tensor:
        """(B, ...) float: the representation in which two rows may be interpolated, zero at padding."""
        raise NotImplementedError

    def encode(self, hidden: Tensor, batch: Batch) -> Tensor:
        """(B, H) what the head reads, from what `embed` returned; token models read `batch.span_B` for the words that count."""
        raise NotImplementedError

    def classify(self, hidden: Tensor, batch: Batch) -> Tensor:
        """logits_BC from what `embed` returned. A model without a head of its own may override this alone, in the place of `encode`."""
        return self.head(self.encode(hidden, batch))

    def forward(self, batch: Batch) -> Tensor:
        """logits_BC. Mixed samples are interpolated after `embed`, or after `encode` where the batch says so."""
        hidden = self.embed(batch)
        if batch.partner is None:
            return self.classify(hidden, batch)
        other = self.embed(batch.partner)
        if batch.mix_at == "embedding":
            return self.classify(mixed(hidden, other, batch.mix_B2), batch)
        # Each row is encoded by itself: the longer partner must not open a row's padding.
        features_BH = mixed(self.encode(hidden, replace(batch, partner=None)), self.encode(other, batch.partner), batch.mix_B2)
        return self.head(features_BH)

    def train(self, mode: bool = True) -> Self:
        """Training or evaluation mode. The batch norms of a frozen encoder stay in evaluation: their statistics are part of it."""
        super().train(mode)
        if self.frozen:
            for norm in batch_norms(self):
                norm.eval()
        return self

    def attention(self, batch: Batch) -> Tensor:
        """(B, T) float: how much each word weighs in its row's answer; sums to one over the row's words, zero at padding.

        Raises ConfigError for a model that has no such weights.
        """
        raise ConfigError(
            f"attention: {type(self).__name__} weighs no words; train a model that does: model=han, model=transformer, "
            "model=pretrained, or model=textrnn model.pooling=attention"
        )

    def before_step(self, step: int, steps_per_epoch: int, total_steps: int) -> None:
        """Called before each step, with the steps done so far: what changes in the course of training, as a function of these alone."""

    def lr_scales(self) -> dict[str, float]:
        """Parameter name -> factor of its learning rate; the factor of those that are left out is 1."""
        return {}

    def after_step(self) -> None:
        """Called after each optimizer update: constraints on weights (max-norm, a padding row) go here."""


def batch_norms(model: nn.Module) -> list[_BatchNorm]:
    """The layers that keep running statistics of what passes through them."""
    return [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]


def mixed(first: Tensor, second: Tensor, mix_B2: Tensor | None) -> Tensor:
    """mix[:, 0] * first + mix[:, 1] * second, sample by sample."""
    assert mix_B2 is not None
    shape = (-1,) + (1,) * (first.dim() - 1)
    a, b = mix_B2.to(first.dtype).unbind(1)
    return a.view(shape) * first + b.view(shape) * second
