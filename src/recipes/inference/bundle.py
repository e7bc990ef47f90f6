"""Write and read the `model/` folder of a run: safetensors for weights and arrays, JSON for the rest, no pickle.

model.safetensors     the best weights
encoder.safetensors   arrays of the fitted encoder: the vocabulary's bytes, means, inverse document frequencies
bundle.json           format, task, classes, the model's settings, facts and needs, the encoder's settings, the columns to read
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recipes.data import Encoder, Facts, Needs, load_encoder
from recipes.errors import CheckpointError
from recipes.models.base import Model

FORMAT = 1
_FACTS_IN_ENCODER = ("vocabulary", "class_counts")


@dataclass
class Bundle:
    """What `model/` holds."""

    facts: Facts
    needs: Needs
    encoder: Encoder
    model_settings: dict[str, Any]
    columns: dict[str, Any]  # which columns of an input file the encoder reads
    weights: dict[str, Any]  # name -> tensor


def save_bundle(
    folder: Path, model: Model, model_settings: dict[str, Any], facts: Facts, needs: Needs, encoder: Encoder, columns: dict[str, Any]
) -> None:
    """Write the bundle of a trained model. Raises CheckpointError when the disk does not take it."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file as save_arrays
    from safetensors.torch import save_file

    settings, arrays = encoder.state()
    known = {name: value for name, value in asdict(facts).items() if name not in _FACTS_IN_ENCODER}
    content = {
        "format": FORMAT,
        "facts": known | {"class_counts": [int(n) for n in facts.class_counts]},
        "needs": asdict(needs),
        "model": model_settings,
        "encoder": settings,
        "columns": columns,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Clones, since safetensors refuses weights that share their memory.
        weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}
        save_file(weights, folder / "model.safetensors")
        save_arrays({name: np.ascontiguousarray(a) for name, a in arrays.items()}, folder / "encoder.safetensors")
        (folder / "bundle.json").write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
    except (OSError, SafetensorError) as error:  # the latter is what safetensors makes of a full disk
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise CheckpointError(f"the model could not be written to {folder}: {reason}") from error


def load_bundle(run: str | Path) -> Bundle:
    """Read the bundle of a run directory, or of the `model/` folder itself. Raises CheckpointError when there is none, or it is damaged."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file as load_arrays
    from safetensors.torch import load_file

    folder = Path(run).expanduser()
    folder = folder if (folder / "bundle.json").is_file() else folder / "model"
    if not (folder / "bundle.json").is_file():
        raise CheckpointError(
            f"there is no trained model in '{run}': expected {folder / 'bundle.json'}. Give the directory of a finished run; "
            "an interrupted one is finished with `python train.py resume=<directory>`"
        )
    try:
        content = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
        arrays = load_arrays(folder / "encoder.safetensors")
        weights = load_file(folder / "model.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"the model in {folder} is damaged: {error}") from error
    if content.get("format") != FORMAT:
        raise CheckpointError(f"the model in {folder} has format {content.get('format')!r}; this version reads format {FORMAT}")
    encoder = load_encoder(content["encoder"], arrays)
    known = content["facts"]
    facts = Facts(
        **known
        | {
            "class_names": tuple(known["class_names"]),
            "class_counts": np.array(known["class_counts"], dtype=np.int64),
            "category_sizes": tuple(known["category_sizes"]),
            "vocabulary": tuple(getattr(encoder, "vocabulary", ())),
        }
    )
    return Bundle(facts, Needs(**content["needs"]), encoder, content["model"], content["columns"], weights)
