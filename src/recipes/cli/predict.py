"""`predict`: an unlabelled file in, the same rows with class and probabilities out."""

from __future__ import annotations

import io
import json
import time
import typing
from contextlib import suppress
from pathlib import Path

import polars as pl

from recipes.data.readers import read_file
from recipes.errors import ConfigError, DataError, did_you_mean
from recipes.evaluation import ConformalKind
from recipes.inference import Predictor

_WRITERS = {".csv": "CSV", ".tsv": "TSV", ".jsonl": "JSON lines", ".ndjson": "JSON lines", ".parquet": "Parquet"}


def predict(
    run: str,
    input: str,
    output: str,
    device: str = "auto",
    batch_size: int = 1024,
    trust: str = "",
    prior: str = "",
    conformal: str = "",
    coverage: str = "",
    attention: str = "",
) -> None:
    """Read `input`, score every row, and write it with `prediction` and one `p_<class>` column a class to `output`.

    `trust` are further packages that the model's class may come from, as they are typed in training: `[mypkg]`, `a,b`. `prior` is the
    prevalence to serve, `0.02` or `spam:0.02,ham:0.98`; empty: that of the train rows. `conformal`, `class_conditional` or `marginal`, adds
    a column `set` of the classes that cannot be ruled out, which holds the true class in a share of `coverage` (0.9) of the rows.
    `attention`, `true`, adds a column of that name: JSON pairs of each token and its weight, for models that weigh words.

    Raises ConfigError for arguments that do not fit the run, and DataError for input that the model cannot read or output that cannot be
    written; an existing output is replaced only when all rows are scored.
    """
    path = _output(output, input)
    kind, alpha = _sets(conformal, coverage)
    explained = _truth("attention", attention)
    predictor = Predictor.load(
        run, device=device, prior=read_prior(prior), trust=[name.strip() for name in trust.strip("[]").split(",") if name.strip()]
    )
    predictor.batch_size = batch_size
    if kind is not None:
        predictor.check_sets(kind)
    if explained:
        predictor.check_attention()
    started = time.perf_counter()
    frame = read_file(input, key="input")
    added = _columns(predictor, frame, kind, alpha)
    if explained:
        pairs = [json.dumps([[token, round(weight, 6)] for token, weight in row], ensure_ascii=False) for row in predictor.explain(frame)]
        added.append(pl.Series("attention", pairs, dtype=pl.String))
    write(frame.with_columns(added), path)
    if replaced := [column.name for column in added if column.name in frame.columns]:
        print(f"note: columns of the input are replaced: {', '.join(replaced)}")  # noqa: T201
    if kind == "class_conditional" and (wide := predictor.always_in_sets(alpha)):
        print(f"note: {wide}")  # noqa: T201
    seconds = time.perf_counter() - started
    print(f"{len(frame):,} rows scored in {seconds:.1f} s: {path}")  # noqa: T201


def _columns(predictor: Predictor, frame: pl.DataFrame, kind: ConformalKind | None, alpha: float) -> list[pl.Series]:
    """Decision, set and probabilities of each row."""
    raw = predictor.score(frame)
    several = pl.List(pl.String)
    columns = [pl.Series("prediction", predictor.decide(raw), dtype=several if predictor.facts.task == "multilabel" else pl.String)]
    if kind is not None:
        columns.append(pl.Series("set", predictor.predict_sets(raw, alpha, kind), dtype=several))
    probabilities = predictor.proba(raw)
    return columns + [pl.Series(f"p_{name}", probabilities[:, c]) for c, name in enumerate(predictor.classes)]


def _output(output: str, input: str) -> Path:
    """Where to write. Raises DataError for a place or format that cannot be written, and for the input itself."""
    path = Path(output).expanduser()
    if path.suffix not in _WRITERS:
        raise DataError(f"output: '{path.name}' has no known suffix; {did_you_mean(path.suffix, _WRITERS)}")
    if path.exists() and Path(input).expanduser().exists() and path.samefile(Path(input).expanduser()):
        raise DataError(f"output: {path} is the input itself; give another file, so that the rows are not lost to a mistake")
    if not path.parent.is_dir():
        raise DataError(f"output: there is no directory {path.parent}")
    return path


def _sets(conformal: str, coverage: str) -> tuple[ConformalKind | None, float]:
    """The kind of prediction sets, None for none, and alpha. Raises ConfigError for other words or numbers."""
    kinds = typing.get_args(ConformalKind)
    if conformal and conformal not in kinds:
        raise ConfigError(f"conformal: '{conformal}' is not known; {did_you_mean(conformal, kinds)}")
    if coverage and not conformal:
        raise ConfigError("coverage: it is that of prediction sets, and none are asked for; add conformal=class_conditional")
    kind = next((kind for kind in kinds if kind == conformal), None)
    return kind, 1 - _share("coverage", coverage or "0.9")


def _truth(key: str, text: str) -> bool:
    """`true` or `false`; empty is false. Raises ConfigError for anything else."""
    if text.lower() not in ("", "true", "false"):
        raise ConfigError(f"{key}: expected true or false, got '{text}'")
    return text.lower() == "true"


def read_prior(text: str) -> float | dict[str, float] | None:
    """`0.02` or `name:share,name:share`. Raises ConfigError for anything else."""
    if not text:
        return None
    if ":" not in text:
        return _share("prior", text)
    shares: dict[str, float] = {}
    for part in text.strip("{}").split(","):
        name, _, share = part.rpartition(":")
        if name.strip() in shares:
            raise ConfigError(f"prior: '{name.strip()}' is given twice; give each class once, as in prior=spam:0.02,ham:0.98")
        shares[name.strip()] = _share(f"prior of '{name.strip()}'", share)
    return shares


def _share(what: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise ConfigError(f"{what}: expected a number between 0 and 1, both excluded, got '{text}'")
    return value


def write(frame: pl.DataFrame, path: Path) -> None:
    """Write a frame in the format of the suffix, whole or not at all. Lists become `;`-separated text where the format has none."""
    partial = path.with_name(f".{path.name}.partial")
    flat = frame.with_columns(pl.col(pl.List(pl.String)).list.join(";")) if path.suffix in (".csv", ".tsv") else frame
    content = io.BytesIO()  # polars has errors of its own for a full disk; Python's say which file
    try:
        if path.suffix == ".parquet":
            flat.write_parquet(content)
        elif path.suffix in (".jsonl", ".ndjson"):
            flat.write_ndjson(content)
        else:
            flat.write_csv(content, separator="\t" if path.suffix == ".tsv" else ",")
    except pl.exceptions.PolarsError as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"output: {path.suffix} cannot hold a column of the input ({reason}); use .parquet or .jsonl") from error
    try:
        partial.write_bytes(content.getbuffer())
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise DataError(f"output: {path} could not be written: {error.strerror or error}") from error
