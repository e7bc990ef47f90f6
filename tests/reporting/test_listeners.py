"""All listeners together, as `train.py` puts them, and the logger options of the config."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import yaml

import recipes.reporting
from recipes.errors import ConfigError
from recipes.reporting import Console, make_listeners

CONFIGS = Path(__file__).parents[2] / "configs" / "logger"


@pytest.mark.parametrize("option", sorted(path.stem for path in CONFIGS.glob("*.yaml")))
def test_a_whole_run_with_each_logger(played, rows, tmp_path, option):
    settings = yaml.safe_load((CONFIGS / f"{option}.yaml").read_text())
    with Console(tmp_path / "train.log", stream=io.StringIO(), width=80) as console:
        played.tell(*make_listeners(settings, "auto", console, rows))
    names = {path.name for path in tmp_path.iterdir()}
    drawn = {"tensorboard", "figures"} if option == "tensorboard" else set()
    assert names == {"train.log", "metrics.json", "metrics.jsonl", "predictions"} | drawn


def test_pictures_reach_the_logger_that_hears_after_them(played, rows, tmp_path):
    console = Console(stream=io.StringIO(), width=80)
    played.tell(*make_listeners({"_target_": "recipes.reporting.TensorBoard"}, "off", console, rows))
    content = b"".join(path.read_bytes() for path in (tmp_path / "tensorboard").iterdir())
    assert (tmp_path / "figures" / "test_confusion.png").read_bytes() in content


def test_pictures_that_nobody_asks_for_are_not_drawn(played, rows, tmp_path):
    console = Console(stream=io.StringIO(), width=80)
    played.tell(*make_listeners({"_target_": "recipes.reporting.TensorBoard", "figures": False}, "off", console, rows))
    assert not (tmp_path / "figures").exists()


def test_an_unknown_setting_is_refused(rows):
    with pytest.raises(ConfigError, match="max_clases"):
        make_listeners({"_target_": "recipes.reporting.TensorBoard", "max_clases": 3}, "off", Console(), rows)


def test_the_room_exports_what_it_says():
    for name in recipes.reporting.__all__:
        assert getattr(recipes.reporting, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'Consol'"):
        recipes.reporting.Consol  # noqa: B018
