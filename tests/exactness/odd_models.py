"""Small text models of every kind, trained for two steps on odd texts. B batch, C classes."""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import torch
import yaml
from torch.nn import functional

from recipes.config import build, resolve
from recipes.data import Dataset, Encoder, Facts, Features, Needs
from recipes.data.batch import Batch
from recipes.data.encoder import encoder_class
from recipes.data.split import TrainSplit
from recipes.data.stores import Store
from recipes.evaluation import Readout
from recipes.inference import Predictor, save_bundle
from recipes.inference.bundle import bundle_of
from recipes.models import Model
from recipes.priors import Ledger

from .odd_texts import odd_texts

ROOT = Path(__file__).resolve().parents[2]
TEXTS = odd_texts()
TARGETS = np.arange(len(TEXTS)) % 7 % 3
SMALL: dict[str, dict[str, Any]] = {
    "textcnn": {"dim": 8, "maps": 4},
    "fasttext": {"dim": 8, "buckets": 5000},
    "textrnn": {"dim": 8, "hidden": 6},
    "textrcnn": {"dim": 8, "hidden": 6, "latent": 6},
    "han": {"dim": 8, "hidden": 6},
    "dpcnn": {"dim": 8, "maps": 6},
    "transformer": {"width": 8, "inner": 8, "max_positions": 128},
    "pretrained": {},
    "mlp": {"widths": [8]},
}


@dataclass
class Odd:
    """A model, what encoded the texts for it, and the texts."""

    settings: dict[str, Any]
    needs: Needs
    encoder: Encoder
    facts: Facts
    train: TrainSplit
    model: Model

    def saved(self, folder: Path) -> Predictor:
        """What is loaded of it after it was saved."""
        shares = self.facts.class_counts / self.facts.class_counts.sum()
        data = Dataset(self.facts, self.train, None, None, self.encoder, [], {"text": "text", "dtypes": {"text": "String"}}, {})
        save_bundle(
            folder / "model", bundle_of(self.model, self.settings, data, self.needs, Readout(Ledger("multiclass", shares, shares)), {})
        )
        return Predictor.load(folder)


@functools.lru_cache(maxsize=8)
def _encoded(features: Features, needs: Needs) -> tuple[Encoder, Store]:
    encoder, store, _ = encoder_class("text", needs, features).fit(pl.Series(TEXTS), features, needs)
    return encoder, store


def odd_model(option: str, changed: dict[str, Any], tokenizer: str = "word", steps: int = 2, **features: Any) -> Odd:
    """A model of this option with its defaults but for sizes and `changed`, after `steps` of gradient descent."""
    given = yaml.safe_load((ROOT / "configs" / "model" / f"{option}.yaml").read_text(encoding="utf-8"))
    settings = {**given, **SMALL[option], **changed}
    needs = resolve(Model, settings, "model").needs(settings)
    encoder, store = _encoded(Features(tokenizer=tokenizer, **features), needs)
    facts = Facts("multiclass", "text", ("a", "b", "c"), np.bincount(TARGETS), len(TEXTS), **encoder.facts())
    torch.manual_seed(0)
    odd = Odd(
        settings,
        needs,
        encoder,
        facts,
        TrainSplit("train", store, TARGETS, num_classes=3),
        build(Model, settings, "model", facts=facts.as_dict()),
    )
    rate = 100.0 if option == "fasttext" else 0.5  # whose last layer begins at zero, and whose gradients are shared by many ids
    for step in range(steps):
        descend(odd.model.train(), odd.train.batch(np.arange(step, len(TEXTS), 4)), rate)
    return odd


def descend(model: Model, batch: Batch, rate: float = 0.5) -> float:
    """One update; returns the loss."""
    model.zero_grad()
    loss = functional.cross_entropy(model(batch), batch.targets)
    loss.backward()
    with torch.no_grad():
        for p in model.parameters():
            if p.grad is not None:
                p.sub_(rate * (p.grad.to_dense() if p.grad.is_sparse else p.grad))
    model.after_step()
    return float(loss.detach())


def tiny_encoder() -> ModuleType:
    """The module that makes small directories of pretrained encoders for the tests of models."""
    spec = importlib.util.spec_from_file_location("tiny_encoder", ROOT / "tests" / "models" / "tiny_encoder.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
