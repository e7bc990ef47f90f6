"""`train.py` in this process, where only its messages matter, and in one of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from recipes.cli import entry

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """`train("model=mlp", ...)`: what `python train.py` would do in an empty directory, in this process.

    Every message is held to the rule: one screen, no traceback.
    """
    from recipes.cli.train import train as task

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    monkeypatch.setattr(entry, "_claimed", {})

    def call(*overrides: str) -> Outcome:
        GlobalHydra.instance().clear()

        @hydra.main(version_base="1.3", config_path=str(ROOT / "configs"), config_name="train")
        def main(config: DictConfig) -> float:
            return task(config)

        code = 0
        try:
            entry.run(main, [*overrides])
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err
        assert len(captured.err.splitlines()) <= 24
        return Outcome(code, captured.out, re.sub(r"\x1b\[[0-9;]*m", "", captured.err))

    return call


@pytest.fixture(scope="session")
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """`python("train.py", ..., cwd=...)`: a process of its own; its output is captured."""

    def call(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        arguments = tuple(str(ROOT / a) if a in ("train.py", "scripts/predict.py") else a for a in arguments)
        return subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=120, check=False)

    return call
