"""From settings with a `_target_` to an object: the one place where a name in a config becomes a class."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from recipes.config.check import LIBRARIES, TARGET, check_settings, fail, settings_of
from recipes.config.duration import Duration
from recipes.errors import ConfigError, did_you_mean

T = TypeVar("T")
TRUSTED = ("recipes", *LIBRARIES)


def resolve(kind: type[T], settings: Any, where: str, trust: Collection[str] = ()) -> type[T]:
    """The class that `settings["_target_"]` names; a ConfigError unless it is a `kind` from a trusted package.

    The package of the resolved object counts as well as the name that was typed: a trusted module may re-export anything.
    """
    if not isinstance(settings, Mapping) or not isinstance(settings.get(TARGET), str):
        raise ConfigError(f"{where}: no {TARGET}; choose an option of the group, as in `{where}=<option>`")
    path: str = settings[TARGET]
    allowed = (*TRUSTED, *trust)
    _require_trust(path, path, where, allowed)
    module_name, _, name = path.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(f"{where}.{TARGET}: cannot import '{module_name}' of '{path}' ({error})") from error
    found = getattr(module, name, None)
    if not (isinstance(found, type) and issubclass(found, kind)):
        offered = ((n, getattr(module, n, None)) for n in dict.fromkeys([*vars(module), *getattr(module, "__all__", ())]))
        options = [n for n, o in offered if isinstance(o, type) and issubclass(o, kind) and o is not kind]
        what = "does not exist" if found is None else f"is not a {kind.__module__}.{kind.__name__}"
        instead = did_you_mean(name, options) if options else f"'{module_name}' has none of this kind"
        raise ConfigError(f"{where}.{TARGET}: '{path}' {what}; {instead}")
    _require_trust(found.__module__, path, where, allowed)
    return found


def check(
    kind: type[T],
    settings: Any,
    where: str,
    given: Collection[str] = (),
    extra: Mapping[str, Any] | None = None,
    trust: Collection[str] = (),
) -> list[str]:
    """Problems of a component's settings, before any data is read: its class, and every key against the signature."""
    try:
        cls = resolve(kind, settings, where, trust)
    except ConfigError as error:
        return [str(error)]
    return check_settings(cls, settings, where, given, extra)


def build(kind: type[T], settings: Mapping[str, Any], where: str, facts: Mapping[str, Any] | None = None, trust: Collection[str] = ()) -> T:
    """The component that `settings` describe. It receives its settings, and those of `facts` that its signature names."""
    facts = facts or {}
    cls = resolve(kind, settings, where, trust)
    fail(check_settings(cls, settings, where, given=facts))
    named = {name: value for name, value in facts.items() if name in _parameters(cls)}
    chosen = {key: value for key, value in settings.items() if key != TARGET}
    return cls(**named, **_shaped(cls, chosen, facts))


def build_plain(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """A settings dataclass, nested ones included, from plain values."""
    fail(check_settings(cls, values, where))
    return cls(**_shaped(cls, dict(values), ()))


def _shaped(cls: type, values: dict[str, Any], given: Collection[str]) -> dict[str, Any]:
    """Values as the signature wants them: nested mappings become their dataclass, the rest stays plain."""
    for name, (annotation, _) in settings_of(cls, given).items():
        nested = dataclasses.is_dataclass(annotation) and isinstance(annotation, type) and annotation is not Duration
        if nested and isinstance(values.get(name), Mapping):
            values[name] = build_plain(annotation, values[name], name)
    return values


def _parameters(cls: type) -> Collection[str]:
    return inspect.signature(cls).parameters


def _require_trust(module: str, path: str, where: str, allowed: Collection[str]) -> None:
    package = module.partition(".")[0]
    if package not in allowed:
        raise ConfigError(
            f"{where}.{TARGET}: '{path}' belongs to the package '{package}', which is not among those that a config may run code of "
            f"({', '.join(allowed)}); if you trust it, add `trust=[{package}]`"
        )
