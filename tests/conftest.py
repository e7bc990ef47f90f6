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
    from recipes.cli.compose import composed

    return composed


SMALL_TEXT = ["model=textcnn", "model.dim=8", "model.maps=4", "trainer.max_epochs=2", "trainer.progress=off", "trainer.device=cpu"]
SMALL_TABLE = ["model=mlp", "model.widths=[8]", "trainer.max_epochs=2", "trainer.progress=off", "trainer.device=cpu"]


@pytest.fixture(scope="session")
def table_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 rows of two numbers, one with gaps, and a word; a quarter of them is positive."""
    import random

    rng = random.Random(0)
    lines = ["x,y,job,label"]
    for i in range(120):
        rare = i % 4 == 0
        x, y = (rng.gauss(1.5 if rare else 0, 1) for _ in range(2))
        lines.append(f"{x:.4f},{'' if i % 9 == 0 else f'{y:.4f}'},{['cook', 'clerk', 'smith'][i % 3]},{'rare' if rare else 'usual'}")
    path = tmp_path_factory.mktemp("table") / "table.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tags_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 texts with none to three of three labels, which are words of the text."""
    import random

    rng = random.Random(0)
    lines = ["text,tags"]
    for i in range(120):
        tags = [name for name in ("red", "green", "blue") if rng.random() < 0.4]
        lines.append(f"thing {i} {' '.join(tags)} seen,{';'.join(tags)}")
    path = tmp_path_factory.mktemp("tags") / "tags.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def train_here(compose: Callable[..., dict[str, Any]]) -> Callable[..., float]:
    """`train_here(run_dir, "model=mlp", ...)`: a whole run in this process; returns the monitored value."""
    from recipes.cli.train import run
    from recipes.reporting import Console

    def trained(run_dir: Path, *overrides: str) -> float:
        run_dir.mkdir(parents=True, exist_ok=True)
        with Console(run_dir / "train.log") as console:
            return run(compose(*overrides), run_dir, list(overrides), console)

    return trained


@pytest.fixture(scope="session")
def text_run(train_here: Callable[..., float], text_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on the small texts."""
    run_dir = tmp_path_factory.mktemp("runs") / "text"
    train_here(run_dir, "data=file", f"data.path={text_csv}", *SMALL_TEXT)
    return run_dir


@pytest.fixture(scope="session")
def table_run(train_here: Callable[..., float], table_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on the small table."""
    run_dir = tmp_path_factory.mktemp("runs") / "table"
    train_here(run_dir, "data=file", f"data.path={table_csv}", *SMALL_TABLE)
    return run_dir


@pytest.fixture(scope="session")
def tags_run(train_here: Callable[..., float], tags_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished multi-label run."""
    run_dir = tmp_path_factory.mktemp("runs") / "tags"
    train_here(run_dir, "data=file", f"data.path={tags_csv}", "data.label=tags", "data.label_separator=';'", "loss=bce", *SMALL_TEXT)
    return run_dir
