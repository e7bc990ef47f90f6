"""Settings against signatures: every mistake is found before anything is built, and all of them at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import pytest
import torch

from recipes.config import Duration, build, build_plain, check, check_settings, check_value, resolve, settings_of
from recipes.config.types import Length, NonNegativeInt, PositiveInt, Probability, Range
from recipes.errors import ConfigError


class Kind:
    pass


class Component(Kind):
    def __init__(
        self,
        num_classes: int,
        *,
        dropout: Probability = 0.5,
        widths: Annotated[list[PositiveInt], Length(1)] = [3, 4],  # noqa: B006
        mode: Literal["rand", "static"] = "rand",
        warmup: Duration | None = None,
        weights: Literal["none", "balanced"] | list[float] = "none",
        name: str | None = None,
        needed: int,
    ) -> None:
        self.values = (num_classes, dropout, widths, mode, warmup, weights, name, needed)


@dataclass(frozen=True)
class Inner:
    patience: PositiveInt | None = 3
    delta: Annotated[float, Range(ge=0)] = 0.0


@dataclass(frozen=True)
class Outer:
    epochs: PositiveInt = 1
    inner: Inner = field(default_factory=Inner)


HERE = f"{__name__}.Component"
TRUST = [__name__.partition(".")[0]]


def problems(**settings: object) -> list[str]:
    return check_settings(Component, {"needed": 1, **settings}, "model", given=["num_classes"])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"dropuot": 0.1}, "model.dropuot: unknown setting of Component; did you mean 'dropout'?"),
        ({"dropout": 1.5}, "model.dropout: 1.5 is out of range; it must be at least 0 and at most 1"),
        ({"dropout": "much"}, "model.dropout: expected a number at least 0 and at most 1, got 'much'"),
        ({"dropout": float("nan")}, "model.dropout: expected a number"),
        ({"dropout": True}, "model.dropout: expected a number"),
        ({"widths": []}, "model.widths: [] is too short; at least 1 item"),
        ({"widths": [3, 0]}, "model.widths[1]: 0 is out of range; it must be at least 1"),
        ({"widths": 3}, "model.widths: expected a list of a whole number at least 1, got 3"),
        ({"widths": [1.5]}, "model.widths[0]: expected a whole number"),
        ({"mode": "sttic"}, "model.mode: 'sttic' is not allowed; did you mean 'static'?"),
        ({"warmup": "5"}, "model.warmup: '5' is not a duration"),
        ({"warmup": 5}, "model.warmup: expected a duration such as"),
        ({"weights": "balancd"}, "did you mean 'balanced'?"),
        ({"num_classes": 3}, "model.num_classes: unknown setting"),
    ],
)
def test_each_mistake_is_named_with_its_place_and_a_way_out(settings: dict, expected: str) -> None:
    found = problems(**settings)
    assert len(found) == 1
    assert expected in found[0]


def test_all_mistakes_are_listed_at_once() -> None:
    found = check_settings(Component, {"dropout": 2, "mode": 1, "x": 0}, "model", given=["num_classes"])
    assert len(found) == 4  # three wrong values and the missing one
    assert any("model.needed: a value is needed (a whole number)" in p for p in found)


@pytest.mark.parametrize(
    "settings",
    [{"dropout": 0}, {"widths": [1]}, {"warmup": None}, {"warmup": "5%"}, {"weights": [1.0, 2]}, {"weights": "balanced"}, {"name": None}],
)
def test_what_fits_passes(settings: dict) -> None:
    assert problems(**settings) == []


def test_build_gives_settings_and_only_the_facts_that_the_signature_names() -> None:
    made = build(Kind, {"_target_": HERE, "needed": 7}, "model", facts={"num_classes": 3, "vocab_size": 10}, trust=TRUST)
    assert made.values == (3, 0.5, [3, 4], "rand", None, "none", None, 7)


def test_nested_dataclasses_are_checked_and_built() -> None:
    assert build_plain(Outer, {"epochs": 2, "inner": {"patience": None}}, "trainer") == Outer(2, Inner(None))
    with pytest.raises(ConfigError, match=r"trainer\.inner\.patiense: unknown setting of Inner; did you mean 'patience'"):
        build_plain(Outer, {"inner": {"patiense": 1}}, "trainer")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("os.system", "belongs to the package 'os'"),
        ("recipes.errors.os", "does not exist"),
        ("torch.optim.Adamm", "did you mean 'Adam'"),
        ("torch.nn.Linear", "is not a torch.optim"),
        ("torch.nosuch.Adam", "cannot import 'torch.nosuch'"),
        ("recipes.errors.difflib", "is not a"),
    ],
)
def test_a_target_is_a_class_of_its_kind_from_a_trusted_package(target: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        resolve(torch.optim.Optimizer, {"_target_": target}, "optimizer")


def test_a_class_that_a_trusted_module_merely_re_exports_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import recipes.errors

    monkeypatch.setattr(recipes.errors, "Component", Component, raising=False)
    with pytest.raises(ConfigError, match="add `trust="):
        resolve(Kind, {"_target_": "recipes.errors.Component"}, "model")


def test_foreign_classes_are_held_to_their_whole_signature() -> None:
    given = ["params"]
    assert check(torch.optim.Optimizer, {"_target_": "torch.optim.Adamax", "lr": 0.1, "betas": [0.9, 0.99]}, "optimizer", given=given) == []
    found = check(
        torch.optim.Optimizer, {"_target_": "torch.optim.Adamax", "momentm": 0.1, "l1": 0.0}, "optimizer", given, extra={"l1": float}
    )
    assert len(found) == 1
    assert "optimizer.momentm: unknown setting of Adamax" in found[0]


def test_settings_are_what_stands_after_the_star() -> None:
    assert "num_classes" not in settings_of(Component)
    assert settings_of(Component)["dropout"][1] == 0.5


def test_check_value_of_dict_and_bounds() -> None:
    assert check_value({"a": 1.0}, dict[str, float], "x") == []
    assert check_value({"a": "b"}, dict[str, float], "x")
    assert check_value(-1, NonNegativeInt, "x") == ["x: -1 is out of range; it must be at least 0"]
