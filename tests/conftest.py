"""Shared by all tests: one thread, a cache of their own, small data, and configs composed without the command line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests are small: threads that wait for a busy core cost more than they bring
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or fills the user's cache; subprocesses inherit it."""
    old = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if old is None:
        del os.environ["XDG_CACHE_HOME"]
    else:
        os.environ["XDG_CACHE_HOME"] = old


@pytest.fixture(scope="session")
def text_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 short texts in three classes (60 %, 30 %, 10 %), each class with words of its own."""
    import random

    rng = random.Random(0)
    words = {"common": "alpha beta gamma delta", "middle": "epsilon zeta eta theta", "rare": "iota kappa lambda mu"}
    shared = ["the", "a", "of", "in", "on", "with", "and", "or"]
    lines = ["text,label"]
    for i in range(300):
        name = "rare" if i % 10 == 0 else "middle" if i % 10 < 4 else "common"
        own = words[name].split()
        text = " ".join(rng.choice(own if rng.random() < 0.5 else shared) for _ in range(rng.randint(1, 12)))
        lines.append(f"{text} {i},{name}")
    path = tmp_path_factory.mktemp("data") / "texts.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def compose() -> Callable[..., dict[str, Any]]:
    """The config that overrides compose, as plain values: `compose("model=mlp", "data=breast_cancer")`."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf

    def composed(*overrides: str) -> dict[str, Any]:
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
            config = hydra_compose("train", overrides=list(overrides))
        plain = OmegaConf.to_container(config, resolve=True)
        assert isinstance(plain, dict)
        return {str(k): v for k, v in plain.items()}

    return composed
