"""`predict` gives natural probabilities after balanced training, serves another prevalence, and adds prediction sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from finished_runs import Command, in_process
from scipy.special import expit, logit

import recipes
from recipes.errors import ConfigError

PREVALENCE = 0.05


def rows(count: int, seed: int, prevalence: float = PREVALENCE) -> tuple[pl.DataFrame, np.ndarray, np.ndarray]:
    """Two normal classes, which of them each row is, and the true probability of the second."""
    rng = np.random.default_rng(seed)
    labels = rng.random(count) < prevalence
    points = rng.normal(size=(count, 2)) + labels[:, None] * np.array([1.0, 1.0])
    truth = expit(points.sum(axis=1) - 1 + logit(prevalence))  # log-odds of unit normals with means 0 and (1, 1), and the prior's
    return pl.DataFrame({"x": points[:, 0], "y": points[:, 1]}), labels, truth


@pytest.fixture(scope="module")
def balanced(train_here: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A logistic regression that was shown both classes equally often."""
    folder = tmp_path_factory.mktemp("balanced")
    frame, labels, _ = rows(12_000, 0)
    frame.with_columns(label=pl.Series(np.where(labels, "spam", "ham"))).write_csv(folder / "rows.csv")
    model = ("model=mlp", "model.widths=[]", "sampler=balanced_batch", "optimizer.lr=0.02", "trainer.max_steps=400")
    own = ("trainer.progress=off", "trainer.device=cpu", "logger=none", "monitor=val/roc_auc")
    train_here(folder / "run", "data=file", f"data.path={folder / 'rows.csv'}", *model, *own)
    return folder / "run"


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """`command("predict", "run=...", ...)` in an empty directory: (exit code, what was printed)."""
    return in_process(tmp_path, monkeypatch, capfd)


def test_probabilities_are_those_of_the_data_and_not_of_the_batches(command: Command, balanced: Path, tmp_path: Path) -> None:
    frame, _, truth = rows(4000, 1)
    frame.write_csv(tmp_path / "new.csv")
    code, told = command("predict", f"run={balanced}", "input=new.csv", "output=o.parquet", "device=cpu")
    assert code == 0, told
    given = pl.read_parquet(tmp_path / "o.parquet")["p_spam"].to_numpy()
    predictor = recipes.load(balanced)
    raw = predictor.score(frame)
    as_trained = expit(raw[:, 1] - raw[:, 0])
    assert np.abs(given - truth).mean() < 0.02
    assert np.abs(as_trained - truth).mean() > 10 * np.abs(given - truth).mean()
    assert given.mean() == pytest.approx(PREVALENCE, abs=0.02)


@pytest.mark.parametrize("prior", ["0.3", "spam:0.3", "ham:0.7", "{ham:0.7,spam:0.3}"])
def test_another_prevalence_by_bayes(command: Command, balanced: Path, tmp_path: Path, prior: str) -> None:
    frame, _, truth = rows(3000, 2, prevalence=0.3)
    frame.write_csv(tmp_path / "new.csv")
    code, told = command("predict", f"run={balanced}", "input=new.csv", "output=o.parquet", "device=cpu", f"prior={prior}")
    assert code == 0, told
    served = pl.read_parquet(tmp_path / "o.parquet")["p_spam"].to_numpy()
    natural = recipes.load(balanced).predict_proba(frame)[:, 1].astype(np.float64)
    share = recipes.load(balanced).readout.ledger.natural_C[1]
    np.testing.assert_allclose(logit(served.astype(np.float64)), logit(natural) + logit(0.3) - logit(share), atol=1e-3)
    assert np.abs(served - truth).mean() < 0.03
    np.testing.assert_array_equal(served, recipes.load(balanced, prior={"spam": 0.3}).predict_proba(frame)[:, 1])
    with pytest.raises(ConfigError, match="there is no class 'spma'; did you mean 'spam'"):
        recipes.load(balanced, prior={"spma": 0.3})


@pytest.mark.parametrize(("kind", "least"), [("class_conditional", 0.8), ("marginal", 0.0)])
def test_sets_hold_the_true_class_as_often_as_they_say(command: Command, balanced: Path, tmp_path: Path, kind: str, least: float) -> None:
    """Over all rows, and by class where that is what is promised."""
    frame, labels, _ = rows(6000, 3)
    frame.write_csv(tmp_path / "new.csv")
    code, told = command("predict", f"run={balanced}", "input=new.csv", "output=o.parquet", "device=cpu", f"conformal={kind}")
    assert code == 0, told
    sets = pl.read_parquet(tmp_path / "o.parquet")["set"].to_list()
    held = np.array([name in chosen for name, chosen in zip(np.where(labels, "spam", "ham"), sets, strict=True)])
    assert held.mean() == pytest.approx(0.9, abs=0.05)
    assert held[labels].mean() > least


def test_sets_in_a_file_without_lists(command: Command, balanced: Path, tmp_path: Path) -> None:
    rows(200, 4)[0].write_csv(tmp_path / "new.csv")
    given = ("predict", f"run={balanced}", "input=new.csv", "device=cpu", "conformal=class_conditional")
    code, told = command(*given, "output=o.csv", "coverage=0.95")
    assert code == 0, told
    frame = pl.read_csv(tmp_path / "o.csv")
    assert frame.columns == ["x", "y", "prediction", "set", "p_ham", "p_spam"]
    assert set(frame["set"].fill_null("")) <= {"", "ham", "spam", "ham;spam"}
    assert "in every set" not in told
    code, told = command(*given, "output=sure.csv", "coverage=0.995")
    assert "note: 1 of 2 classes are in every set: alpha=0.005 needs 199 validation rows of a class; spam (" in told
    assert pl.read_csv(tmp_path / "sure.csv")["set"].str.contains("spam").all()


MISTAKES = {
    "a prior beyond one": ("prior=1.5", "prior: expected a number between 0 and 1, both excluded, got '1.5'"),
    "a word": ("prior=often", "prior: expected a number between 0 and 1, both excluded, got 'often'"),
    "not a number": ("prior=nan", "prior: expected a number between 0 and 1"),
    "a class": ("prior=spma:0.1", "prior: there is no class 'spma'; did you mean 'spam'?"),
    "a class twice": ("prior=spam:0.1,spam:0.2", "prior: 'spam' is given twice; give each class once"),
    "a share": ("prior=spam:much", "prior of 'spam': expected a number between 0 and 1"),
    "a sum": ("prior=spam:0.1,ham:0.2", "prior: the shares add up to 0.3, and those of all classes to 1"),
    "a kind of sets": ("conformal=marginl", "conformal: 'marginl' is not known; did you mean 'marginal'?"),
    "a coverage": ("conformal=marginal coverage=90", "coverage: expected a number between 0 and 1, both excluded, got '90'"),
    "a coverage of nothing": ("coverage=0.9", "coverage: it is that of prediction sets, and none are asked for; add conformal="),
    "marginal sets elsewhere": (
        "conformal=marginal prior=0.3",
        "marginal sets hold for the prevalence of validation; use conformal=class_",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(command: Command, balanced: Path, tmp_path: Path, mistake: str) -> None:
    rows(5, 5)[0].write_csv(tmp_path / "new.csv")
    typed, message = MISTAKES[mistake]
    code, told = command("predict", f"run={balanced}", "input=new.csv", "output=o.csv", "device=cpu", *typed.split())
    assert (code, message in told) == (2, True), told
    assert not (tmp_path / "o.csv").exists()


def test_one_number_for_several_classes(command: Command, text_run: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("text\niota\n")
    code, told = command("predict", f"run={text_run}", "input=new.csv", "output=o.csv", "device=cpu", "prior=0.1")
    assert (code, "this task is multiclass; give name:share for classes" in told) == (2, True), told
    code, told = command("predict", f"run={text_run}", "input=new.csv", "output=o.csv", "device=cpu", "prior=rare:0.5")
    assert code == 0, told


def test_sets_need_a_run_with_validation(command: Command, train_here: Callable, table_csv: Path, tmp_path: Path) -> None:
    short = ("trainer.max_steps=2", "trainer.progress=off", "trainer.device=cpu", "logger=none")
    train_here(tmp_path / "run", "data=file", f"data.path={table_csv}", "data.val_fraction=0", "model=mlp", *short)
    code, told = command("predict", "run=run", f"input={table_csv}", "output=o.csv", "device=cpu", "conformal=marginal")
    assert (code, "this run had none; train with data.val_fraction=0.1" in told) == (2, True), told
