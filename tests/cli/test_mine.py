"""`mine`: a finished run goes on with its hard negatives, says which labels it doubts, and does not end worse than it began."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from finished_runs import Command, finish, in_process

import recipes

SHORT = ("trainer.progress=off", "trainer.device=cpu", "logger=none")
TABLE = ("data=file", "model=mlp", "model.widths=[8]", "trainer.max_epochs=20", "optimizer.lr=0.01", "monitor=val/pr_auc", *SHORT)
WRONG = (17, 400, 1203, 1999, 2450)


@pytest.fixture(scope="module")
def table(train_here: Callable, compose: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on 2,500 rows, a tenth of them positive, in which five clear positives are labelled as negatives."""
    folder, rng = tmp_path_factory.mktemp("mine"), np.random.default_rng(0)
    labels = rng.random(2500) < 0.1
    labels[list(WRONG)] = True
    points = rng.normal(size=(2500, 3)) + labels[:, None] * np.array([1.5, 1.5, 0])
    points[list(WRONG)] = [3.5, 3.5, 0]
    labels[list(WRONG)] = False
    lines = [f"{x:.5f},{y:.5f},{z:.5f},{'rare' if label else 'usual'}" for (x, y, z), label in zip(points, labels, strict=True)]
    (folder / "rows.csv").write_text("\n".join(["x,y,z,label", *lines]) + "\n")
    return finish(train_here, compose, folder / "run", *TABLE, f"data.path={folder / 'rows.csv'}")


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """`command("mine", "run=...", ...)` in an empty directory: (exit code, what was printed)."""
    return in_process(tmp_path, monkeypatch, capfd)


def metrics(run: Path) -> dict:
    return json.loads((run / "metrics.json").read_text())


def _largest(run: Path) -> int:
    return int(recipes.load(run).facts.class_counts.max())


def test_wrong_labels_are_found_where_they_stand_in_the_file(command: Command, table: Path, tmp_path: Path) -> None:
    code, told = command("mine", f"run={table}", "hydra.run.dir=mined")
    assert code == 0, told
    suspects = pl.read_csv(tmp_path / "mined" / "suspicious_labels.csv")
    assert suspects.columns == ["row", "label", "likeliest", "score"]
    assert suspects["score"].is_sorted(descending=True)
    assert set(suspects["label"]) == {"usual"}
    held_out = {row for split in ("val", "test") for row in pl.read_parquet(tmp_path / "mined" / "predictions" / f"{split}.parquet")["row"]}
    planted = set(WRONG) - held_out
    assert len(planted) >= 2
    assert planted <= set(suspects["row"])
    assert set(suspects.filter(pl.col("row").is_in(planted))["likeliest"]) == {"rare"}
    assert f"{len(suspects)} rows of train whose label is doubtful" in told


def test_what_is_fine_tuned_with(command: Command, table: Path, tmp_path: Path) -> None:
    code, told = command("mine", f"run={table}", "hydra.run.dir=mined", "sampler.hard=2", "trainer.max_epochs=2")
    assert code == 0, told
    stored = (tmp_path / "mined" / ".hydra" / "overrides.yaml").read_text()
    for override in ("optimizer.lr=0.001", "sampler=hard_negatives", "sampler.hard=2", "scheduler=constant", "trainer.max_epochs=2"):
        assert f"- {override}\n" in stored
    assert f"init.run='{table}'" in stored.replace("\\'", "'").replace("''", "'")
    assert "optimizer.lr=0.01\n" not in stored
    lines = [json.loads(line) for line in (tmp_path / "mined" / "metrics.jsonl").read_text().splitlines()]
    assert next(line["step"] for line in lines if line["split"] == "val") == 0


def test_it_does_not_end_with_worse_weights_than_it_began_with(command: Command, table: Path, tmp_path: Path) -> None:
    """The weights that it began with compete, and keep the prior that they were trained to fit."""
    code, told = command("mine", f"run={table}", "hydra.run.dir=mined", "optimizer.lr=30", "trainer.clip=none")
    assert code == 0, told
    old, new = metrics(table), metrics(tmp_path / "mined")
    assert new["best_step"] == 0
    assert new["monitored"] == pytest.approx(old["monitored"], abs=1e-9)
    assert new["test"]["log_loss"] == pytest.approx(old["test"]["log_loss"], abs=1e-6)
    frame = pl.DataFrame(np.random.default_rng(1).normal(1, 1, size=(50, 3)), schema=["x", "y", "z"])
    np.testing.assert_allclose(recipes.load(tmp_path / "mined").predict_proba(frame), recipes.load(table).predict_proba(frame), atol=1e-6)


def test_an_interrupted_one_is_resumed_in_the_same_bits(command: Command, table: Path, tmp_path: Path) -> None:
    settings = ("trainer.eval_every='1 epoch'", "trainer.checkpoint.keep=10", "trainer.early_stopping.patience=null")
    code, told = command("mine", f"run={table}", "hydra.run.dir=whole", *settings)
    assert code == 0, told
    whole = tmp_path / "whole"
    middle = sorted(whole.glob("checkpoints/step-*.pt"), key=lambda path: int(path.stem[5:]))[2]
    broken = shutil.copytree(whole, tmp_path / "broken")
    shutil.copy(middle, broken / "checkpoints" / "last.pt")
    (broken / "status.json").write_text('{"status": "interrupted"}')
    (broken / "metrics.json").unlink()
    code, told = command("train", f"resume={broken}")
    assert code == 0, told
    one, other = (torch.load(run / "checkpoints" / "last.pt", weights_only=True) for run in (whole, broken))
    assert one["step"] == other["step"]
    assert all(torch.equal(value, other["model"][name]) for name, value in one["model"].items())
    assert (whole / "suspicious_labels.csv").read_text() == (broken / "suspicious_labels.csv").read_text()


def test_texts_of_several_classes(command: Command, train_here: Callable, compose: Callable, text_csv: Path, tmp_path: Path) -> None:
    """Negatives are the rows of the largest class."""
    small = ("model=textcnn", "model.dim=8", "model.maps=4", "trainer.max_epochs=2", *SHORT)
    run = finish(train_here, compose, tmp_path / "run", "data=file", f"data.path={text_csv}", *small)
    code, told = command("mine", f"run={run}", "hydra.run.dir=mined", "sampler.noise=0.05")
    assert code == 0, told
    doubted = pl.read_csv(tmp_path / "mined" / "suspicious_labels.csv")
    assert set(doubted["label"]) == {"common"}
    assert len(doubted) == int(np.ceil(0.05 * _largest(tmp_path / "mined")))


REFUSED = {
    "another file": ("data.path=other.csv", "was trained on other features: another vocabulary, other columns or another seed's split"),
    "another seed": ("seed=5", "was trained on other features"),
    "another model": ("model.widths=[9]", "has other weights than this one (head.weight, layers.0.bias, "),
    "other classes": ("data.path=named.csv", "knows other classes: usual, rare; here plenty, rare"),
    "a sampler": ("sampler=shuffle trainer.max_steps=nine", "trainer.max_steps: expected a whole number"),
    "numbers as weights": ("loss=weighted_ce loss.weights=[1,3]", "both together count twice"),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_refused(command: Command, table: Path, tmp_path: Path, mistake: str) -> None:
    rows = (table.parent / "rows.csv").read_text()
    (tmp_path / "other.csv").write_text(rows.replace(",1.", ",2."))
    (tmp_path / "named.csv").write_text(rows.replace("usual", "plenty"))
    typed, message = REFUSED[mistake]
    code, told = command("mine", f"run={table}", "hydra.run.dir=mined", *typed.split())
    assert (code, message in told) == (2, True), told
    assert not (tmp_path / "mined" / "checkpoints").exists()


@pytest.mark.parametrize("method", ["mine", "posthoc method=crt", "posthoc method=ncm"])
def test_runs_that_cannot_be_gone_on_from(command: Command, table: Path, tmp_path: Path, method: str) -> None:
    code, told = command(*method.split(), "run=nowhere")
    assert (code, "run: 'nowhere' is not a run directory" in told) == (2, True), told
    code, told = command(*method.split())
    assert (code, "missing: run=..." in told) == (2, True), told
    stopped = shutil.copytree(table, tmp_path / "stopped")
    (stopped / "status.json").write_text('{"status": "interrupted"}')
    code, told = command(*method.split(), f"run={stopped}")
    assert (code, "is not finished; finish it with `python train.py resume=" in told) == (2, True), told
