"""The config of `train.py` without its command line: for scripts, tests, and whoever drives runs from Python. Imports no torch."""

from __future__ import annotations

from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from recipes.cli.entry import config_dir


def composed(*overrides: str) -> dict[str, Any]:
    """What `train.py <overrides>` would run, as plain values: `composed("model=mlp", "data=breast_cancer")`. Raises Hydra's errors."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        plain = OmegaConf.to_container(compose("train", overrides=list(overrides)), resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
