"""`predict`: an unlabelled file in, the same rows with class and probabilities out."""

from __future__ import annotations

import io
import time
from contextlib import suppress
from pathlib import Path

import polars as pl

from recipes.data.readers import read_file
from recipes.errors import DataError, did_you_mean
from recipes.inference import Predictor

_WRITERS = {".csv": "CSV", ".tsv": "TSV", ".jsonl": "JSON lines", ".ndjson": "JSON lines", ".parquet": "Parquet"}


def predict(run: str, input: str, output: str, device: str = "auto", batch_size: int = 1024, trust: str = "") -> None:
    """Read `input`, score every row, and write it with `prediction` and one `p_<class>` column a class to `output`.

    `trust` are further packages that the model's class may come from, as they are typed in training: `[mypkg]`, `a,b`.

    Raises DataError for input that the model cannot read or output that cannot be written; an existing output is replaced only when all
    rows are scored.
    """
    path = Path(output).expanduser()
    if path.suffix not in _WRITERS:
        raise DataError(f"output: '{path.name}' has no known suffix; {did_you_mean(path.suffix, _WRITERS)}")
    if path.exists() and Path(input).expanduser().exists() and path.samefile(Path(input).expanduser()):
        raise DataError(f"output: {path} is the input itself; give another file, so that the rows are not lost to a mistake")
    if not path.parent.is_dir():
        raise DataError(f"output: there is no directory {path.parent}")
    predictor = Predictor.load(run, device=device, trust=[name.strip() for name in trust.strip("[]").split(",") if name.strip()])
    predictor.batch_size = batch_size
    started = time.perf_counter()
    frame = read_file(input, key="input")
    probabilities = predictor.predict_proba(frame)
    decisions = predictor.decide(probabilities)
    added = [pl.Series("prediction", decisions, dtype=pl.List(pl.String) if predictor.facts.task == "multilabel" else pl.String)]
    added += [pl.Series(f"p_{name}", probabilities[:, c]) for c, name in enumerate(predictor.classes)]
    write(frame.with_columns(added), path)
    if replaced := [column.name for column in added if column.name in frame.columns]:
        print(f"note: columns of the input are replaced: {', '.join(replaced)}")  # noqa: T201
    seconds = time.perf_counter() - started
    print(f"{len(frame):,} rows scored in {seconds:.1f} s: {path}")  # noqa: T201


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
