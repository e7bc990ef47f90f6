"""`vectors`: the word vectors of a finished run in a file that others read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import recipes
from recipes.cli.main import main
from recipes.data.vectors import read_vectors

SHORT = ["data=file", "trainer.max_steps=3", "trainer.progress=off", "trainer.device=cpu", "logger=none", "model.dim=4"]


@pytest.fixture
def vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """`vectors(run=..., output=...)` in an empty directory: (exit code, what was printed)."""
    monkeypatch.chdir(tmp_path)

    def call(**arguments: object) -> tuple[int, str]:
        code = 0
        try:
            main(["vectors", *(f"{key}={value}" for key, value in arguments.items())])
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return call


def test_rows_of_the_table(vectors: Callable[..., tuple[int, str]], text_run: Path) -> None:
    code, told = vectors(run=text_run, output="words.vec")
    predictor = recipes.load(text_run)
    words = predictor.encoder.words
    assert (code, told) == (0, f"{len(words)} words with 8 numbers each: words.vec\n")
    found = read_vectors("words.vec", predictor.facts.vocabulary, "model.vectors")
    assert found.ids.tolist() == list(range(2, 2 + len(words)))
    np.testing.assert_array_equal(found.rows_VE, predictor.model.embedding.weight.detach().numpy()[2:])


def test_words_with_character_ngrams_are_what_the_model_reads_of_them(
    vectors: Callable[..., tuple[int, str]], train_here: Callable[..., float], text_csv: Path, tmp_path: Path
) -> None:
    grams = ["model=fasttext", "model.word_ngrams=1", "model.minn=2", "model.maxn=4", "model.buckets=50", "model.end=false"]
    train_here(tmp_path / "run", *SHORT, f"data.path={text_csv}", *grams)
    assert vectors(run=tmp_path / "run", output="words.vec")[0] == 0
    predictor = recipes.load(tmp_path / "run")
    words = predictor.encoder.words
    batch = predictor.encoder.encode(pl.Series(words)).batch(np.arange(len(words)))
    with torch.no_grad():
        expected = predictor.model.embed(batch).numpy()
    found = read_vectors("words.vec", ("", *words), "model.vectors")
    np.testing.assert_allclose(found.rows_VE, expected, atol=1e-7, rtol=0)
    assert not np.allclose(expected, predictor.model.embedding.weight.detach().numpy()[2 : 2 + len(words)], atol=1e-3)


def test_blanks_are_left_out_and_named(
    vectors: Callable[..., tuple[int, str]], train_here: Callable[..., float], text_csv: Path, tmp_path: Path
) -> None:
    train_here(tmp_path / "run", *SHORT, f"data.path={text_csv}", "model=textcnn", "model.maps=2", "features.tokenizer=char")
    code, told = vectors(run=tmp_path / "run", output="chars.vec")
    assert (code, "left out, since a blank ends a word in such a file: ' ' (1 of " in told) == (0, True), told
    written = [line.split(" ")[0] for line in (tmp_path / "chars.vec").read_text().splitlines()[1:]]
    assert sorted([*written, " "]) == sorted(recipes.load(tmp_path / "run").encoder.words)


def test_mistakes(vectors: Callable[..., tuple[int, str]], table_run: Path, text_run: Path, tmp_path: Path) -> None:
    for arguments, message in (
        ({"run": table_run, "output": "o.vec"}, "run: MLP has no vectors of words; train a model that has: model=fasttext"),
        ({"run": text_run, "output": "nowhere/o.vec"}, "output: there is no directory nowhere"),
        ({"run": "nowhere", "output": "o.vec"}, "there is no trained model in 'nowhere'"),
        ({"run": "nowhere.bin", "output": "o.vec"}, "there is no file nowhere.bin"),
        ({"run": text_run}, "missing: output=..."),
    ):
        code, told = vectors(**arguments)
        assert (code, message in told) == (2, True), told
    assert not list(tmp_path.iterdir())
