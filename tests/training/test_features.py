"""What the head reads, for a whole split: in the rows' order, as in evaluation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from recipes.data.batch import Batch
from recipes.data.split import Split
from recipes.data.stores import BagStore, SequenceStore
from recipes.errors import ConfigError
from recipes.models import MLP, Model, TextCNN
from recipes.training.features import hidden
from recipes.training.precision import Precision
from recipes.training.scoring import score

FULL = Precision("fp32", torch.device("cpu"))
WORDS = ("", "<unk>", "a", "b", "c", "d")


def texts() -> Split:
    lengths = np.array([5, 0, 9, 1, 3])
    ids = np.append(np.random.default_rng(0).integers(1, len(WORDS), lengths.sum()), 0).astype(np.int32)
    return Split("val", SequenceStore(ids, lengths, len(WORDS)), np.arange(5) % 2, num_classes=2)


@pytest.mark.parametrize("head", ["linear", "cosine"])
def test_the_head_makes_the_logits_of_them(head: str) -> None:
    """Rows are read in order of length, a few at a time, and come back in the split's order, without dropout."""
    torch.manual_seed(0)
    model = TextCNN(2, len(WORDS), WORDS, "binary", np.array([3, 2]), 5, dim=3, maps=2, head=head).train()
    features_NH = hidden(model, texts(), 2, FULL)
    assert model.training
    assert features_NH.shape == (5, 6)
    assert not features_NH.requires_grad
    torch.testing.assert_close(model.head(features_NH), score(model, texts(), 5, FULL))


def test_models_without_hidden_features_are_refused() -> None:
    class Whole(Model):
        representation = "tokens"

        def classify(self, hidden: Tensor, batch: Batch) -> Tensor:
            return hidden

    with pytest.raises(ConfigError, match="Whole has no `encode`"):
        hidden(Whole(), texts(), 2, FULL)
    bags = Split("val", BagStore(np.array([0, 1], np.int32), np.array([1, 1]), 2, np.ones(2, np.float32)), np.array([0, 1]), num_classes=2)
    model = MLP(2, 2, (), True, "binary", np.array([1, 1]), 2, widths=[])
    with pytest.raises(ConfigError, match=r"as in model.widths=\[64\]"):
        hidden(model, bags, 2, FULL)
