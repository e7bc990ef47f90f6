"""What the head of a trained model reads, for whole splits. N rows of a split, H width of what the head reads."""

from __future__ import annotations

from torch import Tensor

from recipes.data.batch import Batch
from recipes.data.split import Split
from recipes.errors import ConfigError
from recipes.models.base import Model
from recipes.models.mlp import BagLinear
from recipes.training.precision import Precision
from recipes.training.scoring import score


def hidden(model: Model, split: Split, batch_size: int, precision: Precision) -> Tensor:
    """features_NH of every row, as `score` gives logits: in the split's order, without dropout, float32 or float64 as the model is.

    Memory: 4 * N * H bytes. Raises ConfigError for a model that has no features before its head.
    """
    if type(model).encode is Model.encode:
        raise ConfigError(f"model: {type(model).__name__} has no `encode`, so nothing is known to lie before its head")
    if isinstance(getattr(model, "head", None), BagLinear):
        raise ConfigError("model.widths: [] on TF-IDF has no hidden layer whose features could be used; give one, as in model.widths=[64]")
    return score(_Encoder(model), split, batch_size, precision)


class _Encoder(Model):
    """A model up to its head, in the place of a whole one."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.representation = model.representation  # type: ignore[misc]
        self.model, self.training = model, model.training

    def forward(self, batch: Batch) -> Tensor:
        return self.model.encode(self.model.embed(batch), batch)
