"""Hold plain settings against the signature of the class that they are for, and report every problem at once.

A setting is a parameter that the caller does not supply itself: for our own components those after `*`, for foreign classes (torch's
optimizers) all but the given ones. Unknown key, wrong type, out of range and missing value each become one line.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import types
import typing
from collections.abc import Collection, Mapping
from typing import Any, Literal, Union

from recipes.config.duration import Duration
from recipes.config.types import Length, Range
from recipes.errors import ConfigError, did_you_mean, nearest

TARGET = "_target_"
LIBRARIES = ("torch", "sklearn", "imblearn", "xgboost")
_NAMES = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    type(None): "null",
    list: "a list",
    dict: "a mapping",
}


def settings_of(cls: type, given: Collection[str] = ()) -> dict[str, tuple[Any, Any]]:
    """Every setting of a class: name -> (annotation, default), `inspect.Parameter.empty` where there is none."""
    parameters = list(inspect.signature(cls).parameters.values())
    hints = _hints(cls)
    # The rule "facts before *, settings after" is ours and our users'; a library's class, or a dataclass of settings, knows no facts.
    ours = cls.__module__.partition(".")[0] not in LIBRARIES and not dataclasses.is_dataclass(cls)
    found = {}
    for p in parameters:
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) or p.name in given:
            continue
        if ours and p.kind is not p.KEYWORD_ONLY:
            continue
        found[p.name] = (hints.get(p.name, Any), p.default)
    return found


def check_settings(cls: type, values: Any, where: str, given: Collection[str] = (), extra: Mapping[str, Any] | None = None) -> list[str]:
    """All problems of `values` as settings of `cls`; empty when they fit. `extra` adds keys (name -> annotation) that the caller reads."""
    if not isinstance(values, Mapping):
        names = ", ".join(settings_of(cls, given))
        return [f"{where}: it is a group of settings ({names}), got {_show(values)}; set one of them: {where}.<name>=<value>"]
    known = settings_of(cls, given)
    annotations = {name: annotation for name, (annotation, _) in known.items()} | dict(extra or {})
    problems = []
    for key, value in values.items():
        if key == TARGET:
            continue
        if key not in annotations:
            problems.append(f"{where}.{key}: unknown setting of {cls.__name__}; {did_you_mean(str(key), annotations)}")
        else:
            problems += check_value(value, annotations[key], f"{where}.{key}")
    problems += [
        f"{where}.{name}: a value is needed ({describe(annotation)})"
        for name, (annotation, default) in known.items()
        if default is inspect.Parameter.empty and name not in values
    ]
    return problems


def check_value(value: Any, annotation: Any, where: str) -> list[str]:
    """Problems of one value as an instance of `annotation` (int, float, Literal, list[...], `X | None`, Annotated ranges, dataclasses)."""
    if dataclasses.is_dataclass(annotation) and isinstance(annotation, type) and annotation is not Duration:
        return check_settings(annotation, value, where)
    if isinstance(value, list | tuple) and (item := _item_type(annotation)) is not None:
        inner = [p for i, v in enumerate(value) for p in check_value(v, item, f"{where}[{i}]")]
        if inner:
            return inner
    reason = _misfit(value, annotation)
    return [f"{where}: {reason}"] if reason else []


def fail(problems: list[str]) -> None:
    """Raise one ConfigError that lists all problems; do nothing when there are none."""
    if problems:
        head = "The configuration has a problem:" if len(problems) == 1 else f"The configuration has {len(problems)} problems:"
        raise ConfigError("\n".join([head, *(f"  {p}" for p in problems)]))


def describe(annotation: Any) -> str:
    """What an annotation admits, in words."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        bounds = [str(m) for m in args[1:] if isinstance(m, Range)]
        return " ".join([describe(args[0]), *bounds])
    if origin is Literal:
        return "one of " + ", ".join(_show(a) for a in args)
    if origin in (Union, types.UnionType):
        # What YAML cannot hold, such as a tensor, is of no use to the reader.
        plain = [a for a in args if not isinstance(a, type) or a in _NAMES or a is Duration or dataclasses.is_dataclass(a)]
        return " or ".join(dict.fromkeys(describe(a) for a in plain or args))
    if origin in (list, tuple):
        items = [a for a in args if a is not Ellipsis]
        return f"a list of {describe(items[0])}" if items else "a list"
    if annotation is Duration:
        return "a duration such as '10 epochs', '500 steps' or '5%'"
    return _NAMES.get(origin or annotation, getattr(annotation, "__name__", str(annotation)))


def _misfit(value: Any, annotation: Any) -> str | None:
    """Why a value does not fit, or None."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Any or annotation is inspect.Parameter.empty:
        return None
    if origin is typing.Annotated:
        kind = _misfit(value, args[0])
        return f"expected {describe(annotation)}, got {_show(value)}" if kind else _outside(value, args[1:])
    if origin in (Union, types.UnionType):
        reasons = [_misfit(value, a) for a in args]
        if None in reasons:
            return None
        # A literal's own message names the nearest option, which "expected A or B" would not.
        kept = [r for r, a in zip(reasons, args, strict=True) if a is not type(None)]
        return kept[0] if len(kept) == 1 and kept[0] else f"expected {describe(annotation)}, got {_show(value)}{_hint(value, args)}"
    if origin is Literal:
        if any(value == a and type(value) is type(a) for a in args):
            return None
        return f"{_show(value)} is not allowed; {did_you_mean(str(value), [str(a) for a in args])}"
    if annotation is Duration:
        return _not_a_duration(value)
    return None if _is_instance(value, origin or annotation, args) else f"expected {describe(annotation)}, got {_show(value)}"


def _is_instance(value: Any, plain: Any, args: tuple[Any, ...]) -> bool:
    if plain is bool:
        return isinstance(value, bool)
    if plain is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if plain is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if plain is list:
        return isinstance(value, list | tuple) and all(_misfit(v, args[0]) is None for v in value if args)
    if plain is tuple:
        if not isinstance(value, list | tuple):
            return False
        kinds = [args[0]] * len(value) if len(args) == 2 and args[1] is Ellipsis else list(args)
        return len(kinds) == len(value) and all(_misfit(v, k) is None for v, k in zip(value, kinds, strict=True))
    if plain is dict:
        return isinstance(value, Mapping) and all(_misfit(v, args[1]) is None for v in value.values() if args)
    # Types that YAML cannot hold (a tensor, a callable) are the constructor's own business.
    return isinstance(value, plain) if isinstance(plain, type) else True


def _outside(value: Any, bounds: tuple[Any, ...]) -> str | None:
    for bound in bounds:
        if isinstance(bound, Range) and not bound.admits(value):
            return f"{_show(value)} is out of range; it must be {bound}"
        if isinstance(bound, Length) and len(value) < bound.least:
            return f"{_show(value)} is too short; at least {bound.least} item{'s' * (bound.least > 1)}"
    return None


def _not_a_duration(value: Any) -> str | None:
    if not isinstance(value, str):
        return f"expected {describe(Duration)}, got {_show(value)}"
    try:
        Duration.parse(value)
    except ConfigError as error:
        return str(error)
    return None


def _item_type(annotation: Any) -> Any | None:
    """T of list[T], also behind Annotated and `| None`; None where there is no single one."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _item_type(args[0])
    if origin in (Union, types.UnionType):
        found = [item for a in args if (item := _item_type(a)) is not None]
        return found[0] if len(found) == 1 else None
    return args[0] if origin is list and args else None


def _hint(value: Any, args: tuple[Any, ...]) -> str:
    options = [str(o) for a in args if typing.get_origin(a) is Literal for o in typing.get_args(a)]
    close = nearest(str(value), options)
    return f"; did you mean '{close}'?" if close else ""


def _show(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _hints(cls: type) -> dict[str, Any]:
    """Annotations of the constructor. Dataclasses carry them on the class, others on `__init__`."""
    target = cls if dataclasses.is_dataclass(cls) else cls.__init__  # type: ignore[misc]
    try:
        return typing.get_type_hints(target, include_extras=True)
    except (NameError, TypeError):  # a foreign class may annotate with names that exist for type checkers only
        return {}
