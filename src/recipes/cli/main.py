"""`python -m recipes <command> ...` and the scripts: which command, with which `key=value` arguments."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

import hydra
from omegaconf import DictConfig

from recipes.cli import entry
from recipes.errors import RecipesError, did_you_mean


def main(argv: list[str]) -> None:
    """Run one command; a user's error ends with one screen of text and exit code 2."""
    commands: dict[str, Callable[[list[str]], None]] = {"train": _train, "predict": _predict}
    if not argv or argv[0] in ("-h", "--help"):
        print(_USAGE)  # noqa: T201
        return
    if argv[0] not in commands:
        entry.leave(f"'{argv[0]}' is not a command; {did_you_mean(argv[0], commands)}\n{_USAGE}")
    try:
        commands[argv[0]](argv[1:])
    except RecipesError as error:
        entry.leave(str(error))


_USAGE = """usage: python -m recipes <command> ...
  train    train a classifier; `train --help` lists the options
  predict  run=<run directory> input=<file> output=<file> [device=auto] [batch_size=1024] [trust=<packages>]"""


def parse_pairs(cls: type, argv: list[str], usage: str) -> Any:
    """`key=value` arguments as an instance of a dataclass of strings and ints. Raises RecipesError for what it does not know or lacks."""
    known = {f.name: f for f in fields(cls)}
    values: dict[str, Any] = {}
    for argument in argv:
        if argument in ("-h", "--help"):
            print(usage)  # noqa: T201
            raise SystemExit(0)
        key, separator, value = argument.partition("=")
        if not separator:
            raise RecipesError(f"'{argument}': arguments are key=value\n{usage}")
        if key not in known:
            raise RecipesError(f"'{key}' is not an argument; {did_you_mean(key, known)}\n{usage}")
        values[key] = _number(key, value) if known[key].type == "int" else value
    missing = [name for name, f in known.items() if f.default is MISSING and name not in values]
    if missing:
        raise RecipesError(f"missing: {', '.join(f'{m}=...' for m in missing)}\n{usage}")
    return cls(**values)


def _number(key: str, value: str) -> int:
    if not value.isdigit() or int(value) < 1:
        raise RecipesError(f"{key}: expected a whole number of at least 1, got '{value}'")
    return int(value)


@dataclass(frozen=True)
class PredictArguments:
    run: str
    input: str
    output: str
    device: str = "auto"
    batch_size: int = 1024
    trust: str = ""


def _predict(argv: list[str]) -> None:
    from recipes.cli.predict import predict

    usage = "usage: predict run=<run directory> input=<file> output=<file> [device=auto] [batch_size=1024] [trust=<packages>]"
    predict(**asdict(parse_pairs(PredictArguments, argv, usage)))


def _train(argv: list[str]) -> None:
    sys.argv = ["train.py", *argv]
    entry.run(_hydra_train)


@hydra.main(version_base="1.3", config_path=str(entry.config_dir()), config_name="train")
def _hydra_train(config: DictConfig) -> float:
    from recipes.cli.train import train

    return train(config)
