"""metrics.jsonl, metrics.json and predictions/: round trips, resuming, and what NaN becomes."""

from __future__ import annotations

import json
import math

import numpy as np
import polars as pl
import pytest

from recipes.errors import CheckpointError
from recipes.evaluation import evaluate
from recipes.reporting import Files
from recipes.reporting.documents import dumps, write_json, write_text

from .conftest import NAMES, Played


def lines(tmp_path):
    return [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]


def test_one_line_an_evaluation_and_an_epoch(played, rows, tmp_path):
    played.tell(Files(rows))
    found = lines(tmp_path)
    assert [(line["split"], line["step"]) for line in found] == [(s, step) for step in (10, 20, 30, 40, 50) for s in ("train", "val")]
    train, val = found[:2]
    assert train == {"step": 10, "epoch": 1.0, "split": "train", "loss": 0.1, "lr": 1e-3, "grad_norm": 2.5, "rows_per_second": 1234.0}
    assert val["improved"] is True
    metrics = played.evaluations["val"].metrics
    assert {name: val[name] for name in metrics} == {name: None if math.isnan(value) else value for name, value in metrics.items()}


def test_resuming_drops_what_came_after_the_checkpoint(played, rows, tmp_path):
    whole = Played(tmp_path / "whole")
    whole.tell(Files(rows))
    played.tell(Files(rows), until=35, end=False)
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 40, "epo')  # cut short by a kill
    played.tell(Files(rows), resumed=20)
    assert lines(tmp_path) == lines(tmp_path / "whole")


def test_a_run_from_the_start_leaves_nothing_of_an_older_one(played, rows, tmp_path):
    for _ in range(2):
        played.tell(Files(rows))
    assert len(lines(tmp_path)) == 10


def test_the_final_document(played, rows, tmp_path):
    played.tell(Files(rows))
    document = json.loads((tmp_path / "metrics.json").read_text())
    assert document["best"]["val/f1_macro"] == played.result.monitored == document["monitored"]
    assert (document["monitor"], document["best_step"], document["steps"], document["seconds"]) == ("val/f1_macro", 40, 50, 83.0)
    assert document["reason"].startswith("no improvement")
    for split in ("val", "test"):
        assert document[split]["f1_macro"] == played.evaluations[split].metrics["f1_macro"]
    assert document["per_class"]["val"][NAMES["multiclass"][2]]["recall"] is None  # absent from val: NaN
    assert document["per_class"]["val"][NAMES["multiclass"][2]]["support"] == 0


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("weighted", [False, True])
def test_metrics_can_be_computed_again_from_the_predictions(tmp_path, rows, task, weighted):
    played = Played(tmp_path, task, weighted)
    played.tell(Files(rows))
    for split, evaluation in played.evaluations.items():
        frame = pl.read_parquet(tmp_path / "predictions" / f"{split}.parquet")
        names = NAMES[task]
        assert frame.columns == ["row", "label", "prediction", *(["weight"] if weighted else []), *(f"p_{name}" for name in names)]
        assert frame["row"].to_list() == rows[split].tolist()
        scores = frame.select(f"p_{name}" for name in names).to_numpy()
        if task == "multilabel":
            targets = np.array([[name in labels for name in names] for labels in frame["label"].to_list()], dtype=float)
            logits = np.log(scores) - np.log1p(-scores)
        else:
            targets = np.array([names.index(label) for label in frame["label"]])
            logits = np.log(scores)
            assert frame["prediction"].to_list() == [names[index] for index in scores.argmax(axis=1)]
        again, _ = evaluate(logits, targets, task, names, frame["weight"].to_numpy() if weighted else None)
        for name, value in again.items():
            assert value == pytest.approx(evaluation.metrics[name], rel=1e-9, nan_ok=True), name


def test_json_has_no_nan():
    value = {"a": math.nan, "b": [1.5, -math.inf, {"c": (math.nan, "x")}], 3: True}
    assert json.loads(dumps(value)) == {"a": None, "b": [1.5, None, {"c": [None, "x"]}], "3": True}


def test_a_full_disk_is_an_error_that_names_the_file_and_keeps_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "metrics.json"
    write_json(path, {"old": 1})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(CheckpointError, match=r"metrics\.json: No space left on device"):
        write_text(path, "new")
    assert json.loads(path.read_text()) == {"old": 1}
    assert list(tmp_path.iterdir()) == [path]
