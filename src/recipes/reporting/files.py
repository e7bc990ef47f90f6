"""The numbers of a run as files: metrics.jsonl while it runs, metrics.json and predictions/*.parquet at its end.

N rows of a split, C classes or labels.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recipes.data.facts import Facts
from recipes.evaluation import probabilities
from recipes.reporting.documents import dumps, write_bytes, write_json, write_text, writing
from recipes.training.events import Evaluation, Listener, Result, RunInfo, StepLog

if TYPE_CHECKING:
    import polars as pl


class Files(Listener):
    """Writes the machine-readable record of a run.

    `rows` gives, for each split that is scored at the end, the row number of each of its rows in its source file, (N,) int64.
    """

    def __init__(self, rows: Mapping[str, np.ndarray]) -> None:
        self._rows = rows

    def start(self, run: RunInfo) -> None:
        self._run = run
        self._lines = run.run_dir / "metrics.jsonl"
        kept = lines_until(self._lines, run.resumed_from_step) if run.resumed_from_step else []
        write_text(self._lines, "".join(kept))

    def log(self, log: StepLog) -> None:
        """One line at the end of each epoch; the points in between are TensorBoard's."""
        if log.step % self._run.steps_per_epoch == 0 or log.step == log.total_steps:
            numbers = {"loss": log.loss, "lr": log.lr, "grad_norm": log.grad_norm, "rows_per_second": log.rows_per_second}
            self._append({"step": log.step, "epoch": log.epoch, "split": "train", **numbers})

    def evaluated(self, evaluation: Evaluation) -> None:
        place = {"step": evaluation.step, "epoch": evaluation.epoch, "split": evaluation.split}
        self._append({**place, "improved": evaluation.improved, "seconds": evaluation.seconds, **evaluation.metrics})

    def end(self, result: Result) -> None:
        for split, evaluation in result.evaluations.items():
            frame = predictions(evaluation, self._run.facts, self._rows[split])
            # By way of memory: polars has an error type of its own for a full disk.
            frame.write_parquet(content := io.BytesIO())
            write_bytes(self._run.run_dir / "predictions" / f"{split}.parquet", content.getvalue())
        # Last, so that a run with metrics.json is a run whose files are all there.
        write_json(self._run.run_dir / "metrics.json", summary(result))

    def _append(self, line: dict[str, Any]) -> None:
        with writing(self._lines), open(self._lines, "a", encoding="utf-8") as file:
            file.write(dumps(line) + "\n")


def lines_until(path: Path, step: int) -> list[str]:
    """The lines of a metrics.jsonl up to a step, that step included; a last line that a kill cut short is left out."""
    if not path.is_file():
        return []
    whole = [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
    return [line for line in whole if json.loads(line)["step"] <= step]


def summary(result: Result) -> dict[str, Any]:
    """What metrics.json holds: the best evaluation while training (keys with `val/`), then the final scores of each split."""
    return {
        "monitor": result.monitor,
        "monitored": result.monitored,
        "best_step": result.best_step,
        "best": result.best_metrics,
        **{split: evaluation.metrics for split, evaluation in result.evaluations.items()},
        "decision": result.decision,
        "calibration": result.calibration,
        "per_class": {split: evaluation.per_class for split, evaluation in result.evaluations.items()},
        "reason": result.reason,
        "steps": result.steps,
        "epochs": result.epochs,
        "seconds": result.seconds,
    }


def predictions(evaluation: Evaluation, facts: Facts, rows_N: np.ndarray) -> pl.DataFrame:
    """One row a row of the split: `row`, `label`, `prediction` (lists of names when multi-label), `weight` where the data has weights, and
    `p_<class>` as float64: the metrics can be computed again from this file.
    """
    import polars as pl

    probabilities_NC = probabilities(evaluation.logits, facts.task)
    return pl.DataFrame(
        {
            "row": np.asarray(rows_N, dtype=np.int64),
            "label": _names(evaluation.targets, facts),
            "prediction": _names(evaluation.decided, facts),
            **({} if evaluation.weights is None else {"weight": evaluation.weights}),
            **{f"p_{name}": probabilities_NC[:, index] for index, name in enumerate(facts.class_names)},
        }
    )


def _names(targets: np.ndarray, facts: Facts) -> pl.Series:
    import polars as pl

    if targets.ndim == 1:
        return pl.Series(np.asarray(facts.class_names, dtype=object)[targets], dtype=pl.String)
    lists = [[facts.class_names[index] for index in np.flatnonzero(row)] for row in targets >= 0.5]
    return pl.Series(lists, dtype=pl.List(pl.String))
