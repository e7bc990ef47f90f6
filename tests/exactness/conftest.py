"""Jobs put together in process, from the same configs as the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recipes.cli.assemble import assemble, read_data
from recipes.cli.settings import read_settings
from recipes.training.events import Listener
from recipes.training.job import Job

MakeJob = Callable[..., Job]


@pytest.fixture
def make_job(compose: Callable[..., dict[str, Any]], text_csv: Path) -> MakeJob:
    """`make_job(run_dir, "loss=focal", ...)`: a job on the small texts, ready for `fit`; `data=...` overrides the data."""

    def make(run_dir: Path, *overrides: str, listener: Listener | None = None) -> Job:
        base = [] if any(o.startswith("data=") for o in overrides) else ["data=file", f"data.path={text_csv}", "data.text=text"]
        small = {
            "textcnn": ["model.dim=8", "model.maps=6"],
            "fasttext": ["model.dim=8", "model.buckets=100"],
            "mlp": ["model.widths=[8]"],
        }
        chosen = next((o.partition("=")[2] for o in overrides if o.startswith("model=")), "textcnn")
        given = {o.partition("=")[0] for o in overrides}
        sizes = [o for o in small[chosen] if o.partition("=")[0] not in given]
        settings = read_settings(compose(*base, *sizes, "trainer.device=cpu", *overrides))
        data, _ = read_data(settings)
        return assemble(settings, data, run_dir, listener or Listener())

    return make
