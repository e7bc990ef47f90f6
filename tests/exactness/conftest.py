"""Jobs put together in process, from the same configs as the command line, and small data of every form that they may meet."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recipes.cli.assemble import assemble, read_data
from recipes.cli.compose import composed
from recipes.cli.settings import read_settings
from recipes.training.events import Listener
from recipes.training.job import Job

MakeJob = Callable[..., Job]
SIZES = {
    "textcnn": ["model.dim=8", "model.maps=6"],
    "fasttext": ["model.dim=8", "model.buckets=100"],
    "mlp": ["model.widths=[8]"],
}


@functools.lru_cache(maxsize=4)
def _composed(overrides: tuple[str, ...]) -> dict[str, Any]:
    """A test makes several jobs of one config, and composing takes longer than an epoch of these."""
    return composed(*overrides)


@pytest.fixture
def make_job(text_csv: Path) -> MakeJob:
    """`make_job(run_dir, "loss=focal", ...)`: a job on the small texts, ready for `fit`; `data=...` overrides the data.

    batch: (trainer.batch_size, trainer.accumulate).
    """

    def make(run_dir: Path, *overrides: str, listener: Listener | None = None, batch: tuple[int, int] | None = None) -> Job:
        base = [] if any(o.startswith("data=") for o in overrides) else ["data=file", f"data.path={text_csv}", "data.text=text"]
        chosen = next((o.partition("=")[2] for o in overrides if o.startswith("model=")), "textcnn")
        given = {o.partition("=")[0] for o in overrides}
        sizes = [o for o in SIZES[chosen] if o.partition("=")[0] not in given]
        config = copy.deepcopy(_composed((*base, *sizes, "trainer.device=cpu", *overrides)))
        if batch is not None:
            config["trainer"] |= {"batch_size": batch[0], "accumulate": batch[1]}
        settings = read_settings(config)
        data, _ = read_data(settings)
        return assemble(settings, data, run_dir, listener or Listener())

    return make


def _table(path: Path, numbers: int, words: int, weight: bool = False) -> str:
    """300 rows of three classes (60 %, 30 %, 10 %) that overlap, so that all samplers find neighbours of other classes."""
    rng = np.random.default_rng(0)
    names = [*(f"x{i}" for i in range(numbers)), *(f"c{i}" for i in range(words)), *(["w"] if weight else []), "label"]
    lines = [",".join(names)]
    for i in range(300):
        c = 2 if i % 10 == 0 else 1 if i % 10 < 4 else 0
        cells = [f"{x:.4f}" for x in rng.normal(1.2 * c, 1, numbers)]
        cells += rng.choice(["a", "b", "c"], size=words, p=[[0.7, 0.2, 0.1], [0.2, 0.6, 0.2], [0.1, 0.2, 0.7]][c]).tolist()
        cells += [f"{10.0 ** rng.integers(-2, 2)}"] if weight else []
        lines.append(",".join([*cells, ("common", "middle", "rare")[c]]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return f"data.path={path}"


def _tags(path: Path) -> str:
    """120 texts with one or more of three labels."""
    rng = np.random.default_rng(0)
    lines = ["text,tags"]
    for i in range(120):
        tags = [name for name, share in (("red", 0.5), ("green", 0.3), ("blue", 0.2)) if rng.random() < share] or ["red"]
        lines.append(f"thing {i} {' '.join(tags)} seen,{';'.join(tags)}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return f"data.path={path}"


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory, text_csv: Path) -> dict[str, list[str]]:
    """Overrides that choose data, and the small model that reads it."""
    folder = tmp_path_factory.mktemp("tables")
    table = ["data=file", "data.label=label", "model=mlp"]
    return {
        "text": ["data=file", f"data.path={text_csv}", "data.text=text"],
        "tfidf": ["data=file", f"data.path={text_csv}", "data.text=text", "model=mlp"],
        "tags": ["data=file", _tags(folder / "tags.csv"), "data.text=text", "data.label=tags", "data.label_separator=';'"],
        "numbers": [*table, _table(folder / "numbers.csv", 4, 0)],
        "mixed": [*table, _table(folder / "mixed.csv", 3, 2)],
        "embedded": [*table, _table(folder / "embedded.csv", 3, 2), "features.categorical=embed"],
        "words": [*table, _table(folder / "words.csv", 0, 4)],
        "weighted": [*table, _table(folder / "weighted.csv", 3, 2, weight=True), "data.weight=w"],
    }


@pytest.fixture(scope="session")
def lexicon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synonyms of the words of the small texts."""
    path = tmp_path_factory.mktemp("lexicon") / "lexicon.tsv"
    path.write_text("alpha\tbeta, gamma\nbeta\tdelta\nepsilon\tzeta, eta\niota\tkappa, mu\nkappa\tlambda\n", encoding="utf-8")
    return path
