"""Prediction from Python: what it takes, what it gives, and that it depends on nothing but the row."""

from __future__ import annotations

import json
import resource
import shutil
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

import recipes
from recipes.errors import CheckpointError, ConfigError, DataError
from recipes.inference import Predictor, save_bundle
from recipes.inference.bundle import load_bundle

TEXTS = ["iota kappa", "alpha beta gamma delta alpha", "", "words that nobody has seen before in any text at all"]
ROWS = {"x": [1.0, -1.0, 0.25, 3.0], "y": [0.5, None, 2.0, 1.0], "job": ["cook", "pilot", None, "clerk"]}


def test_texts_as_a_list_or_a_frame(text_run: Path) -> None:
    predictor = recipes.load(text_run)
    assert predictor.classes == ("common", "middle", "rare")
    expected = predictor.predict_proba(TEXTS)
    assert (expected.shape, expected.dtype) == ((4, 3), np.float32)
    np.testing.assert_allclose(expected.sum(axis=1), 1, atol=1e-6)
    frames = [
        tuple(TEXTS),
        np.array(TEXTS, dtype=object),
        pl.Series(TEXTS),
        pl.DataFrame({"id": range(4), "text": TEXTS}),
        pl.DataFrame({"other": TEXTS}),  # a single column can only be the text
        pd.DataFrame({"id": range(4), "text": TEXTS}),
        {"text": TEXTS},
    ]
    for frame in frames:
        np.testing.assert_array_equal(predictor.predict_proba(frame), expected)
    np.testing.assert_array_equal(predictor.predict_proba([t or None for t in TEXTS]), expected)
    assert predictor.predict(TEXTS) == [predictor.classes[c] for c in expected.argmax(axis=1)]


def test_tables_as_any_frame_in_any_order(table_run: Path) -> None:
    predictor = recipes.load(table_run)
    expected = predictor.predict_proba(pl.DataFrame(ROWS))
    assert expected.shape == (4, 2)
    for frame in (
        ROWS,
        pl.DataFrame(ROWS).select("job", pl.lit(1).alias("more"), "y", "x"),
        pl.DataFrame(ROWS).with_columns(pl.col("x", "y").cast(pl.String)),
        pd.DataFrame(ROWS),  # pandas writes a missing number as NaN
    ):
        np.testing.assert_array_equal(predictor.predict_proba(frame), expected)
    with pytest.raises(DataError, match="column 'x': 1 NaN, the first in data row 2"):
        predictor.predict_proba(pl.DataFrame(ROWS).with_columns(x=pl.Series([1.0, float("nan"), 1.0, 1.0])))
    with pytest.raises(DataError, match=r"there is no column 'y' \(and 1 more\); it has: x"):
        predictor.predict_proba({"x": [1.0]})


@pytest.mark.parametrize("inputs", ["a text", b"bytes", 3, None])
def test_what_is_no_input(text_run: Path, table_run: Path, inputs: object) -> None:
    with pytest.raises(DataError, match="this model reads texts; give a list of strings or a frame, not"):
        recipes.load(text_run).predict_proba(inputs)
    with pytest.raises(DataError, match="this model reads the columns x, y, job; give a frame, not"):
        recipes.load(table_run).predict_proba(inputs)


def test_no_rows(text_run: Path, table_run: Path) -> None:
    assert recipes.load(text_run).predict_proba([]).shape == (0, 3)
    assert recipes.load(table_run).predict_proba(pl.DataFrame(ROWS).head(0)).shape == (0, 2)


@pytest.mark.parametrize("kind", ["text", "table", "tags"])
def test_a_row_scores_the_same_in_any_company(request: pytest.FixtureRequest, kind: str) -> None:
    predictor = Predictor.load(request.getfixturevalue(f"{kind}_run"))
    frame = pl.read_csv(request.getfixturevalue(f"{kind}_csv"))
    whole = predictor.predict_proba(frame)
    order = np.random.default_rng(0).permutation(len(frame))
    for size in (1, 7):
        predictor.batch_size = size
        np.testing.assert_allclose(predictor.predict_proba(frame[order]), whole[order], atol=1e-6, rtol=0)
    np.testing.assert_allclose(predictor.predict_proba(frame[3:4]), whole[3:4], atol=1e-6, rtol=0)


def test_labels_stand_alone(tags_run: Path) -> None:
    predictor = recipes.load(tags_run)
    chances = predictor.predict_proba(["red", "green blue", "none"])
    assert chances.shape == (3, 3)
    assert not np.allclose(chances.sum(axis=1), 1)
    # Raw logits: a label is given from 0 on.
    assert predictor.decide(np.array([[0.5, -0.01, 0.0], [-0.1, -2.0, -3.0]])) == [["blue", "red"], []]


def test_nan_in_input_follows_the_run(train_here, table_csv: Path, tmp_path: Path) -> None:
    small = ["model=mlp", "model.widths=[4]", "trainer.max_steps=1", "trainer.progress=off", "trainer.device=cpu", "logger=none"]
    train_here(tmp_path / "run", "data=file", f"data.path={table_csv}", "data.nan=missing", *small)
    predictor = recipes.load(tmp_path / "run")
    with_nan, with_gap = dict(ROWS, y=[0.5, float("nan"), 2.0, 1.0]), ROWS
    np.testing.assert_array_equal(predictor.predict_proba(pl.DataFrame(with_nan)), predictor.predict_proba(pl.DataFrame(with_gap)))


def test_the_model_folder_stands_alone(text_run: Path, tmp_path: Path) -> None:
    shutil.copytree(text_run / "model", tmp_path / "elsewhere")
    moved = recipes.load(tmp_path / "elsewhere")
    np.testing.assert_array_equal(moved.predict_proba(TEXTS), recipes.load(str(text_run)).predict_proba(TEXTS))


def test_a_run_without_a_model_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(CheckpointError, match=r"there is no trained model in .* finished with `python train\.py resume="):
        recipes.load(tmp_path)


@pytest.mark.parametrize("name", ["bundle.json", "model.safetensors", "encoder.safetensors", "conformal.safetensors"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_bundle_is_named(text_run: Path, tmp_path: Path, name: str, damage: str) -> None:
    folder = shutil.copytree(text_run / "model", tmp_path / "model")
    if damage == "gone":
        (folder / name).unlink()
    else:
        (folder / name).write_bytes((folder / name).read_bytes()[:-20])
    with pytest.raises(CheckpointError, match=r"is damaged|there is no trained model"):
        recipes.load(tmp_path)


def test_another_format_or_package_is_refused(text_run: Path, tmp_path: Path) -> None:
    path = shutil.copytree(text_run / "model", tmp_path / "model") / "bundle.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"format": 99}))
    with pytest.raises(CheckpointError, match="has format 99, and this version reads format 3; it was written by a newer version"):
        recipes.load(tmp_path)
    path.write_text(json.dumps(content | {"format": 1}))
    with pytest.raises(CheckpointError, match="has format 1, and this version reads format 3; train it again"):
        recipes.load(tmp_path)
    path.write_text(json.dumps(content | {"model": {**content["model"], "_target_": "os.system"}}))
    with pytest.raises(ConfigError, match=r"trust=\[os\]"):
        recipes.load(tmp_path)


def test_a_full_disk_is_an_error_that_names_the_folder(text_run: Path, tmp_path: Path) -> None:
    bundle = load_bundle(text_run)
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))
    try:
        with pytest.raises(CheckpointError, match=r"the model could not be written to .*model: .*File too large"):
            save_bundle(tmp_path / "model", bundle)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    with pytest.raises(CheckpointError, match="there is no trained model"):
        load_bundle(tmp_path)


@pytest.fixture(scope="module")
def attentive_run(train_here, text_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # type: ignore[no-untyped-def]
    """A run of a model that weighs words."""
    run_dir = tmp_path_factory.mktemp("runs") / "attentive"
    small = ["model=han", "model.dim=8", "model.hidden=4", "trainer.max_epochs=1", "trainer.progress=off", "trainer.device=cpu"]
    train_here(run_dir, "data=file", f"data.path={text_csv}", *small)
    return run_dir


def test_attention_names_each_token_and_its_weight(attentive_run: Path) -> None:
    predictor = recipes.load(attentive_run)
    texts = ["Alpha beta, unheard-of. Iota!", "", *TEXTS]
    found = predictor.explain(texts)
    assert [token for token, _ in found[0]] == ["alpha", "beta", ",", "unheard", "-", "of", ".", "iota", "!"]
    assert found[1] == []
    for row in found:
        assert sum(weight for _, weight in row) == pytest.approx(1 if row else 0, abs=1e-6)
    predictor.batch_size = 1
    for row, alone in zip(found, predictor.explain(pl.DataFrame({"text": texts})), strict=True):
        assert [token for token, _ in row] == [token for token, _ in alone]
        assert [weight for _, weight in row] == pytest.approx([weight for _, weight in alone], abs=1e-6)
    assert predictor.explain([]) == []


def test_models_without_attention_say_who_has_it(text_run: Path, table_run: Path) -> None:
    with pytest.raises(ConfigError, match=r"attention: TextCNN weighs no words; train a model that does: model=han"):
        recipes.load(text_run).check_attention()
    with pytest.raises(ConfigError, match=r"attention: MLP reads no text word by word; train a model that does: model=han"):
        recipes.load(table_run).explain(ROWS)
