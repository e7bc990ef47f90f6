"""A finished run, opened again: its settings, its data, and commands that go on from it."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from recipes.cli.entry import quoted
from recipes.cli.status import read_status
from recipes.errors import CheckpointError

if TYPE_CHECKING:
    from recipes.cli.settings import Settings
    from recipes.data import Dataset
    from recipes.inference.bundle import Bundle


@dataclass(frozen=True)
class Finished:
    """What a finished run left, and the data that it was trained on, read again."""

    run_dir: Path
    settings: Settings
    data: Dataset
    bundle: Bundle


def find(run: str) -> Path:
    """The directory of a finished run. Raises CheckpointError for anything else."""
    run_dir = Path(run).expanduser()
    if not (run_dir / ".hydra" / "config.yaml").is_file():
        raise CheckpointError(f"run: '{run}' is not a run directory (it has no .hydra/config.yaml); give one, such as outputs/<day>/<time>")
    if read_status(run_dir) != "finished":
        raise CheckpointError(f"run: '{run}' is not finished; finish it with `python train.py {quoted('resume', run)}`")
    return run_dir.resolve()


def open_run(run: str, device: str) -> Finished:
    """Settings, data and bundle of a finished run. Relative paths of data are read from the current directory.

    Raises ConfigError where the data is not what the run was trained on.
    """
    from recipes.cli.assemble import read_data
    from recipes.cli.initial import check_same
    from recipes.cli.settings import read_settings
    from recipes.inference import load_bundle

    run_dir = find(run)
    config = stored_config(run_dir)
    config["trainer"] |= {"device": device, "precision": "fp32"}  # the run may have been trained on a device that is not here
    settings = read_settings(config)
    data, _ = read_data(settings)
    bundle = load_bundle(run_dir)
    check_same(bundle, data, run, "run")
    return Finished(run_dir, settings, data, bundle)


def stored_config(run_dir: Path) -> dict[str, Any]:
    """The composed config of a run as plain values."""
    plain = OmegaConf.to_container(OmegaConf.load(run_dir / ".hydra" / "config.yaml"), resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def continued(run: str, changes: list[str], typed: list[str], without: tuple[str, ...]) -> list[str]:
    """Overrides of a new run that starts from a finished one: what that was started with, but for the groups `without`, then `changes`,
    then what is `typed`. Settings of the model that its loss had asked for are among the changes.
    """
    run_dir = find(run)
    changes = [*changes, *_adapted(run_dir)]
    stored = [str(o) for o in OmegaConf.load(run_dir / ".hydra" / "overrides.yaml")]
    gone = re.compile(rf"^[+~]*(?:{'|'.join(map(re.escape, (*without, 'resume', 'hydra', 'init')))})[.=]")
    groups = {o.partition("=")[0].lstrip("+~") for o in [*changes, *typed]}
    kept = [o for o in stored if not gone.match(o) and o.partition("=")[0].lstrip("+~") not in groups]
    newer = {o.partition("=")[0].lstrip("+~") for o in typed}
    return kept + [c for c in changes if c.partition("=")[0].lstrip("+~") not in newer] + [quoted("init.run", str(run_dir))] + typed


def _adapted(run_dir: Path) -> list[str]:
    """Overrides for the settings of the trained model that are not as they were typed."""
    from recipes.inference import load_bundle

    typed = stored_config(run_dir)["model"]
    trained = load_bundle(run_dir).model_settings
    return [f"model.{name}={json.dumps(value)}" for name, value in trained.items() if name in typed and typed[name] != value]


def task_of(run: str) -> str:
    """What kind of labels a finished run has: binary, multiclass or multilabel."""
    from recipes.inference import load_bundle

    return load_bundle(find(run)).facts.task


def rate(run: str, factor: float) -> float:
    """The learning rate of a run, times a factor, in as many digits as are worth writing."""
    lr = float(stored_config(find(run))["optimizer"]["lr"]) * factor
    return float(f"{lr:.3g}") if math.isfinite(lr) else lr
