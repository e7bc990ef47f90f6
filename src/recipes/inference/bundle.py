"""Write and read the `model/` folder of a run: safetensors for weights and arrays, JSON for the rest, no pickle.

model.safetensors     the best weights
encoder.safetensors   arrays of the fitted encoder: the vocabulary's bytes, means, inverse document frequencies
bundle.json           format, task, classes, the model's settings, facts and needs, the encoder's settings, the columns to read,
                      and the readout: the prior ledger, the calibration, the rule of decision
conformal.safetensors validation's nonconformity scores, class by class
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recipes.data import Dataset, Encoder, Facts, Needs, load_encoder
from recipes.errors import CheckpointError
from recipes.evaluation import Readout
from recipes.models.base import Model
from recipes.models.heads import ScaledHead

FORMAT = 3
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
    readout: Readout  # from raw logits to probabilities and decisions
    conformal: dict[str, np.ndarray]  # from which prediction sets are made; empty without validation


def bundle_of(
    model: Model, model_settings: dict[str, Any], data: Dataset, needs: Needs, readout: Readout, conformal: dict[str, np.ndarray]
) -> Bundle:
    """The bundle of a trained model, with weights of its own. A head with learned scales becomes the plain one that it equals."""
    head = getattr(model, "head", None)
    if isinstance(head, ScaledHead):
        model.head = head.folded()
    # Clones, since safetensors refuses weights that share their memory.
    weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}
    return Bundle(data.facts, needs, data.encoder, model_settings, data.columns, weights, readout, conformal)


def save_bundle(folder: Path, bundle: Bundle) -> None:
    """Write a bundle. Raises CheckpointError when the disk does not take it."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file as save_arrays
    from safetensors.torch import save_file

    settings, arrays = bundle.encoder.state()
    known = {name: value for name, value in asdict(bundle.facts).items() if name not in _FACTS_IN_ENCODER}
    content = {
        "format": FORMAT,
        "facts": known | {"class_counts": [int(n) for n in bundle.facts.class_counts]},
        "needs": asdict(bundle.needs),
        "model": bundle.model_settings,
        "encoder": settings,
        "columns": bundle.columns,
        "readout": bundle.readout.as_dict(),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(bundle.weights, folder / "model.safetensors")
        save_arrays({name: np.ascontiguousarray(a) for name, a in bundle.conformal.items()}, folder / "conformal.safetensors")
        save_arrays({name: np.ascontiguousarray(a) for name, a in arrays.items()}, folder / "encoder.safetensors")
        (folder / "bundle.json").write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
    except (OSError, SafetensorError) as error:  # the latter is what safetensors makes of a full disk
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise CheckpointError(f"the model could not be written to {folder}: {reason}") from error


def load_bundle(run: str | Path) -> Bundle:
    """Read the bundle of a run directory, of the `model/` folder itself, or of a fastText `.bin`.

    Raises CheckpointError when there is none, or it is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file as load_arrays
    from safetensors.torch import load_file

    folder = Path(run).expanduser()
    if folder.is_file() or (folder.suffix in (".bin", ".ftz") and not folder.exists()):
        from recipes.inference.fasttext_file import read_fasttext  # there is a bundle to make, so this module comes first

        return read_fasttext(folder)
    folder = folder if (folder / "bundle.json").is_file() else folder / "model"
    if not (folder / "bundle.json").is_file():
        raise CheckpointError(
            f"there is no trained model in '{run}': expected {folder / 'bundle.json'}. Give the directory of a finished run; "
            "an interrupted one is finished with `python train.py resume=<directory>`"
        )
    try:
        content = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
        _check_format(content.get("format"), folder)
        arrays = load_arrays(folder / "encoder.safetensors")
        weights = load_file(folder / "model.safetensors")
        conformal = load_arrays(folder / "conformal.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"the model in {folder} is damaged: {error}") from error
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
    readout = Readout.from_dict(content["readout"])
    return Bundle(facts, Needs(**content["needs"]), encoder, content["model"], content["columns"], weights, readout, conformal)


def _check_format(found: Any, folder: Path) -> None:
    if found != FORMAT:
        older = isinstance(found, int) and found < FORMAT
        fix = "train it again" if older else "it was written by a newer version of this package"
        raise CheckpointError(f"the model in {folder} has format {found!r}, and this version reads format {FORMAT}; {fix}")
