"""Finished runs with what Hydra leaves in their directories, for the commands that go on from them."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from recipes.cli import entry
from recipes.cli.main import main

Command = Callable[..., tuple[int, str]]


def finish(train_here: Callable[..., float], compose: Callable[..., dict[str, Any]], run_dir: Path, *typed: str) -> Path:
    """Train, and leave the config and the overrides where `train.py` leaves them."""
    train_here(run_dir, *typed)
    (run_dir / ".hydra").mkdir()
    OmegaConf.save(OmegaConf.create(compose(*typed)), run_dir / ".hydra" / "config.yaml")
    OmegaConf.save(OmegaConf.create(list(typed)), run_dir / ".hydra" / "overrides.yaml")
    return run_dir


def write_table(path: Path, rows: int, shares: list[float], seed: int = 0) -> Path:
    """Normal classes c0, c1, ... in two columns, with means that are 1.2 apart."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(len(shares), rows, p=shares)
    points = rng.normal(size=(rows, 2)) + 1.2 * np.stack([labels, labels % 2], axis=1)
    lines = [f"{x:.5f},{y:.5f},c{label}" for (x, y), label in zip(points, labels, strict=True)]
    path.write_text("\n".join(["x,y,label", *lines]) + "\n", encoding="utf-8")
    return path


def in_process(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """What `python -m recipes ...` would do in a folder: (exit code, what was printed)."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["recipes"])
    monkeypatch.setattr(entry, "_claimed", {})

    def call(*arguments: str) -> tuple[int, str]:
        GlobalHydra.instance().clear()
        for handler in [h for h in logging.getLogger().handlers if type(h) is logging.StreamHandler]:
            logging.getLogger().removeHandler(handler)  # Hydra's, of an earlier command, on a stream that is closed by now
        code = 0
        try:
            main(list(arguments))
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out + captured.err

    return call
