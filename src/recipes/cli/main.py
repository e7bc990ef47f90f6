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
    commands: dict[str, Callable[[list[str]], None]] = {
        "train": _train, "predict": _predict, "mine": _mine, "posthoc": _posthoc, "vectors": _vectors
    }  # fmt: skip
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
  mine     run=<run directory> [any setting of train]: fine-tune on the negatives that a finished run takes for positive
  posthoc  run=<run directory> method=logit_adjust|tau_norm|ncm|crt|lws [tau=auto] [output=<folder>]
  predict  run=<run directory> input=<file> output=<file> [prior=<share>] [conformal=class_conditional]
           [coverage=0.9] [attention=true] [device=auto] [batch_size=1024] [trust=<packages>]
  vectors  run=<run directory or fastText .bin> output=<file>.vec [trust=<packages>]: the word vectors of a model, as text"""


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
    prior: str = ""
    conformal: str = ""
    coverage: str = ""
    attention: str = ""


@dataclass(frozen=True)
class PosthocArguments:
    run: str
    method: str
    tau: str = ""
    output: str = ""
    objective: str = ""
    device: str = "auto"


@dataclass(frozen=True)
class VectorsArguments:
    run: str
    output: str
    trust: str = ""


def _predict(argv: list[str]) -> None:
    from recipes.cli.predict import predict

    usage = (
        "usage: predict run=<run directory> input=<file> output=<file> [prior=0.02 | prior=<class>:<share>,...]\n"
        "  [conformal=class_conditional|marginal] [coverage=0.9] [attention=true] [device=auto] [batch_size=1024]\n"
        "  [trust=<packages>]"
    )
    predict(**asdict(parse_pairs(PredictArguments, argv, usage)))


def _vectors(argv: list[str]) -> None:
    from recipes.cli.vectors import vectors

    usage = "usage: vectors run=<run directory or fastText .bin> output=<file>.vec [trust=<packages>]"
    vectors(**asdict(parse_pairs(VectorsArguments, argv, usage)))


def _mine(argv: list[str]) -> None:
    from recipes.cli.mine import mined

    usage = "usage: mine run=<run directory> [any setting of train, such as sampler.hard=3 or trainer.max_epochs=10]"
    values, typed = _split(argv, ("run",), usage)
    _train(mined(values["run"], typed))


def _posthoc(argv: list[str]) -> None:
    from recipes.cli.posthoc import TRAINED, posthoc, trained

    usage = (
        "usage: posthoc run=<run directory> method=logit_adjust|tau_norm [tau=auto] [objective=f1_macro|balanced_accuracy|pr_auc]\n"
        "       posthoc run=<run directory> method=ncm    all three with [output=<folder>] [device=auto]\n"
        "       posthoc run=<run directory> method=crt|lws [any setting of train]"
    )
    values, typed = _split(argv, ("run", "method"), usage)
    if values["method"] in TRAINED:
        _train(trained(values["run"], values["method"], typed))
    else:
        posthoc(**asdict(parse_pairs(PosthocArguments, argv, usage)))


def _split(argv: list[str], needed: tuple[str, ...], usage: str) -> tuple[dict[str, str], list[str]]:
    """The arguments that a command needs, and those that it hands on. Raises RecipesError for missing ones."""
    if "-h" in argv or "--help" in argv:
        print(usage)  # noqa: T201
        raise SystemExit(0)
    own = dict(a.split("=", 1) for a in argv if a.partition("=")[0] in needed and "=" in a)
    missing = [name for name in needed if not own.get(name)]
    if missing:
        raise RecipesError(f"missing: {', '.join(f'{m}=...' for m in missing)}\n{usage}")
    return own, [a for a in argv if a.partition("=")[0] not in needed]


def _train(argv: list[str]) -> None:
    sys.argv = ["train.py", *argv]
    entry.run(_hydra_train)


@hydra.main(version_base="1.3", config_path=str(entry.config_dir()), config_name="train")
def _hydra_train(config: DictConfig) -> float:
    from recipes.cli.train import train

    return train(config)
