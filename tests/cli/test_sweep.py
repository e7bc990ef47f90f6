"""`-m`: a directory for each job, one table; a wrong setting stops all before the first, a job that fails stops none."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

SMALL = ["data=breast_cancer", "model=mlp", "trainer.max_epochs=1", "trainer.progress=off", "trainer.device=cpu", "logger=none",
         "hydra.sweep.dir=sweep"]  # fmt: skip


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_grid_gives_a_directory_each_and_one_table(python: Callable, tmp_path: Path) -> None:
    done = python("train.py", "-m", *SMALL, "loss=focal,cross_entropy", "model.widths=[4],[8]", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    sweep = tmp_path / "sweep"
    assert sorted(p.name for p in sweep.iterdir() if p.is_dir()) == ["0", "1", "2", "3"]
    rows = table(sweep / "leaderboard.csv")
    assert [row["status"] for row in rows] == ["finished"] * 4
    assert {(row["loss"], row["model.widths"]) for row in rows} == {(a, b) for a in ("focal", "cross_entropy") for b in ("[4]", "[8]")}
    scores = [float(row["val/f1_macro"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    for row in rows:
        metrics = json.loads((sweep / row["job"] / "metrics.json").read_text())
        assert float(row["val/f1_macro"]) == metrics["monitored"]
        assert float(row["test/f1_macro"]) == metrics["test"]["f1_macro"]
    assert "4 of 4 jobs finished; all scores: sweep/leaderboard.csv" in done.stdout


def test_a_wrong_setting_stops_the_sweep_before_its_first_job(train: Callable, tmp_path: Path) -> None:
    wrong = train("-m", *SMALL, "loss=focal,bce", "model.dropout=0.1,high")
    assert wrong.code == 2
    assert "the sweep was not started: 2 of its 4 jobs cannot run" in wrong.err
    assert "job 1, 3: The configuration has a problem:\n  model.dropout: expected a number" in wrong.err
    for mistake, message in {
        "model=mlp,textcn": "model=textcn: there is no such option; did you mean 'textcnn'?",
        "trainer.max_epoch=1,2": "trainer.max_epoch: there is no such setting; did you mean 'trainer.max_epochs'?",
        "trainer.precision=fp32,fp16": "job 1: trainer.precision: fp16 needs a CUDA device",
    }.items():
        outcome = train("-m", *SMALL, mistake)
        assert (outcome.code, message in outcome.err) == (2, True), outcome.err
        assert "UserWarning" not in outcome.err
    assert not list(tmp_path.glob("sweep/*/"))


def test_a_job_that_fails_is_in_the_table_and_the_others_go_on(train: Callable, tmp_path: Path) -> None:
    outcome = train("-m", *SMALL, "data.limit=1,100")
    assert outcome.code == 1
    rows = table(tmp_path / "sweep" / "leaderboard.csv")
    assert [(row["job"], row["status"]) for row in rows] == [("1", "finished"), ("0", "failed")]
    message = "data.limit=1 is fewer rows than there are classes (2); give at least 2"
    assert rows[1]["error"] == message
    assert f"job 0 failed: {message}" in outcome.out
    assert f"Error: {message}" in (tmp_path / "sweep" / "0" / "train.log").read_text()
    assert json.loads((tmp_path / "sweep" / "0" / "status.json").read_text()) == {"status": "failed", "error": message}
    assert message not in (tmp_path / "sweep" / "1" / "train.log").read_text()


def test_a_bug_leaves_its_traceback_in_the_log_of_its_job(python: Callable, tmp_path: Path) -> None:
    """A loss of the user's own that breaks in one of two jobs."""
    (tmp_path / "broken.py").write_text(
        "from recipes.losses import CrossEntropy\n"
        "class Broken(CrossEntropy):\n"
        "    def forward(self, logits_BC, targets):\n"
        "        raise ZeroDivisionError('of my own')\n"
    )
    code = f"import runpy, sys; sys.path.insert(0, {str(tmp_path)!r}); runpy.run_path(sys.argv.pop(1), run_name='__main__')"
    losses = "loss._target_=recipes.losses.CrossEntropy,broken.Broken"
    done = python("-c", code, "train.py", "-m", *SMALL, "trust=[broken]", losses, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    log = (tmp_path / "sweep" / "1" / "train.log").read_text()
    assert "Traceback" in log
    assert "ZeroDivisionError: of my own" in log
    assert "broken.py:4" in log
    assert "Traceback" not in (tmp_path / "sweep" / "0" / "train.log").read_text()
    assert [row["status"] for row in table(tmp_path / "sweep" / "leaderboard.csv")] == ["finished", "failed"]
