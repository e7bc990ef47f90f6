"""Probabilities and classes for new rows, from a finished run.

N rows, C classes or labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from recipes.config import build, resolve
from recipes.data import Split
from recipes.data.columns import as_texts, take_inputs
from recipes.errors import ConfigError, DataError
from recipes.evaluation import ConformalKind, always_in, probabilities, sets
from recipes.inference.bundle import Bundle, load_bundle
from recipes.models.base import Model
from recipes.training.precision import Precision, resolve_device
from recipes.training.scoring import score

if TYPE_CHECKING:
    import polars as pl

_EXPLAINED = 64  # rows at once: some models make a weight for each pair of words


class Predictor:
    """A trained model with its encoder: `Predictor.load(run).predict_proba(["a text", "another"])`.

    Probabilities are natural: whatever sampling, class weights and adjustments training used, they are those of the prevalence of the train
    rows. `prior` serves another one: the share of the positive class, or a mapping from class to share (see `Ledger.deployed`).
    """

    def __init__(
        self,
        bundle: Bundle,
        device: str = "cpu",
        batch_size: int = 1024,
        trust: Sequence[str] = (),
        prior: float | Mapping[str, float] | None = None,
    ) -> None:
        self.facts, self.encoder, self.columns = bundle.facts, bundle.encoder, bundle.columns
        self.readout, self.conformal = bundle.readout, bundle.conformal
        self.device = resolve_device(device, "device")
        self.batch_size = batch_size
        self.shift_C = None if prior is None else self.readout.ledger.deployed(prior, self.facts.class_names)
        model_class = resolve(Model, bundle.model_settings, "model", trust)
        settings = model_class.inference_settings(bundle.model_settings, bundle.weights)
        self.model = build(Model, settings, "model", facts=bundle.facts.as_dict(), trust=trust)
        self.model.load_state_dict(bundle.weights)
        self.model.to(self.device).eval()

    @classmethod
    def load(
        cls, run: str | Path, device: str = "cpu", trust: Sequence[str] = (), prior: float | Mapping[str, float] | None = None
    ) -> Predictor:
        """From a run directory or its `model/` folder. Raises CheckpointError when it holds no trained model.

        `trust` names further packages that the model's class may come from, as in training. Raises ConfigError for a `prior` that does not
        fit the classes.
        """
        return cls(load_bundle(run), device=device, trust=trust, prior=prior)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of the probability columns."""
        return self.facts.class_names

    def score(self, inputs: Any) -> np.ndarray:
        """(N, C) float32 raw logits of the network; `proba` and `decide` read them.

        inputs: a list of texts for a text model, or a polars or pandas frame (or a mapping of columns); a frame needs the columns that
        the model was trained on, in any order. Raises DataError when they are missing or of another type.
        """
        split = self._encode(inputs)
        if len(split) == 0:
            return np.zeros((0, len(self.classes)), dtype=np.float32)
        return score(self.model, split, self.batch_size, Precision("fp32", self.device)).cpu().numpy()

    def predict_proba(self, inputs: Any) -> np.ndarray:
        """(N, C) float32 probabilities: rows sum to one, but for multi-label, where each column stands alone. `inputs` as for `score`."""
        return self.proba(self.score(inputs))

    def predict(self, inputs: Any) -> list[Any]:
        """The class of each row; for multi-label the list of its labels."""
        return self.decide(self.score(inputs))

    def proba(self, raw_NC: np.ndarray) -> np.ndarray:
        """(N, C) float32 probabilities from raw logits: corrected, calibrated, and of the prevalence that was asked for."""
        if len(raw_NC) == 0:
            return np.zeros_like(raw_NC, dtype=np.float32)
        return probabilities(self.readout.logits(raw_NC, self.shift_C), self.facts.task).astype(np.float32)

    def decide(self, raw_NC: np.ndarray) -> list[Any]:
        """Classes from raw logits, by the rule that was chosen in training; for multi-label lists of labels."""
        if len(raw_NC) == 0:
            return []
        return self._names(self.readout.decide(raw_NC, self.shift_C))

    def predict_sets(self, raw_NC: np.ndarray, alpha: float, kind: ConformalKind = "class_conditional") -> list[list[str]]:
        """Classes that cannot be ruled out, row by row: sets that hold the true class with probability 1 - alpha (`conformal.sets`).

        They are made at the prevalence of validation, whatever `prior` is: what `class_conditional` promises holds for any. Raises
        ConfigError as `check_sets` does.
        """
        self.check_sets(kind)
        if len(raw_NC) == 0:
            return []
        return self._names(sets(probabilities(self.readout.logits(raw_NC), self.facts.task), self._nonconformity(), alpha, kind))

    @torch.no_grad()
    def explain(self, inputs: Any) -> list[list[tuple[str, float]]]:
        """The tokens of each text with their attention weights, which sum to one over the text; none for an empty text.

        inputs: as for `score`. A token that the model does not read has the weight zero. Raises ConfigError for a model that has no such
        weights.
        """
        cut = getattr(self.encoder, "tokens", None)
        if cut is None:
            raise ConfigError(f"attention: {type(self.model).__name__} reads no text word by word; train a model that does: model=han")
        data = self._inputs(inputs)
        split = self.encoder.encode(data).to(self.device)
        weights: list[list[float]] = [[]] * len(split)
        order = split.by_length()
        size = min(self.batch_size, _EXPLAINED)
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            for row, found_T in zip(rows.tolist(), self.model.attention(split.batch(rows)).tolist(), strict=True):
                weights[row] = found_T
        return [list(zip(tokens, found, strict=False)) for tokens, found in zip(cut(data), weights, strict=True)]

    def check_attention(self) -> None:
        """Raise ConfigError unless the model weighs words."""
        self.explain([""])

    def check_sets(self, kind: ConformalKind) -> None:
        """Raise ConfigError where the run had no validation split, or marginal sets are asked for at another prevalence than its own."""
        if not self.conformal:
            raise ConfigError(
                "conformal: prediction sets are measured on validation, and this run had none; train with data.val_fraction=0.1"
            )
        if self.shift_C is not None and kind == "marginal":
            raise ConfigError(
                "conformal=marginal and prior: marginal sets hold for the prevalence of validation; use conformal=class_conditional"
            )

    def always_in_sets(self, alpha: float) -> str | None:
        """Which classes `class_conditional` can never rule out, for lack of validation rows, in words; None where there are none."""
        return always_in(self._nonconformity(), alpha, self.classes)

    def _nonconformity(self) -> list[np.ndarray]:
        return [self.conformal[str(c)] for c in range(len(self.classes))]

    def _names(self, found: np.ndarray) -> list[Any]:
        if found.ndim == 2:
            return [[self.classes[c] for c in np.flatnonzero(row)] for row in found]
        return [self.classes[c] for c in found]

    def _encode(self, inputs: Any) -> Split:
        return self.encoder.encode(self._inputs(inputs)).to(self.device)

    def _inputs(self, inputs: Any) -> Any:
        """What the encoder reads: a series of texts, or a frame of the columns that it knows."""
        frame = _frame(inputs)
        if frame is not None:
            return take_inputs(frame, self.columns, "input")
        if self.facts.modality == "tabular":
            names = ", ".join(self.columns["dtypes"])
            raise DataError(f"input: this model reads the columns {names[:200]}; give a frame, not {type(inputs).__name__}")
        return _texts(inputs)


def _texts(inputs: Any) -> pl.Series:
    import polars as pl

    if isinstance(inputs, str | bytes) or not isinstance(inputs, Sequence | np.ndarray | pl.Series):
        raise DataError(f"input: this model reads texts; give a list of strings or a frame, not {type(inputs).__name__}")
    texts = ["" if t is None else str(t) for t in inputs]
    try:
        column = pl.Series("text", texts, dtype=pl.String)
    except UnicodeEncodeError:  # half of a pair of surrogates is no character; JSON that was cut off between the two leaves one
        whole = [t.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for t in texts]
        column = pl.Series("text", whole, dtype=pl.String)
    return as_texts(column)


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
