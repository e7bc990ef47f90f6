"""Every mistake of the user ends with exit code 2 and one screen that names the place, what was given, what is allowed, the nearest fix.

The fixture `train` holds each message to one screen without a traceback.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

TABLE = ("data=breast_cancer", "model=mlp", "loss=focal", "trainer.max_epochs=1", "trainer.progress=off", "trainer.device=cpu")

SETTINGS = {
    "a key of a group": ("trainer.max_epoch=3", "trainer.max_epoch: there is no such setting; did you mean 'trainer.max_epochs'?"),
    "a key of a component": ("loss.gama=1", "loss.gama: there is no such setting; did you mean 'loss.gamma'?"),
    "a key appended": ("+loss.gama=1", "loss.gama: unknown setting of Focal; did you mean 'gamma'?"),
    "a nested key appended": ("+trainer.early_stopping.patiens=1", "unknown setting of EarlyStopping; did you mean 'patience'?"),
    "a forced key": ("++trainer.foo=1", "trainer.foo: unknown setting of Trainer; allowed: max_epochs,"),
    "a top key": ("foo=1", "foo: there is no such setting; settings: "),
    "a top key appended": ("+foo=1", "foo: unknown setting; allowed: data,"),
    "a key of another option": (
        "model.maps=3",
        "there is no such setting (it is one of model=dpcnn, model=textcnn); settings of 'model' here: ",
    ),
    "a group taken away": ("~loss", "loss: no _target_; choose an option of the group, as in `loss=<option>`"),
    "a group half taken away": ("~trainer", "trainer.max_epochs: `~` on this command line takes its group away"),
    "an option": (
        "model=textcn",
        "model=textcn: there is no such option; did you mean 'textcnn'? (dpcnn, fasttext, han, mlp, pretrained, textcnn, ",
    ),
    "an empty option": ("loss=", "loss=: there is no such option; allowed: asl, auc_margin,"),
    "an experiment": ("experiment=nope", "experiment=nope: there is no such option; "),
    "null for an option": (
        "model=null",
        "model=null: 'model' takes the name of an option; allowed: dpcnn, fasttext, han, mlp, pretrained, textcnn, ",
    ),
    "a number for an option": ("loss=3", "loss=3: 'loss' takes the name of an option; allowed: asl,"),
    "a group twice": ("+trainer=default", "trainer: the group is chosen twice; write `trainer=<option>` once"),
    "two options": ("loss=focal,bce", "loss=focal,bce: several values are a sweep, which needs -m"),
    "a word for a number": ("trainer.max_epochs=many", "trainer.max_epochs: expected a whole number at least 1, got 'many'"),
    "a word for a setting": ("model.dropout=high", "model.dropout: expected a number at least 0 and below 1, got 'high'"),
    "a word for torch": ("optimizer.lr=abc", "optimizer.lr: expected a number, got 'abc'"),
    "a duration without unit": ("trainer.eval_every=5", "expected a duration such as '10 epochs', '500 steps' or '5%', got 5"),
    "a number for a group": ("trainer.checkpoint=3", "trainer.checkpoint: it is a group of settings (every, keep), got 3"),
    "out of range": ("model.dropout=1.5", "model.dropout: 1.5 is out of range; it must be at least 0 and below 1"),
    "a negative seed": ("seed=-1", "seed: -1 is out of range; it must be at least 0"),
    "a monitor": ("monitor=val/f1macro", "'val/f1macro' is not a metric of the validation split; did you mean 'val/f1_macro'?"),
    "a monitor of test": ("monitor=test/f1_macro", "only the validation split may be monitored"),
    "a stopping monitor": ("trainer.early_stopping.monitor=f1", "monitor: 'f1' is not a metric of the validation split"),
    "a precision": ("trainer.precision=fp16", "trainer.precision: fp16 needs a CUDA device, and this run is on the CPU"),
    "a device": ("trainer.device=cuda:99", "trainer.device: 'cuda:99' was asked for, but this machine has"),
    "an interpolation": ("seed=${nope}", "seed: Interpolation key 'nope' not found; between the braces stands the whole name of a setting"),
    "a semicolon": ("data.positive=;", "\"data.positive=';'\""),
    "letters beyond ASCII": ("data.positive=été", "\"data.positive='été'\""),
    "no override": ("textcnn loss", "'textcnn loss' is not an override; write key=value"),
    "a run to resume": ("resume=nowhere", "resume: 'nowhere' is not a run directory (it has no .hydra/overrides.yaml); give one, or"),
    "nothing to resume": ("resume=auto", "resume=auto: no unfinished run with a checkpoint below outputs/ or multirun/"),
    "an untrusted class": ("loss._target_=json.JSONDecoder", "if you trust it, add `trust=[json]`"),
    "no class": ("loss._target_=recipes.losses.Focl", "loss._target_: 'recipes.losses.Focl' does not exist; did you mean 'Focal'?"),
}


@pytest.mark.parametrize("mistake", SETTINGS)
def test_a_wrong_setting(train: Callable, mistake: str) -> None:
    override, message = SETTINGS[mistake]
    outcome = train(*TABLE, override)
    assert (outcome.code, message in outcome.err) == (2, True), outcome.err


def test_all_problems_come_at_once(train: Callable) -> None:
    outcome = train(*TABLE, "+loss.gama=1", "model.dropout=2", "trainer.batch_size=0", "task=binnary")
    assert outcome.code == 2
    assert "The configuration has 4 problems:" in outcome.err


GOOD = "a,b,label\n" + "".join(f"{i % 7},{i % 5}.5,{'p' if i % 4 == 0 else 'n'}\n" for i in range(60))
FILES = {
    "empty": (b"", "'rows.csv' is empty (0 bytes)"),
    "a blank header": (b"\n\n", "line 1: this line must name the columns, but it is blank"),
    "a header only": (b"a,b,label\n", "'rows.csv' has a header and no rows below it"),
    "one class": (GOOD.replace(",p\n", ",n\n").encode(), "rows.csv: there is only one class ('n'), and a classifier needs two; is 'label'"),
    "a class with one row": (GOOD.encode() + b"1,1,z\n", "a single row, which cannot be both learned and tested: 'z'"),
    "NaN": (GOOD.replace("\n3,", "\nNaN,", 1).encode(), "or set data.nan=missing to read NaN as missing\n  column 'a': 1 NaN, the"),
    "infinity": (GOOD.replace("\n3,", "\ninf,", 1).encode(), "column 'a': 1 infinite, the first in data row 4"),
    "not UTF-8": (GOOD.encode() + b"1,1,caf\xe9\n", "'rows.csv', line 62: byte 0xe9 (byte 8 of the line) is not UTF-8"),
    "a long line": (GOOD.replace("\n3,", "\n3,9,", 1).encode(), "'rows.csv', line 5: 4 fields, but the header has 3"),
    "a short line": (GOOD.replace("\n3,3.5,n", "\n3", 1).encode(), "'rows.csv', line 5: 1 field, but the header has 3"),
}


@pytest.mark.parametrize("mistake", FILES)
def test_a_file_that_cannot_be_used(train: Callable, tmp_path: Path, mistake: str) -> None:
    content, message = FILES[mistake]
    (tmp_path / "rows.csv").write_bytes(content)
    outcome = train("data=file", "data.path=rows.csv", *TABLE[1:])
    assert (outcome.code, message in outcome.err) == (2, True), outcome.err


COLUMNS = {
    "data.path=row.csv": "data.path: no file 'row.csv'; did you mean 'rows.csv'?",
    "data.path=.": "data.path: '.' is a folder; give one file in it",
    "data.path=null": "data.path: no file is given",
    "data.label=lable": "data.label: rows.csv has no column 'lable'; did you mean 'label'?",
    "data.text=body": "data.text: rows.csv has no column 'body'; it has: a, b, label",
    "data.features=[a,c]": "data.features: rows.csv has no column 'c'; it has: a, b, label",
    "data.positive=x": "data.positive: there is no class 'x'; allowed: n, p",
    "data.limit=1": "data.limit=1 is fewer rows than there are classes (2)",
    "data.fold=7": "data.fold=7: folds are numbered from 0 to 4",
    "loss.alpha=[0.1,0.2,0.3]": "loss.alpha: 3 weights for 2 classes (n, p); give one for each class, or a scheme such as balanced",
    "model=fasttext": "model: it reads sequences of words, but the data is a table of columns\n  use a model for tables: model=mlp",
}


@pytest.mark.parametrize("override", COLUMNS)
def test_settings_that_do_not_fit_the_data(train: Callable, tmp_path: Path, override: str) -> None:
    (tmp_path / "rows.csv").write_text(GOOD)
    outcome = train("data=file", "data.path=rows.csv", *TABLE[1:], override)
    assert (outcome.code, COLUMNS[override] in outcome.err) == (2, True), outcome.err


def test_a_metric_that_the_task_does_not_have(train: Callable, tags_csv: Path) -> None:
    data = ["data=file", f"data.path={tags_csv}", "data.label=tags", "data.label_separator=';'", "model=fasttext", "loss=bce"]
    for key in ("monitor", "trainer.early_stopping.monitor"):
        outcome = train(*data, f"{key}=val/mcc", "trainer.device=cpu")
        assert outcome.code == 2
        assert "mcc is not defined for multilabel tasks; allowed: val/loss" in outcome.err


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_run_directory_that_cannot_be_made(train: Callable, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    outcome = train(*TABLE, f"hydra.run.dir={place}")
    assert outcome.code == 2
    assert "hydra.run.dir: the run directory cannot be written: " in outcome.err
    assert "choose another: hydra.run.dir=<directory>" in outcome.err


def test_a_file_in_the_place_of_outputs(train: Callable, tmp_path: Path) -> None:
    (tmp_path / "outputs").touch()
    outcome = train(*TABLE)
    assert outcome.code == 2
    assert "hydra.run.dir: the run directory cannot be written: " in outcome.err
