"""Every option of every group: it composes, its keys are those of the class, its values are the class's defaults."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recipes.cli.settings import GROUPS, read_settings
from recipes.config import resolve, settings_of
from recipes.optim import OWN_SETTINGS
from recipes.training.settings import Trainer

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
OPTIONS = sorted((group, p.stem) for group in GROUPS for p in (CONFIGS / group).glob("*.yaml"))
# Options that are the same class under another default: which keys are meant to differ.
VARIANTS: dict[tuple[str, str], set[str]] = {
    ("data", "icd10"): {"text", "label", "group", "min_class_rows"},
    ("sampler", "sqrt"): {"power"},
    ("loss", "cb_ce"): {"weights", "beta"},
    ("loss", "cb_focal"): {"alpha", "beta"},
    ("loss", "ova"): set(),  # another name of bce
}

# What an option cannot do without.
NEEDED = {("data", "file"): ["data.path=x.csv"], ("loss", "hierarchical_softmax"): ["model=fasttext"]}


def same(a: Any, b: Any) -> bool:
    return list(a) == list(b) if isinstance(a, list | tuple) and isinstance(b, list | tuple) else a == b


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=lambda x: x)
def test_an_option_is_its_class_spelled_out(group: str, option: str, compose: Callable[..., dict[str, Any]]) -> None:
    values = dict(compose(f"{group}={option}")[group])
    cls = resolve(GROUPS[group], values, group)
    signature = settings_of(cls)
    del values["_target_"]
    assert set(values) == set(signature), f"configs/{group}/{option}.yaml and {cls.__name__} name different settings"
    allowed = VARIANTS.get((group, option), set())
    differing = {k for k, (_, default) in signature.items() if not same(values[k], default)}
    assert differing <= allowed, f"configs/{group}/{option}.yaml differs from {cls.__name__} in {differing - allowed}"


def test_the_trainer_yaml_is_its_class(compose: Callable[..., dict[str, Any]]) -> None:
    from dataclasses import asdict

    assert compose()["trainer"] == asdict(Trainer())


@pytest.mark.parametrize("option", sorted(p.stem for p in (CONFIGS / "optimizer").glob("*.yaml")))
def test_optimizers_have_our_keys_too(option: str, compose: Callable[..., dict[str, Any]]) -> None:
    assert set(OWN_SETTINGS) <= set(compose(f"optimizer={option}")["optimizer"])


@pytest.mark.parametrize("group", [*GROUPS, "optimizer", "experiment", "debug"])
def test_every_option_passes_the_check_of_a_whole_config(group: str, compose: Callable[..., dict[str, Any]]) -> None:
    for path in sorted((CONFIGS / group).glob("*.yaml")):
        read_settings(compose(f"{group}={path.stem}", *NEEDED.get((group, path.stem), [])))
