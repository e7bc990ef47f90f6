"""The table of a sweep: order, columns, failed and unfinished jobs."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from recipes.reporting import Console, write_leaderboard


def job(
    sweep: Path, number: int, overrides: list[str], score: float | None = None, status: str | None = "finished", error: str = ""
) -> None:
    folder = sweep / str(number)
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text("".join(f"- {each}\n" for each in overrides))
    if status:
        (folder / "status.json").write_text(json.dumps({"status": status} | ({"error": error} if error else {})))
    if status == "finished":
        document = {
            "monitor": "val/f1_macro",
            "best": {"val/f1_macro": score, "val/log_loss": 1 - (score or 0)},
            "val": {"f1_macro": score, "pr_auc": 0.4},
            "test": {"f1_macro": (score or 0) - 0.01, "pr_auc": None},
            "seconds": 12.3456,
        }
        (folder / "metrics.json").write_text(json.dumps(document))


@pytest.fixture
def sweep(tmp_path):
    job(tmp_path, 0, ["model=textcnn", "loss=focal", "trainer.max_steps=20"], 0.71)
    job(tmp_path, 1, ["model=mlp", "loss=focal", "trainer.max_steps=20"], status="failed", error="DataError: no rows")
    job(tmp_path, 2, ["model=mlp", "+loss=weighted_ce", "trainer.max_steps=20"], 0.93)
    job(tmp_path, 3, ["model=mlp", "~mining", "trainer.max_steps=20"], None)
    job(tmp_path, 10, ["model=fasttext", "loss=focal", "trainer.max_steps=20"], 0.82)
    job(tmp_path, 11, ["model=fasttext", "loss=x", "trainer.max_steps=20"], status=None)
    job(tmp_path, 12, ["model=fasttext", "loss=y", "trainer.max_steps=20"], status="interrupted")
    return tmp_path


def shown(sweep, monitor=None, width=100):
    stream = io.StringIO()
    rows = write_leaderboard(sweep, monitor, Console(stream=stream, width=width))
    return rows, stream.getvalue()


def table(sweep):
    return list(csv.DictReader(io.StringIO((sweep / "leaderboard.csv").read_text())))


def test_best_first_failed_last(sweep):
    rows, screen = shown(sweep)
    assert [row.job for row in rows] == ["2", "10", "0", "3", "11", "12", "1"]
    assert [row.status for row in rows] == ["finished"] * 4 + ["unfinished", "interrupted", "failed"]
    lines = screen.splitlines()
    assert lines[-1].startswith("4 of 7 jobs finished; all scores: ")
    assert "job 1 failed: DataError: no rows" in lines
    first = next(line for line in lines if "0.9300" in line)
    assert first.split() == ["1", "2", "mlp", "weighted_ce", "0.9300", "0.9200", "12", "s"]
    assert max(map(len, lines[:-1])) <= 100


def test_only_what_differs_is_a_column(sweep):
    shown(sweep)
    found = table(sweep)
    assert list(found[0])[:6] == ["rank", "job", "status", "model", "loss", "val/f1_macro"]
    assert "trainer.max_steps" not in found[0]
    assert (found[0]["rank"], found[0]["job"], found[0]["loss"], found[0]["seconds"]) == ("1", "2", "weighted_ce", "12.35")
    assert found[0]["test/f1_macro"] == "0.92"
    assert "test/pr_auc" not in found[0]  # null in every job
    assert (found[-1]["status"], found[-1]["error"], found[-1]["val/f1_macro"]) == ("failed", "DataError: no rows", "")
    assert [row["rank"] for row in found] == ["1", "2", "3", "", "", "", ""]


def test_paths_are_shown_without_the_folder_that_they_share(tmp_path):
    names = ["yeast3.csv", "yeast4.csv", "more/glass.csv"]
    for number, name in enumerate(names):
        job(tmp_path, number, [f"data.path=/data/keel/{name}"], 0.5)
    _, screen = shown(tmp_path)
    assert " yeast3.csv " in screen
    assert " more/glass.csv " in screen
    assert "/data" not in screen.partition("finished")[0]
    assert {line["data.path"] for line in table(tmp_path)} == {f"/data/keel/{name}" for name in names}


def test_a_metric_to_minimise_is_sorted_the_other_way(sweep):
    rows, screen = shown(sweep, "val/log_loss")
    assert [row.monitored for row in rows[:3]] == pytest.approx([0.07, 0.18, 0.29])
    assert "log_loss" in screen


@pytest.mark.parametrize("monitor", ["val/nonsense", "None"])
def test_a_sweep_in_which_everything_failed_still_has_a_table(tmp_path, monitor):
    for number in range(3):
        job(tmp_path, number, [f"seed={number}"], status="failed", error="ConfigError: monitor: no such metric")
    rows, screen = shown(tmp_path, monitor)
    assert len(rows) == 3
    assert "0 of 3 jobs finished" in screen
    assert screen.count("job ") >= 3


def test_nothing_and_garbage(tmp_path):
    assert shown(tmp_path)[0] == []
    job(tmp_path, 0, ["seed=0"], 0.5)
    (tmp_path / "0" / "metrics.json").write_text('{"best": {"val')
    (tmp_path / "0" / "status.json").write_text("[]")
    (tmp_path / "0" / ".hydra" / "overrides.yaml").write_text("{")
    rows, _ = shown(tmp_path)
    assert (rows[0].status, rows[0].overrides) == ("unfinished", {})


@pytest.mark.parametrize("width", [60, 80, 100])
def test_three_overrides_fit(tmp_path, width):
    for number, sampler in enumerate(["shuffle", "balanced_batch", "smote"]):
        job(tmp_path, number, [f"model=m{number}", f"sampler={sampler}", f"loss=cross_entropy{number}"], 0.5 + number / 10)
    _, screen = shown(tmp_path, width=width)
    lines = [line for line in screen.splitlines() if not line.startswith("3 of 3")]
    assert max(map(len, lines)) <= width
    assert ("test" in screen.splitlines()[0]) is (width > 60)
    assert "0.7000" in screen


def test_the_table_needs_no_torch(sweep):
    code = (
        "import sys; from pathlib import Path; from recipes.reporting import write_leaderboard\n"
        f"write_leaderboard(Path({str(sweep)!r}), None)\n"
        "print('loaded:', sorted({'torch', 'matplotlib', 'polars', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded: []"


def test_jobs_that_differ_in_fold_or_seed_only_are_summed_up() -> None:
    from recipes.reporting.leaderboard import JobRow
    from recipes.reporting.repeats import repeats

    def row(model: str, fold: int, f1: float, status: str = "finished") -> JobRow:
        return JobRow(f"{model}{fold}", status, {"model": model, "data.fold": str(fold), "seed": str(fold)}, {"test/f1_macro": f1})

    rows = [row("mlp", 0, 0.5), row("mlp", 1, 0.7), row("mlp", 2, 0.0, "failed"), row("fasttext", 0, 0.9)]
    (found,) = repeats(rows)
    assert found.overrides == {"model": "mlp"}
    assert found.jobs == 2
    mean, deviation = found.scores["test/f1_macro"]
    assert mean == pytest.approx(0.6)
    assert deviation == pytest.approx(0.1414213562)  # of a sample: n - 1
