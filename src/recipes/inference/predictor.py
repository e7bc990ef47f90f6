"""Probabilities and classes for new rows, from a finished run.

N rows, C classes or labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recipes.config import build, resolve
from recipes.data import Split
from recipes.data.columns import take_inputs
from recipes.errors import DataError
from recipes.evaluation import decide, probabilities
from recipes.inference.bundle import Bundle, load_bundle
from recipes.models.base import Model
from recipes.training.precision import Precision, resolve_device
from recipes.training.scoring import score

if TYPE_CHECKING:
    import polars as pl


class Predictor:
    """A trained model with its encoder: `Predictor.load(run).predict_proba(["a text", "another"])`."""

    def __init__(self, bundle: Bundle, device: str = "cpu", batch_size: int = 1024, trust: Sequence[str] = ()) -> None:
        self.facts, self.encoder, self.columns = bundle.facts, bundle.encoder, bundle.columns
        self.device = resolve_device(device, "device")
        self.batch_size = batch_size
        model_class = resolve(Model, bundle.model_settings, "model", trust)
        settings = model_class.inference_settings(bundle.model_settings, bundle.weights)
        self.model = build(Model, settings, "model", facts=bundle.facts.as_dict(), trust=trust)
        self.model.load_state_dict(bundle.weights)
        self.model.to(self.device).eval()

    @classmethod
    def load(cls, run: str | Path, device: str = "cpu", trust: Sequence[str] = ()) -> Predictor:
        """From a run directory or its `model/` folder. Raises CheckpointError when it holds no trained model.

        `trust` names further packages that the model's class may come from, as in training.
        """
        return cls(load_bundle(run), device=device, trust=trust)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of the probability columns."""
        return self.facts.class_names

    def predict_proba(self, inputs: Any) -> np.ndarray:
        """(N, C) float32 probabilities: rows sum to one, but for multi-label, where each column stands alone.

        inputs: a list of texts for a text model, or a polars or pandas frame (or a mapping of columns); a frame needs the columns that
        the model was trained on, in any order. Raises DataError when they are missing or of another type.
        """
        split = self._encode(inputs)
        if len(split) == 0:
            return np.zeros((0, len(self.classes)), dtype=np.float32)
        logits = score(self.model, split, self.batch_size, Precision("fp32", self.device))
        return probabilities(logits.cpu().numpy(), self.facts.task).astype(np.float32)

    def predict(self, inputs: Any) -> list[Any]:
        """The class of each row; for multi-label the list of its labels."""
        return self.decide(self.predict_proba(inputs))

    def decide(self, probabilities_NC: np.ndarray) -> list[Any]:
        """Classes from probabilities: the likeliest one, or for multi-label every label of at least one half."""
        found = decide(probabilities_NC, self.facts.task)
        if found.ndim == 2:
            return [[self.classes[c] for c in np.flatnonzero(row)] for row in found]
        return [self.classes[c] for c in found]

    def _encode(self, inputs: Any) -> Split:
        frame = _frame(inputs)
        if frame is not None:
            return self.encoder.encode(take_inputs(frame, self.columns, "input"))
        if self.facts.modality == "tabular":
            names = ", ".join(self.columns["dtypes"])
            raise DataError(f"input: this model reads the columns {names[:200]}; give a frame, not {type(inputs).__name__}")
        return self.encoder.encode(_texts(inputs))


def _texts(inputs: Any) -> pl.Series:
    import polars as pl

    if isinstance(inputs, str | bytes) or not isinstance(inputs, Sequence | np.ndarray | pl.Series):
        raise DataError(f"input: this model reads texts; give a list of strings or a frame, not {type(inputs).__name__}")
    return pl.Series("text", ["" if t is None else str(t) for t in inputs], dtype=pl.String)


def _frame(inputs: Any) -> pl.DataFrame | None:
    """A polars frame from a polars or pandas frame or a mapping of columns; None for anything else."""
    import polars as pl

    if isinstance(inputs, pl.DataFrame):
        return inputs
    if isinstance(inputs, dict):
        return pl.DataFrame(inputs)
    if type(inputs).__module__.startswith("pandas") and hasattr(inputs, "columns"):
        return pl.from_pandas(inputs)
    return None
