"""Training recipes for imbalanced text and tabular classification.

`load` opens a finished run for prediction; everything else is used through `train.py`, the scripts, or the rooms
named in docs/architecture.md. Importing the package imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from recipes.inference import Predictor

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def load(run: Any, device: str = "cpu", trust: Sequence[str] = (), prior: float | Mapping[str, float] | None = None) -> Predictor:
    """Open the model of a finished run (a run directory, or its `model/` folder) for prediction.

    `trust` names further packages that the model's class may come from, as in training. `prior` is the prevalence to serve: the share of
    the positive class, or a mapping from class to share; None: that of the train rows.
    """
    from recipes.inference import Predictor

    return Predictor.load(run, device=device, trust=trust, prior=prior)
