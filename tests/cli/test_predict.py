"""`predict`: files in, files out, whole or not at all."""

from __future__ import annotations

import json
import resource
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recipes.cli.main import main

TABLE = pl.DataFrame({"y": [0.5, None, 2.0], "x": [1.0, -1.0, 0.25], "job": ["cook", "pilot", None], "id": [7, 8, 9]})


@pytest.fixture
def predict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """`predict(run=..., input=..., output=...)` in an empty directory: (exit code, what was printed)."""
    monkeypatch.chdir(tmp_path)

    def call(*extra: str, **arguments: object) -> tuple[int, str]:
        code = 0
        try:
            main(["predict", "device=cpu", *extra, *(f"{key}={value}" for key, value in arguments.items())])
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out + captured.err

    return call


def read(path: Path) -> pl.DataFrame:
    readers = {".csv": pl.read_csv, ".jsonl": pl.read_ndjson, ".parquet": pl.read_parquet}
    return readers.get(path.suffix, lambda p: pl.read_csv(p, separator="\t"))(path)


@pytest.mark.parametrize("target", ["csv", "tsv", "jsonl", "parquet"])
@pytest.mark.parametrize("source", ["csv", "jsonl", "parquet"])
def test_any_format_to_any_other(predict: Callable, table_run: Path, tmp_path: Path, source: str, target: str) -> None:
    write = {"csv": TABLE.write_csv, "jsonl": TABLE.write_ndjson, "parquet": TABLE.write_parquet}[source]
    write(tmp_path / f"new.{source}")
    code, told = predict(run=table_run, input=f"new.{source}", output=f"scored.{target}")
    assert code == 0, told
    assert "3 rows scored" in told
    scored = read(tmp_path / f"scored.{target}")
    assert scored.columns == ["y", "x", "job", "id", "prediction", "p_usual", "p_rare"]
    assert scored["id"].to_list() == [7, 8, 9]
    assert (scored["p_usual"] + scored["p_rare"]).to_list() == pytest.approx([1, 1, 1], abs=1e-6)
    assert scored["prediction"].to_list() == ["rare" if p > 0.5 else "usual" for p in scored["p_rare"]]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([f"new.{source}", f"scored.{target}"])


def test_texts(predict: Callable, text_run: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("id,text\n1,iota kappa lambda\n2,\n3,never seen words\n")
    code, told = predict(run=text_run, input="new.csv", output="scored.csv")
    assert code == 0, told
    scored = pl.read_csv(tmp_path / "scored.csv")
    assert scored.columns == ["id", "text", "prediction", "p_common", "p_middle", "p_rare"]
    assert scored["prediction"].is_in(["common", "middle", "rare"]).all()


def test_several_labels(predict: Callable, tags_run: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("text\nred blue\ngreen\nnothing at all\n")
    for output in ("scored.csv", "scored.jsonl"):
        code, told = predict(run=tags_run, input="new.csv", output=output)
        assert code == 0, told
    flat, nested = pl.read_csv(tmp_path / "scored.csv"), pl.read_ndjson(tmp_path / "scored.jsonl")
    names = [name for name in flat.columns if name.startswith("p_")]
    assert names == ["p_blue", "p_green", "p_red"]
    expected = [[n[2:] for n in names if row[n] >= 0.5] for row in nested.iter_rows(named=True)]
    assert nested["prediction"].to_list() == expected
    assert flat["prediction"].fill_null("").to_list() == [";".join(labels) for labels in expected]


@pytest.mark.parametrize("kind", ["text", "table", "tags"])
def test_the_rows_of_test_score_as_in_the_run(predict: Callable, tmp_path: Path, kind: str, request: pytest.FixtureRequest) -> None:
    run, source = request.getfixturevalue(f"{kind}_run"), request.getfixturevalue(f"{kind}_csv")
    code, told = predict(run=run, input=source, output="scored.parquet", batch_size=7)
    assert code == 0, told
    expected = pl.read_parquet(run / "predictions" / "test.parquet")
    scored = pl.read_parquet(tmp_path / "scored.parquet")[expected["row"].to_list()]
    names = [name for name in expected.columns if name.startswith("p_")]
    np.testing.assert_allclose(scored[names].to_numpy(), expected[names].to_numpy(), atol=1e-6, rtol=0)
    assert scored["prediction"].to_list() == expected["prediction"].to_list()


MISTAKES = {
    "a missing column": ({"input": "lacking.csv"}, "input: there is no column 'x' (and 1 more); it has: y"),
    "a word for a number": ({"input": "word.csv"}, "input: column 'x' holds 'tall' in data row 2, but in train it is a number"),
    "NaN": ({"input": "nan.csv"}, "column 'x': 1 NaN, the first in data row 2"),
    "no such file": ({"input": "nwe.csv"}, "input: no file 'nwe.csv'; did you mean 'new.csv'?"),
    "an unknown output": ({"output": "o.xlsx"}, "output: 'o.xlsx' has no known suffix; allowed: .csv, .tsv, .jsonl"),
    "no such folder": ({"output": "nowhere/o.csv"}, "output: there is no directory nowhere"),
    "a folder for output": ({"output": "folder.csv"}, "output: folder.csv could not be written: Is a directory"),
    "no run": ({"run": "nowhere"}, "there is no trained model in 'nowhere'"),
    "a wrong argument": ({"inptu": "new.csv"}, "'inptu' is not an argument; did you mean 'input'?"),
    "a wrong size": ({"batch_size": "0"}, "batch_size: expected a whole number of at least 1, got '0'"),
    "no CUDA device": ({"device": "cuda:99"}, "device: 'cuda:99' was asked for, but this machine has"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(predict: Callable, table_run: Path, tmp_path: Path, mistake: str) -> None:
    TABLE.write_csv(tmp_path / "new.csv")
    (tmp_path / "lacking.csv").write_text("y\n1\n")
    (tmp_path / "word.csv").write_text("x,y,job\n1,2,cook\ntall,2,cook\n")
    (tmp_path / "nan.csv").write_text("x,y,job\n1,2,cook\nnan,2,cook\n")
    (tmp_path / "folder.csv").mkdir()
    before = set(tmp_path.iterdir())
    given, message = MISTAKES[mistake]
    code, told = predict(**{"run": table_run, "input": "new.csv", "output": "o.csv", **given})
    assert (code, message in told) == (2, True), told
    assert set(tmp_path.iterdir()) == before, "nothing is left behind"


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_full_disk_leaves_the_old_output(predict: Callable, table_run: Path, tmp_path: Path, suffix: str) -> None:
    pl.concat([TABLE] * 400).write_csv(tmp_path / "new.csv")
    (tmp_path / f"o.{suffix}").write_text("old")
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))
    try:
        code, told = predict(run=table_run, input="new.csv", output=f"o.{suffix}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert (code, f"output: o.{suffix} could not be written: File too large" in told) == (2, True), told
    assert (tmp_path / f"o.{suffix}").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2


def test_columns_that_a_csv_cannot_hold(predict: Callable, table_run: Path, tmp_path: Path) -> None:
    TABLE.with_columns(box=pl.Series([[1, 2], [3, 4], [5, 6]])).write_parquet(tmp_path / "new.parquet")
    code, told = predict(run=table_run, input="new.parquet", output="o.csv")
    assert (code, "output: .csv cannot hold a column of the input" in told) == (2, True), told
    assert predict(run=table_run, input="new.parquet", output="o.jsonl")[0] == 0


def test_scoring_a_scored_file_says_what_it_replaces(predict: Callable, table_run: Path, tmp_path: Path) -> None:
    TABLE.write_csv(tmp_path / "new.csv")
    assert predict(run=table_run, input="new.csv", output="one.csv")[0] == 0
    code, told = predict(run=table_run, input="one.csv", output="two.csv")
    assert (code, "note: columns of the input are replaced: prediction, p_usual, p_rare" in told) == (0, True)
    assert (tmp_path / "one.csv").read_text() == (tmp_path / "two.csv").read_text()


def test_a_model_of_another_package_needs_trust(predict: Callable, text_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "minepkg.py").write_text("from recipes.models import TextCNN\n\nclass Mine(TextCNN):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    bundle = shutil.copytree(text_run / "model", tmp_path / "model") / "bundle.json"
    content = json.loads(bundle.read_text())
    bundle.write_text(json.dumps(content | {"model": {**content["model"], "_target_": "minepkg.Mine"}}))
    (tmp_path / "new.csv").write_text("text\niota kappa\n")
    code, told = predict(run=tmp_path, input="new.csv", output="o.csv")
    assert (code, "if you trust it, add `trust=[minepkg]`" in told) == (2, True), told
    for typed in ("[minepkg]", "minepkg", "[json, minepkg]"):
        code, told = predict(run=tmp_path, input="new.csv", output="o.csv", trust=typed)
        assert code == 0, told


def test_the_script(python: Callable, table_run: Path, tmp_path: Path) -> None:
    TABLE.write_csv(tmp_path / "new.csv")
    done = python("scripts/predict.py", f"run={table_run}", "input=new.csv", "output=o.csv", "device=cpu", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(pl.read_csv(tmp_path / "o.csv")) == 3


def test_commands(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    assert "predict  run=<run directory> input=<file> output=<file>" in capsys.readouterr().out
    with pytest.raises(SystemExit) as leaving:
        main(["pedict"])
    assert leaving.value.code == 2
    assert "'pedict' is not a command; did you mean 'predict'?" in capsys.readouterr().err


def test_the_input_is_not_overwritten(predict: Callable, table_run: Path, tmp_path: Path) -> None:
    TABLE.write_csv(tmp_path / "new.csv")
    before = (tmp_path / "new.csv").read_bytes()
    code, told = predict(run=table_run, input="new.csv", output="new.csv")
    assert (code, "is the input itself" in told) == (2, True)
    assert (tmp_path / "new.csv").read_bytes() == before


def test_attention(predict: Callable, train_here: Callable, text_csv: Path, text_run: Path, tmp_path: Path) -> None:
    small = ["model=textrnn", "model.pooling=attention", "model.dim=8", "model.hidden=4", "trainer.max_epochs=1", "trainer.device=cpu"]
    train_here(tmp_path / "run", "data=file", f"data.path={text_csv}", "trainer.progress=off", *small)
    (tmp_path / "new.csv").write_text('id,text\n1,"iota ""kappa"" été"\n2,\n')
    code, told = predict(run=tmp_path / "run", input="new.csv", output="scored.csv", attention="true")
    assert code == 0, told
    scored = pl.read_csv(tmp_path / "scored.csv")
    assert scored.columns == ["id", "text", "prediction", "p_common", "p_middle", "p_rare", "attention"]
    first, second = (json.loads(pairs) for pairs in scored["attention"])
    assert [token for token, _ in first] == ["iota", '"', "kappa", '"', "été"]
    assert sum(weight for _, weight in first) == pytest.approx(1, abs=1e-5)
    assert second == []
    code, told = predict(run=text_run, input="new.csv", output="o.csv", attention="true")
    assert (code, "attention: TextCNN weighs no words" in told) == (2, True), told
    code, told = predict(run=text_run, input="new.csv", output="o.csv", attention="yes")
    assert (code, "attention: expected true or false, got 'yes'" in told) == (2, True), told
    assert not (tmp_path / "o.csv").exists()
