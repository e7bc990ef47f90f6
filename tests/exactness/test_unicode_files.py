"""Any text at all through files: read back as it was written, split without a copy on both sides, trained on and predicted."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recipes.cli.main import main
from recipes.data import File
from recipes.data.readers import read_file
from recipes.inference import Predictor

from .odd_texts import odd_texts

TEXTS = odd_texts()
LABELS = ["pos" if i % 3 else "neg" for i in range(len(TEXTS))]
SMALL = ["trainer.progress=off", "trainer.device=cpu", "trainer.max_steps=12", "trainer.precision=fp32", "logger=none"]


def as_csv(path: Path, columns: dict[str, list[str]], quoting: Any = csv.QUOTE_ALL, separator: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=quoting, delimiter=separator)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def texts_of(path: Path) -> list[str]:
    return read_file(path)["text"].fill_null("").to_list()


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return as_csv(tmp_path_factory.mktemp("odd") / "odd.csv", {"text": TEXTS, "label": LABELS})


@pytest.mark.parametrize("last", ["text", "label"])
@pytest.mark.parametrize("copies", [1, 40])  # the larger file is read in pieces
def test_a_csv_is_read_back_as_it_was_written(tmp_path: Path, last: str, copies: int) -> None:
    columns = {"label": LABELS * copies, "text": TEXTS * copies}
    columns = columns if last == "text" else dict(reversed(columns.items()))
    frame = pl.DataFrame(columns)
    frame.write_csv(tmp_path / "polars.csv")
    frame.write_csv(tmp_path / "polars.tsv", separator="\t")
    written = [tmp_path / "polars.csv", tmp_path / "polars.tsv", as_csv(tmp_path / "all.csv", columns)]
    written.append(as_csv(tmp_path / "necessary.csv", columns, csv.QUOTE_MINIMAL))
    for path in written:
        assert texts_of(path) == TEXTS * copies, path.name
        assert read_file(path)["label"].to_list() == LABELS * copies


def test_json_and_parquet_are_read_back(tmp_path: Path) -> None:
    frame = pl.DataFrame({"text": TEXTS, "label": LABELS})
    frame.write_parquet(tmp_path / "odd.parquet")
    lines = [json.dumps({"text": text, "label": label}, ensure_ascii=i % 2 > 0) for i, (text, label) in enumerate(frame.iter_rows())]
    (tmp_path / "odd.jsonl").write_bytes("\n".join(lines).encode())
    assert texts_of(tmp_path / "odd.parquet") == TEXTS
    assert texts_of(tmp_path / "odd.jsonl") == TEXTS


def test_fasttext_lines_are_read_back(tmp_path: Path) -> None:
    """Without the blanks around them. A line break ends a text of this format, and no other sign of Unicode does."""
    texts = [text.replace("\n", " ").replace("__label__", "label") for text in TEXTS]
    (tmp_path / "odd.txt").write_bytes("".join(f"__label__{label} {text}\n" for label, text in zip(LABELS, texts, strict=True)).encode())
    assert texts_of(tmp_path / "odd.txt") == pl.Series(texts).str.replace_all(r"^\s+|\s+$", "").to_list()
    assert read_file(tmp_path / "odd.txt")["label"].to_list() == LABELS


@pytest.mark.parametrize("duplicates", ["separate", "keep"])
def test_splits_hold_each_row_once_and_no_text_twice(tmp_path: Path, duplicates: Any) -> None:
    texts, labels = TEXTS + TEXTS[::2], LABELS + LABELS[::2]
    path = as_csv(tmp_path / "odd.csv", {"text": texts, "label": labels})
    tables = File(path=str(path), duplicates=duplicates, cache="off").read(None, seed=3)
    assert tables.val is not None
    assert tables.test is not None
    splits, found = (tables.train, tables.val, tables.test), {}
    for table in splits:
        assert table.text is not None
        found |= dict(zip(table.rows.tolist(), table.text.to_list(), strict=True))
    blank = pl.Series(texts).str.contains(r"^\s*$").to_list()
    assert found == {i: "" if blank[i] else text for i, text in enumerate(texts)}
    sets = [{text for text in table.text.to_list() if text} for table in splits]  # type: ignore[union-attr]
    shared = sets[0] & sets[1] | sets[0] & sets[2] | sets[1] & sets[2]
    assert bool(shared) is (duplicates == "keep")
    assert all(abs(len(table) / len(texts) - share) < 0.06 for table, share in zip(splits, (0.72, 0.08, 0.2), strict=True))


def no_constant(name: str) -> float:
    raise AssertionError(f"{name} is not JSON")


RUNS = {
    "han": ["model=han", "model.dim=8", "model.hidden=4"],
    "fasttext": ["model=fasttext", "model.dim=8", "model.minn=2", "model.maxn=3", "features.tokenizer=whitespace",
                 "loss=hierarchical_softmax", "optimizer=sgd", "optimizer.lr=0.5", "trainer.clip=none"],
}  # fmt: skip


@pytest.mark.parametrize("model", RUNS)
def test_a_run_and_its_predictions(
    model: str, train_here: Callable[..., float], labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `predict` writes has the texts as they were, and what it says of a row is what Python says of the text."""
    run = tmp_path / "run"
    train_here(run, "data=file", f"data.path={labelled}", "data.text=text", *RUNS[model], *SMALL)
    log = (run / "train.log").read_text(encoding="utf-8")
    assert bool(re.search(r"^step +fused ", log, re.MULTILINE)) is (model == "fasttext")
    as_csv(tmp_path / "new.csv", {"id": [str(i) for i in range(len(TEXTS))], "text": TEXTS})
    shown = ["attention=true"] if model == "han" else []
    main(["predict", f"run={run}", f"input={tmp_path / 'new.csv'}", f"output={tmp_path / 'scored.csv'}", "device=cpu", *shown])
    scored = read_file(tmp_path / "scored.csv")
    assert scored["text"].fill_null("").to_list() == TEXTS
    csv.field_size_limit(sys.maxsize)
    with (tmp_path / "scored.csv").open(newline="", encoding="utf-8") as file:  # and for other readers of CSV
        assert [row["text"] for row in csv.DictReader(file)] == TEXTS
    predictor = Predictor.load(run)
    expected = predictor.predict_proba(TEXTS)
    np.testing.assert_allclose(
        scored.select("p_pos", "p_neg").to_numpy(), expected[:, [predictor.classes.index(c) for c in ("pos", "neg")]], atol=1e-5
    )
    assert scored["prediction"].to_list() == predictor.predict(TEXTS)
    if model == "han":
        rows = [json.loads(pairs, parse_constant=no_constant) for pairs in scored["attention"]]
        assert [[token for token, _ in row] for row in rows] == predictor.encoder.tokens(pl.Series(TEXTS))  # type: ignore[attr-defined]
        sums = [sum(weight for _, weight in row) for row in rows]
        np.testing.assert_allclose(sums, [float(bool(row)) for row in rows], atol=1e-3)
